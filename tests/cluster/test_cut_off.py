"""A host that loses its power in the middle of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from lab_cluster import LabCluster, is_verified

from provisioner.inventory.model import load_inventory
from provisioner.lab.declared import plan_of
from provisioner.lab.plan import LabPlan
from provisioner.lab.power import power_off, power_on

LOST = "rm -f /opt/kubernetes/bin/kubelet /opt/kubernetes/bin/kube-proxy /etc/sysctl.d/99-zz-kubernetes.conf"


@pytest.fixture
def machines(cluster: LabCluster) -> Iterator[LabPlan]:
    """The lab, whose hosts are all on again at the end."""
    plan = plan_of(load_inventory(cluster.inventory))
    yield plan
    power_on(plan, "worker2")


def test_a_host_that_is_cut_off_is_named_and_the_others_go_on(cluster: LabCluster, machines: LabPlan) -> None:
    cluster.on("worker1:worker2", LOST)
    with cluster.applying() as running:
        running.await_event(lambda event: event["event"] == "HostChanging" and event["host"] == "worker2")
        power_off(machines, "worker2")
        off = time.monotonic()
        failure = running.await_event(lambda event: event["event"] == "Failed")
        missed = time.monotonic() - off
        cut = running.finish()
    assert cut.status == 4, cut
    assert missed < 60, "20 s it is when nothing else is in the way; TCP's own time is many minutes"
    assert cut.only("Failed") == failure
    assert failure["host"] == "worker2"
    assert "connection" in failure["reason"]
    # Nothing is unsure when the power went before the first change had begun.
    assert failure["unsure"] in ("", *failure["undone"])
    assert ("worker1", "artifact:/opt/kubernetes/bin/kubelet", "create") in cut.changed
    ended = cut.only("RunEnded")
    assert not ended["ok"]

    again = cluster.apply()
    assert again.status == 4, again
    assert "worker2" in again.only("Error")["reason"]

    power_on(machines, "worker2")
    done = cluster.apply()
    assert is_verified(done), done
    # A service of worker1's that others started (it may have been rebooted by another test) wants its restart yet.
    assert {host for host, _, action in done.changed if action != "restart"} == {"worker2"}
    assert cluster.plan().status == 0
