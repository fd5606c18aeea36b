"""Two applies at once: the second is told who is at work, and the first does not notice."""

from __future__ import annotations

import getpass
import re
import socket

from lab_cluster import LabCluster, is_verified

from provisioner.remote.lock import SILENCE


def test_the_second_apply_names_the_holder(cluster: LabCluster) -> None:
    with cluster.applying() as first:
        run = first.await_event(lambda event: event["event"] == "RunStarted")["run"]
        first.await_event(lambda event: event["event"] == "Step")  # read under the lock
        with first.held():
            second = cluster.apply()
        assert second.status == 5, second
        assert second.seconds < SILENCE, "it waited for the first"
        told = second.only("Error")
        who = f"{getpass.getuser()}@{socket.gethostname()}, pid {first.process.pid}, run {run}, since "
        assert who in told["reason"]
        assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", told["reason"])
        assert told["hint"]
        assert second.changed == set()
        assert is_verified(first.finish())


def test_reading_needs_no_lock(cluster: LabCluster) -> None:
    with cluster.applying() as first:
        first.await_event(lambda event: event["event"] == "Step")
        with first.held():
            assert cluster.plan().status == 0
        assert is_verified(first.finish())
