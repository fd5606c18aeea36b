"""A whole cluster goes, and its hosts are as they were before it but for what is documented."""

from __future__ import annotations

from lab_cluster import BESIDE, DEFAULT_LAB, LabCluster, is_verified, own_lab, provision
from snapshot import difference, snapshot

HOSTS = ("registry1", "cp1", "worker1", "worker2")


def test_a_cluster_goes_and_comes_back() -> None:
    with own_lab(f"reset-{BESIDE.partition('/')[0].replace('.', '-')}", DEFAULT_LAB, BESIDE) as lab:
        before = {host: snapshot(lab, host) for host in HOSTS}
        done = lab.apply()
        assert is_verified(done), done
        asked = provision("reset", lab.inventory, "--json")
        assert asked.status == 1, asked
        gone = provision("reset", lab.inventory, "--yes", "--json")
        assert gone.status == 0, gone
        for host in HOSTS:
            print(f"##### {host}\n{difference(before[host], snapshot(lab, host))}")
