"""While a pod network changes, and losses are measured, few hosts are at work at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provisioner.action.transition import few, gently
from provisioner.engine.plan import Desired

if TYPE_CHECKING:
    from provisioner.resources.model import Resource

THREE: dict[str, tuple[Resource, ...]] = {"worker1": (), "worker2": (), "cp1": ()}


@pytest.mark.parametrize(("count", "turns"), [(1, 1), (3, 3), (10, 10), (11, 6), (200, 10)])
def test_many_hosts_have_up_to_ten_turns(count: int, turns: int) -> None:
    assert -(-count // few(count)) == turns


def test_a_stage_takes_one_host_after_the_other() -> None:
    stage = gently(Desired("node images", THREE, needs="images"))
    assert (stage.serial, stage.needs) == ((1,), None)


@pytest.mark.parametrize(
    "stage",
    [
        Desired("network", THREE, gate="network_ready"),
        Desired("endpoint", THREE, serial=(2,)),
        Desired("nothing", {}),
    ],
    ids=lambda stage: stage.name,
)
def test_a_stage_that_stays_as_it_is(stage: Desired) -> None:
    assert gently(stage) is stage
