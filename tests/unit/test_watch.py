"""What was started has to stay: it is asked again at gates, between batches and at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from localhost import LocalSession

from provisioner.engine import watch as watching
from provisioner.engine.events import Event, Failed
from provisioner.engine.execute import Executor, Outcome
from provisioner.engine.plan import Plan, StagePlan
from provisioner.engine.watch import Watch
from provisioner.errors import ProvisionError, UnreachableError
from provisioner.resources.model import Absent, Change, Present, Resource
from provisioner.shell.quote import quote
from provisioner.shell.script import Script

AGE = 1.0


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "AGE", AGE)
    monkeypatch.setattr("provisioner.engine.execute.AGE", AGE)


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> float:
    """The age at which things are asked, in seconds: longer than a run that does not wait for it may take."""
    monkeypatch.setattr(watching, "AGE", 30.0)
    monkeypatch.setattr("provisioner.engine.execute.AGE", 30.0)
    return 30.0


class Started:
    """A kind of things that live as long as their file is there."""

    name = "thing"

    def stays(self, change: Change) -> Script | None:
        if change.action == "delete":
            return None
        return Script(f"[ -e {quote(change.resource.name)} ] || {{ echo gone; echo last words; exit 1; }}\n")


class Hosts:
    """Starts things on this machine, under the names of several hosts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session_here = LocalSession(folder, "dash")
        self.lines: list[str] = []
        self.dying: set[str] = set()
        self.watch = Watch(self, {"thing": Started()})  # type: ignore[arg-type, dict-item]

    def session(self, host: str) -> LocalSession:
        if host == "lost":
            raise UnreachableError("lost: is gone", "look")
        return self.session_here

    def change(self, name: str, action: str = "create") -> Change:
        return Change(Resource("thing", str(self.folder / name), Present()), Absent(), action)

    def carry_out(self, host: str, stage: str, changes: Sequence[Change]) -> tuple[Failed | None, int]:
        self.lines.append(f"{stage}@{host}")
        for each in changes:
            path = Path(each.resource.name)
            if path.name not in self.dying:
                path.touch()
        self.watch.add(host, stage, changes)
        return None, len(changes)

    def gate(self) -> str:
        self.lines.append("gate")
        time.sleep(AGE)
        return ""

    def shut(self) -> str:
        raise ProvisionError("nobody answers")

    def run(self, *stages: StagePlan) -> tuple[Outcome, list[Event]]:
        events: list[Event] = []
        gates = {"gate": self.gate, "shut": self.shut}
        executor = Executor(self, gates, events.append, watch=self.watch)  # type: ignore[arg-type]
        return executor.run(Plan("", "", stages)), events


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


def named(outcome: Outcome) -> list[tuple[str, str, str]]:
    return [(each.stage, each.host, Path(each.resource).name) for each in outcome.failures]


def test_what_stays_is_waited_for_at_the_end_only(hosts: Hosts) -> None:
    stages = [StagePlan(str(n), ("a",), {"a": (hosts.change(str(n)),)}, barrier=True) for n in range(4)]
    began = time.monotonic()
    outcome, _ = hosts.run(*stages)
    assert outcome.ok
    assert time.monotonic() - began >= AGE
    assert hosts.session_here.execs < 4, "not after each"
    assert hosts.watch.hosts() == ()


def test_a_run_that_starts_nothing_waits_for_nothing(hosts: Hosts, old: float) -> None:
    began = time.monotonic()
    outcome, _ = hosts.run(StagePlan("1", ("a",), {"a": (hosts.change("x", "delete"),)}))
    assert outcome.ok
    assert time.monotonic() - began < old
    assert hosts.session_here.execs == 0


def test_what_fell_fails_the_run_and_tells_its_last_words(hosts: Hosts) -> None:
    hosts.dying = {"b"}
    changes = (hosts.change("a"), hosts.change("b"))
    outcome, events = hosts.run(StagePlan("1", ("h",), {"h": changes}))
    (failure,) = outcome.failures
    assert named(outcome) == [("1", "h", "b")]
    assert failure in events
    assert (failure.reason, failure.stderr) == ("was started, and did not stay: gone", "last words")
    assert outcome.exit_code == 1


def test_it_stops_the_run_at_the_next_gate(hosts: Hosts) -> None:
    """When the gate took long enough, before what comes behind it; a second gate is not asked any more."""
    hosts.dying = {"a"}
    stages = [
        StagePlan("1", ("h",), {"h": (hosts.change("a"),)}, gate="gate"),
        StagePlan("2", ("h",), {"h": (hosts.change("b"),)}, gate="gate"),
        StagePlan("3", ("h",), {"h": (hosts.change("c"),)}),
    ]
    outcome, _ = hosts.run(*stages)
    assert hosts.lines == ["1@h", "gate", "2@h"]
    assert named(outcome) == [("1", "h", "a")]


def test_a_gate_that_does_not_pass_is_told_with_what_fell(hosts: Hosts, old: float) -> None:
    hosts.dying = {"a"}
    began = time.monotonic()
    outcome, _ = hosts.run(StagePlan("1", ("h",), {"h": (hosts.change("a"),)}, gate="shut"))
    assert [each.resource.rpartition("/")[2] for each in outcome.failures] == ["gate:shut", "a"]
    assert time.monotonic() - began < old, "a run that has failed waits for nothing"


def test_a_batch_has_to_stay_before_the_next_one_begins(hosts: Hosts) -> None:
    hosts.dying = {"one"}
    changes = {"a": (hosts.change("one"),), "b": (hosts.change("two"),)}
    outcome, _ = hosts.run(StagePlan("1", ("a", "b"), changes, serial=(1,)))
    assert hosts.lines == ["1@a"]
    assert named(outcome) == [("1", "a", "one")]


def test_a_host_that_is_lost_meanwhile(hosts: Hosts) -> None:
    outcome, _ = hosts.run(StagePlan("1", ("lost",), {"lost": (hosts.change("a"),)}))
    assert [(each.host, each.reason, each.exit_code) for each in outcome.failures] == [
        ("lost", "lost: is gone", 4)
    ]
