"""`bench net` on a real cluster, and tuning: it is read back, drift is seen, and in the end all is as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_cluster import NODES, Done, LabCluster, is_verified, left_of_the_check, provision

pytestmark = pytest.mark.soak

PROXY = "      proxy:\n"
TUNING = """      tuning:
        profiles: [many-nodes, many-connections]
        sysctls: {net.core.somaxconn: 8192}
        links:
          - {name: eth0, offloads: {generic-receive-offload: true}}
        vxlan_checksum_offload: disabled
"""
STATE = """cat /proc/sys/net/core/somaxconn
ethtool -k eth0 | grep '^generic-receive-offload'
ethtool -k flannel.1 | grep tx-checksum-ip-generic
ls /etc/udev/rules.d/90-provision-* /etc/sysctl.d/99-zz-kubernetes-tuning.conf 2>/dev/null || :
"""
LEFT = "-n provision-check run bench-near --image=none.invalid/a --labels=provision.dev/check=killed"


def bench(cluster: LabCluster, *words: str | Path) -> Done:
    done = provision("bench", "net", cluster.inventory, "--seconds", "1", *words)
    assert done.status == 0, done
    return done


def test_each_path_is_measured_and_nothing_stays(cluster: LabCluster, tmp_path: Path) -> None:
    cluster.kubectl(LEFT)  # of a run that was killed
    done = bench(cluster, "--json")
    told = done.only("NetMeasured")
    assert (told["network"], told["mtu"]) == ("flannel vxlan", 1450)
    ways = [(each["path"], each["source"], each["target"]) for each in told["paths"]]
    assert ways == [
        ("same-node", "worker1", "worker1"),
        ("other-node", "worker1", "worker2"),
        ("service", "worker1", "worker2"),
    ]
    for each in told["paths"]:
        assert each["throughput"] > 50e6, each
        assert 0 < each["p50"] <= each["p90"] <= each["p99"] < 1e6, each
        assert each["count"] > 100, each
    assert left_of_the_check(cluster) == []
    before = tmp_path / "before.json"
    before.write_text(done.stdout)
    table = bench(cluster, "--before", before).stderr
    assert "Gbit/s" in table or "Mbit/s" in table
    assert "as a multiple of before" in table
    assert left_of_the_check(cluster) == []
    assert cluster.plan().status == 0, "it keeps nothing on hosts"


@pytest.fixture
def tuned(cluster: LabCluster, tmp_path: Path) -> Iterator[Path]:
    """An inventory that tunes; in the end the hosts are as the cluster's own has them."""
    yield cluster.edited(tmp_path, {PROXY: TUNING + PROXY})
    assert is_verified(cluster.apply("--yes"))


def test_tuning_is_made_seen_and_taken_back(cluster: LabCluster, tuned: Path) -> None:
    before = cluster.on("kube_control_plane:kube_node", STATE)
    done = cluster.apply(inventory=tuned)
    assert is_verified(done), done
    notes = [each["message"] for each in done.named("Note") if each["level"] == "warning"]
    assert any("they are the machine's: net.ipv4.neigh.default.gc_thresh1" in each for each in notes), notes
    assert any("the table of connections keeps its size" in each for each in notes), notes
    for host, said in cluster.on("kube_control_plane:kube_node", STATE).items():
        assert said.split("\n") == [
            "8192",
            "generic-receive-offload: on",
            "\ttx-checksum-ip-generic: off",
            "/etc/sysctl.d/99-zz-kubernetes-tuning.conf",
            "/etc/udev/rules.d/90-provision-links.rules",
            "/etc/udev/rules.d/90-provision-tunnel.rules",
        ], host
    assert provision("plan", tuned, "--json").status == 0
    cluster.one(
        "worker1", "ethtool -K flannel.1 tx-checksum-ip-generic on; sysctl -qw net.core.somaxconn=4096"
    )
    mended = cluster.apply(inventory=tuned)
    assert mended.changed == {
        ("worker1", "sysctl:net.core.somaxconn", "update"),
        ("worker1", "ethtool:flannel.1 offloads tx-checksum-ip-generic", "update"),
    }
    assert is_verified(cluster.apply("--yes"))
    assert cluster.on("kube_control_plane:kube_node", STATE) == before
    assert set(before) == set(NODES)


def test_an_mtu_that_does_not_fit_changes_nothing(cluster: LabCluster, tmp_path: Path) -> None:
    backend = "          backend: vxlan"
    wrong = cluster.edited(tmp_path, {backend: f"          mtu: 9000\n{backend}"})
    done = provision("apply", wrong, "--json")
    assert done.status == 1
    assert "its link eth0 carries 1500" in done.stdout + done.stderr
    assert "set network.flannel.mtu: 1500" in done.stdout + done.stderr
    assert done.changed == set()
