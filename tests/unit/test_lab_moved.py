"""A lab that was put elsewhere stays there: which subnet `--name` means, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from provisioner.cli.lab import _target
from provisioner.errors import InputError
from provisioner.inventory.labs import lab_directory
from provisioner.lab import cgroups, down, readdress, state
from provisioner.lab.plan import LabPlan

FILE, MOVED, OTHER = (IPv4Network(f"10.98.{third}.0/24") for third in (0, 50, 60))


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabPlan:
    """What the file declares. A lab `newc` of it was brought up in MOVED."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    _remember("newc", MOVED)
    return LabPlan("lab", FILE, {"one": FILE[11]}, lab_directory("lab"))


def _remember(name: str, subnet: IPv4Network) -> LabPlan:
    plan = LabPlan(name, subnet, {"one": subnet[11]}, lab_directory(name))
    plan.directory.mkdir(parents=True)
    hosts = {name: str(address) for name, address in plan.hosts.items()}
    state.write(plan, state.LabState(name, str(subnet), hosts, plan.suite, [], [], "", [], {}))
    return plan


@pytest.mark.parametrize(
    ("subnet", "name", "expected"),
    [
        (None, "newc", (MOVED, "newc")),
        (str(OTHER), "newc", (OTHER, "newc")),
        (None, "fresh", (FILE, "fresh")),
        (str(OTHER), None, (OTHER, "lab-10-98-60-0")),
    ],
)
def test_where_a_lab_lies(
    plan: LabPlan, subnet: str | None, name: str | None, expected: tuple[IPv4Network, str]
) -> None:
    assert _target(plan, subnet, name) == expected


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"subnet": "x"})])
def test_a_memory_that_is_none(plan: LabPlan, text: str) -> None:
    (lab_directory("newc") / "lab.json").write_text(text)
    assert _target(plan, None, "newc") == (FILE, "newc")


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "hosts", lambda _key: ["one"])
    monkeypatch.setattr(cgroups, "groups", lambda *_: [])
    monkeypatch.setattr(cgroups, "processes", lambda _groups: [7])


@pytest.mark.usefixtures("running")
def test_running_hosts_are_not_moved(plan: LabPlan) -> None:
    wanted = replace(plan, name="newc", subnet=OTHER, directory=lab_directory("newc"))
    with pytest.raises(InputError) as caught:
        readdress.check_subnet(wanted)
    words = str(caught.value)
    assert all(part in words for part in (str(MOVED), str(OTHER), "provision lab down --name newc"))
    readdress.check_subnet(replace(wanted, subnet=MOVED))
    readdress.check_subnet(plan)


def test_hosts_that_are_off_may_move(plan: LabPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "hosts", lambda _key: [])
    readdress.check_subnet(replace(plan, subnet=OTHER, directory=lab_directory("newc")))


@pytest.mark.usefixtures("plan")
def test_a_lab_that_never_was() -> None:
    _remember("b", OTHER)
    assert down.no_lab("neverwas") == "there is no lab neverwas (labs: b, newc)"


def test_no_lab_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert down.no_lab("neverwas") == "there is no lab neverwas (labs: none)"
