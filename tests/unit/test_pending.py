"""The keys of a planned cluster wait on this machine, and no longer than they have to."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.action.pending import KEPT, drop_pending, has_saved, read_pending, write_pending
from provisioner.engine.events import Failed
from provisioner.engine.execute import Outcome
from provisioner.engine.plan import Plan, StagePlan
from provisioner.errors import ProvisionError
from provisioner.pki.cluster import STATE_FILE, new_state
from provisioner.resources.model import Absent, Change, Present, Resource

STATE = new_state("lab")


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "provision" / "pending"


def test_they_are_gone_once_a_host_has_them(kept: Path) -> None:
    write_pending(STATE.uuid, STATE.to_json())
    assert list(kept.iterdir())
    drop_pending(STATE.uuid)
    assert list(kept.iterdir()) == []
    drop_pending(STATE.uuid)
    with pytest.raises(ProvisionError, match="are not on this machine"):
        read_pending(STATE.uuid)


def test_old_ones_go_when_another_is_written(kept: Path) -> None:
    others = {age: new_state("lab") for age in (KEPT + 60, KEPT - 60)}
    for age, each in others.items():
        write_pending(each.uuid, each.to_json())
        os.utime(kept / f"{each.uuid}.json", (time.time() - age,) * 2)
    write_pending(STATE.uuid, STATE.to_json())
    assert {each.stem for each in kept.iterdir()} == {STATE.uuid, others[KEPT - 60].uuid}


def test_a_name_that_is_no_uuid_is_no_path(kept: Path) -> None:
    kept.mkdir(parents=True)
    precious = kept.parent / "precious.json"
    precious.write_text("{}")
    drop_pending("../precious")
    assert precious.exists()
    with pytest.raises(ProvisionError, match="are not on this machine"):
        read_pending("../precious")


def _plan(name: str) -> Plan:
    change = Change(Resource("file", name, Present({"mode": "600"}), secret=True), Absent(), "create")
    return Plan("i", "d", (StagePlan("state", ("cp1", "cp2"), {"cp1": (change,), "cp2": (change,)}),))


LOST = Failed(stage="state", host="cp1", resource="", reason="lost")
OUTCOMES = [
    (STATE_FILE, Outcome(made={("state", "cp1"): 1}), True),
    (STATE_FILE, Outcome(made={("state", "cp1"): 1}, failures=[LOST]), False),
    (STATE_FILE, Outcome(made={("state", "cp1"): 1, ("state", "cp2"): 1}, failures=[LOST]), True),
    (STATE_FILE, Outcome(made={("state", "cp1"): 1}, failures=[replace(LOST, stage="etcd")]), True),
    (STATE_FILE, Outcome(), False),
    ("/etc/x", Outcome(made={("state", "cp1"): 1}), False),
]


@pytest.mark.parametrize(("name", "outcome", "saved"), OUTCOMES)
def test_a_host_has_them_when_it_was_read_again(name: str, outcome: Outcome, saved: bool) -> None:
    assert has_saved(_plan(name), outcome) is saved
