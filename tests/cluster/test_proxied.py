"""The HTTP proxy's way to containerd, and back: nothing of the cluster's own goes through it."""

from __future__ import annotations

from pathlib import Path

from lab_cluster import NODES, LabCluster, is_verified, provision

ENVIRONMENT = "systemctl show --property=Environment --value containerd"
DROP_IN = "/etc/systemd/system/containerd.service.d/http-proxy-provision.conf"


def test_containerd_learns_of_the_proxy_and_forgets_it(cluster: LabCluster, tmp_path: Path) -> None:
    proxied = cluster.edited(
        tmp_path, {"      proxy:\n": "      http_proxy: {url: 'http://127.0.0.1:9'}\n      proxy:\n"}
    )
    done = cluster.apply("--yes", inventory=proxied)
    assert is_verified(done), "images come from the cluster's registry, around a proxy that is not there"
    for said in cluster.on("worker1:worker2", ENVIRONMENT).values():
        assert "HTTPS_PROXY=http://127.0.0.1:9" in said
        assert "registry.lab.internal" in said
    assert provision("plan", proxied).status == 0

    done = cluster.apply("--yes")
    assert is_verified(done)
    assert {host for host, resource, _ in done.changed if resource == f"file:{DROP_IN}"} == set(NODES)
    assert {host for host, resource, _ in done.changed if resource == "systemd:containerd.service"} == set(
        NODES
    )
    for said in cluster.on("worker1:worker2", ENVIRONMENT).values():
        assert "PROXY" not in said
    assert cluster.plan().status == 0
