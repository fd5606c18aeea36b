"""The check at the end of a run tells which connections do not work, and only when they do not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab_cluster import Done, Event, LabCluster, is_verified, left_of_the_check, provision

from provisioner.kube.podwait import PATIENCE


@pytest.fixture
def deaf(cluster: LabCluster) -> Iterator[None]:
    """worker2 hears nothing of what other nodes' pods send through the overlay."""
    cluster.one(
        "worker2",
        "nft add table inet deaf; nft 'add chain inet deaf in { type filter hook input priority -300; }'; "
        "nft add rule inet deaf in udp dport 8472 drop",
    )
    yield
    cluster.one("worker2", "nft delete table inet deaf")


def failed_traffic(cluster: LabCluster) -> tuple[Done, Event]:
    """A `verify` that ends at the traffic gate, and the event that tells why."""
    done = provision("verify", cluster.inventory, "--json")
    assert done.status == 1, done
    failure = done.only("Failed")
    assert failure["resource"] == "gate:traffic"
    return done, failure


def test_pairs_that_do_not_talk_are_named(cluster: LabCluster, deaf: None) -> None:
    done, failure = failed_traffic(cluster)
    assert "worker1" in failure["reason"]
    assert "worker2" in failure["reason"]
    assert failure["hint"]
    lines = [line for line in failure["reason"].splitlines()[1:] if "→" in line]
    assert lines
    # Only pairs of which worker2 is a part are broken; and DNS or a service, whose pods may be there.
    pairs = [line for line in lines if "other-node" in line]
    assert pairs
    assert all("worker2" in line for line in pairs), failure["reason"]
    assert not [line for line in lines if "same-node" in line]
    assert not done.only("RunEnded")["ok"]
    assert left_of_the_check(cluster) == []


@pytest.fixture
def no_sandboxes(cluster: LabCluster) -> Iterator[None]:
    """flannel's plug-in on worker2 cannot make a pod's network: the file with the node's subnet is gone."""
    cluster.one("worker2", "mv /run/flannel/subnet.env /run/flannel/subnet.kept")
    yield
    cluster.one("worker2", "mv /run/flannel/subnet.kept /run/flannel/subnet.env")


def test_pods_that_cannot_start_are_told_soon_and_with_their_reason(
    cluster: LabCluster, no_sandboxes: None
) -> None:
    done, failure = failed_traffic(cluster)
    assert "on worker2: FailedCreatePodSandBox: " in failure["reason"]
    assert "subnet.env" in failure["reason"]
    assert "on worker1" not in failure["reason"]
    assert done.seconds < PATIENCE, "it waited for what could not come"
    assert left_of_the_check(cluster) == []


def test_without_its_namespace_people_are_told_how_to_make_it(cluster: LabCluster) -> None:
    """A cluster that an older version made has none."""
    cluster.kubectl("delete namespace provision-check")
    done = provision("verify", cluster.inventory, "--json")
    failure = done.only("Failed")
    assert "namespace provision-check" in failure["reason"]
    assert "--stage admission" in failure["hint"]
    assert cluster.apply("--stage", "admission").changed == {("cp1", "manifest:admission", "update")}
    assert is_verified(provision("verify", cluster.inventory, "--json"))
    assert left_of_the_check(cluster) == []
