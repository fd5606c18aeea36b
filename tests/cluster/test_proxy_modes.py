"""Other modes of kube-proxy: what the kernel cannot is refused before anything changes; a change cleans up."""

from __future__ import annotations

from pathlib import Path

from lab_cluster import NODES, LabCluster, is_verified, provision

RULES = """
nft list tables
iptables-legacy-save 2>/dev/null | grep -c KUBE-SVC || :
iptables-save | grep -c KUBE-SVC || :
"""


def test_a_kernel_without_ipvs_is_refused_with_what_it_lacks(cluster: LabCluster, tmp_path: Path) -> None:
    inventory = cluster.edited(tmp_path, {"mode: iptables": "mode: ipvs"})
    before = cluster.one("worker1", "cat /var/lib/provision/last-change")
    for command in ("plan", "apply"):
        done = provision(command, inventory, "--json")
        assert done.status == 1, done
        said = done.stdout + done.stderr
        for host in NODES:
            assert f"{host}: kube-proxy's mode ipvs needs ip_vs, ip_vs_rr" in said
        assert "use proxy.mode nftables" in said
    assert cluster.one("worker1", "cat /var/lib/provision/last-change") == before


def test_nftables_and_back(cluster: LabCluster, tmp_path: Path) -> None:
    inventory = cluster.edited(tmp_path, {"mode: iptables": "mode: nftables"})
    done = cluster.apply(inventory=inventory)
    assert is_verified(done), done
    assert {resource for _, resource, _ in done.changed} == {
        "file:/etc/kubernetes/kube-proxy.yaml",
        "systemd:kube-proxy.service",
        "manifest:flannel",  # its masquerading follows
    }
    for host in NODES:
        rules = cluster.one(host, RULES)
        assert "table ip kube-proxy" in rules
        assert cluster.one(host, "cat /run/kube-proxy/mode") == "nftables"
        assert rules.splitlines()[-2:] == ["0", "0"], "what the old mode left"
    done = cluster.apply("--stage", "kube-proxy", "--stage", "network")
    assert done.status == 0, done
    for host in NODES:
        assert "kube-proxy" not in cluster.one(
            host, "nft list tables | grep -v 'table ip6\\? filter\\|nat\\|mangle' || :"
        )
