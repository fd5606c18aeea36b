"""An apply that is killed anywhere: the same command goes on from there, to a verified cluster."""

from __future__ import annotations

import random
import time

import pytest
from lab_cluster import Done, LabCluster, is_verified

_STRATA = 8
_RANDOM = random.Random(20240131)  # noqa: S311  moments, not secrets
MOMENTS = [round((stratum + _RANDOM.random()) / _STRATA, 3) for stratum in range(_STRATA)]
"""Parts of the time that an undisturbed apply takes, one in each of equal strata."""
QUICK = (2, 5)
"""Those that every run of the tests tries: amid the binaries and first starts, and amid what joins and runs."""


def cases() -> list[object]:
    return [
        pytest.param(moment, id=f"at-{moment:.0%}", marks=() if index in QUICK else pytest.mark.soak)
        for index, moment in enumerate(MOMENTS)
    ]


@pytest.mark.parametrize("part", cases())
def test_after_a_kill_the_same_command_goes_on(lab: LabCluster, first_run: Done, part: float) -> None:
    lab.renew()
    with lab.applying() as running:
        time.sleep(part * first_run.seconds)
        killed = running.kill()
    assert killed.status < 0, "it was done before the kill"
    done = lab.apply()
    assert is_verified(done), f"{done}\nkilled after:\n{killed}"
    again = lab.apply("--stage", "kubelet")
    assert (again.status, again.changed) == (0, set()), again
    assert lab.plan().only("Plan")["changes"] == []
    assert_nothing_is_left(lab)


def assert_nothing_is_left(lab: LabCluster) -> None:
    half = "find /etc /opt /var/lib/kubelet /var/lib/provision -name '*.provision.*' 2>/dev/null || :"
    assert set(lab.on("all", half).values()) == {""}
    scripts = "ls -d /run/provision.* 2>/dev/null || :"
    # The folder of the script that asks is there, too.
    assert {
        host: len(text.split()) for host, text in lab.on("all", scripts).items() if text.count("\n")
    } == {}
    assert "bootstrap.kubernetes.io/token" not in {each["type"] for each in lab.objects("secrets -A")}
