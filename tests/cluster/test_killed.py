"""An apply that is killed anywhere: the same command goes on from there, to a verified cluster."""

from __future__ import annotations

import random
import time

import pytest
from lab_cluster import Done, LabCluster, Running, is_verified, left_of_the_check

_STRATA = 8
_RANDOM = random.Random(20240131)  # noqa: S311  moments, not secrets
MOMENTS = [round((stratum + _RANDOM.random()) / (_STRATA + 0.5), 3) for stratum in range(_STRATA)]
"""Parts of the changes of an undisturbed apply, one in each of equal strata: of the time, no two runs take the same."""
PAUSES = [round(_RANDOM.random(), 2) for _ in MOMENTS]
"""Seconds from the change to the kill, so that it also falls between what is told."""
QUICK = 6
"""The one that every run of the tests tries: kubelets ask for certificates with a token that nobody knows any more."""

HALF = """
touch /run/.probe.provision
find / \\( -path /proc -o -path /sys -o -path /var/lib/containerd -o -path /run/containerd \\) -prune -o \\
  \\( -name '.*.provision' -o -name .provision.archive -o -path '/var/lib/provision/*.tmp' \\) -print 2>/dev/null |
  { grep -vx /run/.probe.provision || [ "$?" -eq 1 ]; }
rm /run/.probe.provision
"""
"""Finds every name under which something is written before it has its own (shell.prelude), anywhere on the host."""


def cases() -> list[object]:
    return [
        pytest.param(part, pause, id=f"{part:.0%}+{pause}s", marks=() if index == QUICK else pytest.mark.soak)
        for index, (part, pause) in enumerate(zip(MOMENTS, PAUSES, strict=True))
    ]


@pytest.mark.parametrize(("part", "pause"), cases())
def test_after_a_kill_the_same_command_goes_on(lab: LabCluster, part: float, pause: float) -> None:
    lab.bare()
    count = int(part * len(lab.plan().only("Plan")["changes"]))
    with lab.applying() as running:
        await_changes(running, count)
        time.sleep(pause)
        goes_on_after(lab, running.kill())


@pytest.mark.soak
def test_a_kill_in_the_traffic_check_leaves_none_of_it(lab: LabCluster) -> None:
    lab.bare()
    with lab.applying() as running:
        running.await_event(lambda event: event["event"] == "GateStarted" and event["gate"] == "traffic")
        time.sleep(1.5)
        goes_on_after(lab, running.kill())
    assert left_of_the_check(lab) == []


def await_changes(running: Running, count: int) -> None:
    for _ in range(count):
        running.await_event(lambda event: event["event"] == "Changed")


def goes_on_after(lab: LabCluster, killed: Done) -> None:
    assert killed.status == -9, f"it was done before the kill: {killed}"
    done = lab.apply()
    assert is_verified(done), f"{done}\nkilled after:\n{killed}"
    assert lab.plan().only("Plan")["changes"] == [], f"killed after:\n{killed}"
    assert set(lab.on("all", HALF).values()) == {""}, f"killed after:\n{killed}"
    # The folder of the script that asks is there, too.
    folders = lab.on("all", "ls -d /run/provision.* | wc -l")
    assert set(folders.values()) == {"1"}
    tokens = [each["type"] for each in lab.objects("secrets -A") if each["type"].startswith("bootstrap")]
    assert tokens == [], f"killed after:\n{killed}"
