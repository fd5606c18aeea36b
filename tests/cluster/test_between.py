"""What passes between the lab's hosts: nothing is said of good ones, and a cut is named before anything changes.

On bare hosts, where the tests come first; on a lab that was kept nodes hold their UDP ports, and TCP alone is tried.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab_cluster import LabCluster, provision

from provisioner.action.betweenround import LIMIT

LISTENERS = "ss -Hlntu | awk '{print $1, $5}' | sort"


@pytest.fixture
def bare(lab: LabCluster) -> bool:
    return not lab.one("cp1", "ls -d /var/lib/provision 2>/dev/null || :")


@pytest.fixture
def cut(lab: LabCluster) -> Iterator[LabCluster]:
    """What cp1 sends to worker2 is lost there; from worker1 it is let in, so that no rule is sure to drop it."""
    rules = "".join(
        f"ip saddr {lab.address('cp1')} {port} drop; " for port in ("udp dport 8472", "tcp dport 10250")
    )
    lab.on("worker2", f"nft 'table inet cut {{ chain in {{ type filter hook input priority 0; {rules}}}; }}'")
    try:
        yield lab
    finally:
        lab.on("worker2", "nft delete table inet cut")


def test_good_hosts_have_nothing_in_the_way(lab: LabCluster, bare: bool) -> None:
    before = lab.on("all", LISTENERS)
    done = provision("check", lab.inventory, "--json")
    assert done.status == 0, done
    assert [each for each in done.named("Note") if bare] == []
    assert [each["task"] for each in done.named("Step")] == ["facts", "between", "check"]
    assert lab.on("all", LISTENERS) == before
    assert done.seconds < LIMIT, "listeners ended by themselves"
    if bare:
        # The folder of the command that looks is there as well.
        left = "ls -d /var/lib/provision 2>/dev/null || :; ls -d /run/provision.* | wc -l"
        assert set(lab.on("all", left).values()) == {"1"}


def test_what_is_cut_is_named_and_nothing_changes(cut: LabCluster, bare: bool) -> None:
    lost = "UDP 8472, TCP 10250" if bare else "TCP 10250"
    done = provision("check", cut.inventory, "--json")
    assert done.status == 1, done
    told = done.only("Error")
    assert told["reason"] == f"worker2: {lost} does not arrive from cp1"
    assert "nft list ruleset" in told["hint"]
    if bare:
        refused = cut.apply()
        assert refused.status == 1, refused
        assert refused.only("Error")["reason"] == told["reason"]
        assert refused.changed == set()
        assert cut.one("worker2", "ls -d /var/lib/provision 2>/dev/null || :") == ""
