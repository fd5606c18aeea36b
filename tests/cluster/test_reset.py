"""A whole cluster goes, and its hosts are as they were before it but for what the README names."""

from __future__ import annotations

import re

from lab_cluster import BESIDE, DEFAULT_LAB, is_verified, own_lab, provision
from snapshot import difference, snapshot

HOSTS = ("registry1", "cp1", "worker1", "worker2")
KEPT = re.compile(
    r"files [+] . /var/log/kubernetes"  # logs
    r"|(files|contents) [+] .*/root/[.]kube"  # kubectl's cache
    r"|files [+] . (/run/containerd|/opt/containerd|/run/netns|/run/xtables[.]lock)"  # the runtime's own, and iptables'
)
"""Packages are in the lab's image, so that there is no difference by them."""


def test_a_cluster_goes_and_comes_back() -> None:
    with own_lab(f"reset-{BESIDE.partition('/')[0].replace('.', '-')}", DEFAULT_LAB, BESIDE) as lab:
        before = {host: snapshot(lab, host) for host in HOSTS}
        done = lab.apply()
        assert is_verified(done), done
        asked = provision("reset", lab.inventory, "--json")
        assert asked.status == 1, asked
        assert "3 nodes" in asked.stdout + asked.stderr, asked
        assert lab.ready_nodes() == {"cp1", "worker1", "worker2"}
        gone = provision("reset", lab.inventory, "--yes", "--json")
        assert gone.status == 0, gone
        left = {host: difference(before[host], snapshot(lab, host)) for host in HOSTS}
        strange = {host: [line for line in lines if not KEPT.match(line)] for host, lines in left.items()}
        assert not any(strange.values()), strange
        again = lab.apply()
        assert is_verified(again), again
        assert lab.plan().status == 0
