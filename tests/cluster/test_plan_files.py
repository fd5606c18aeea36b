"""A plan that was agreed to is carried out as it is, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_cluster import Done, LabCluster, provision

SYSCTL = "net.bridge.bridge-nf-call-ip6tables"
STAGE = ("--stage", "node settings")
CHANGE = ("worker2", f"sysctl:{SYSCTL}", "update")


@pytest.fixture
def inventory(cluster: LabCluster, tmp_path: Path) -> Path:
    """A copy, to be edited."""
    return cluster.edited(tmp_path, {})


@pytest.fixture
def agreed(cluster: LabCluster, inventory: Path, tmp_path: Path) -> Iterator[Path]:
    """A plan file for one change on worker2; what is left of it is mended at the end."""
    cluster.one("worker2", f"sysctl -qw {SYSCTL}=0")
    done = provision("plan", inventory, "--json", *STAGE, "-o", tmp_path / "agreed.plan")
    assert done.status == 2, done
    yield tmp_path / "agreed.plan"
    assert cluster.apply(*STAGE).status == 0


def refused(done: Done, words: str) -> bool:
    assert done.changed == set(), done
    return done.status == 1 and words in done.only("Error")["reason"]


def test_a_fresh_plan_is_carried_out_once(cluster: LabCluster, agreed: Path) -> None:
    done = provision("apply", agreed, "--json")
    assert done.status == 0, done
    assert done.changed == {CHANGE}
    assert cluster.one("worker2", f"sysctl -n {SYSCTL}") == "1"
    assert refused(provision("apply", agreed, "--json"), "is not as it was")


def test_another_inventory_makes_it_stale(agreed: Path, inventory: Path) -> None:
    inventory.write_text(inventory.read_text().replace("conntrack_min: 0", "conntrack_min: 1"))
    assert refused(provision("apply", agreed, "--json"), "changed since the plan was made")


def test_another_state_makes_it_stale(cluster: LabCluster, agreed: Path) -> None:
    cluster.one("worker1", "chmod 600 /etc/sysctl.d/99-zz-kubernetes.conf")
    done = provision("apply", agreed, "--json")
    assert refused(done, "worker1: ")
    assert cluster.one("worker2", f"sysctl -n {SYSCTL}") == "0"


def test_what_is_no_plan_is_refused(tmp_path: Path, agreed: Path) -> None:
    broken = tmp_path / "broken.plan"
    broken.write_text(agreed.read_text()[:-30])
    assert provision("apply", broken).status == 3
