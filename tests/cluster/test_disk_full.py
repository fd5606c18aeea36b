"""A full disk stops the run with the reason, leaves no half file under a name that counts, and is gone on from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab_cluster import LabCluster

FOLDER = "/opt/kubernetes/bin"
STAGE = ("--stage", "node binaries", "--limit", "worker1")


@pytest.fixture
def small(cluster: LabCluster) -> Iterator[None]:
    """The folder of the binaries is on a disk of 8 MiB, in which no binary of Kubernetes has room."""
    cluster.one("worker1", f"mount -t tmpfs -o size=8m,mode=755 tmpfs {FOLDER}")
    yield
    cluster.one("worker1", f"umount {FOLDER}")
    # Services that others started since (a reboot is enough) want a restart: to them the binaries are new.
    done = cluster.apply(*STAGE, "--stage", "kubelet", "--stage", "kube-proxy")
    assert done.status == 0, done


def test_a_full_disk_is_told_and_gone_on_from(cluster: LabCluster, small: None) -> None:
    before = cluster.invocations()
    full = cluster.apply(*STAGE)
    assert full.status == 1, full
    failure = full.only("Failed")
    assert (failure["host"], failure["stage"]) == ("worker1", "node binaries")
    assert "No space left on device" in failure["stderr"]
    assert failure["resource"].startswith(f"artifact:{FOLDER}/")
    assert failure["resource"] in failure["undone"]
    assert full.only("RunEnded")["resume"].startswith("provision apply ")
    assert cluster.one("worker1", f"ls {FOLDER}") == "", "something of the file was left"

    cluster.one("worker1", f"mount -o remount,size=512m {FOLDER}")
    done = cluster.apply(*STAGE)
    assert done.status == 0, done
    assert {resource for _, resource, _ in done.changed} == {
        f"artifact:{FOLDER}/kubelet",
        f"artifact:{FOLDER}/kube-proxy",
    }
    assert cluster.one("worker1", f"ls {FOLDER}").split() == ["kube-proxy", "kubelet"]
    assert cluster.invocations() == before
