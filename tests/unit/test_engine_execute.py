"""The order of a run: segments, batches, gates, and where failures stop it. The work on a host is written down only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from provisioner.engine.events import Event, Failed, GatePassed, GateStarted, StageEnded
from provisioner.engine.execute import Executor, Gate, Outcome
from provisioner.engine.plan import Plan, StagePlan
from provisioner.errors import ProvisionError
from provisioner.resources.model import Absent, Change, Present, Resource

CHANGE = Change(Resource("file", "/x", Present({"type": "file"})), Absent(), "create")


class Log:
    """Stands for the hosts: what is done where, in order; fails where it is told to."""

    def __init__(self, *failing: tuple[str, str]) -> None:
        self.lines: list[str] = []
        self.failing = set(failing)
        self.mutex = threading.Lock()
        self.meet: Callable[[str], None] = lambda host: None

    def carry_out(self, host: str, stage: str, changes: Sequence[Change]) -> tuple[Failed | None, int]:
        self.meet(host)
        with self.mutex:
            self.lines.append(f"{stage}@{host}")
        if (stage, host) in self.failing:
            return Failed(stage=stage, host=host, resource="file:/x", reason="no"), 0
        return None, len(changes)

    def gate(self, name: str, *, passes: bool = True) -> Gate:
        def check() -> str:
            self.lines.append(f"gate {name}")
            if not passes:
                raise ProvisionError("does not pass", "look")
            return "fine"

        return check


def stage(name: str, hosts: str = "", **more: Any) -> StagePlan:
    """`hosts` are the letters of those that have a change."""
    return StagePlan(name, ("a", "b", "c"), dict.fromkeys(hosts, (CHANGE,)), **more)


def run(log: Log, *stages: StagePlan, **gates: Gate | None) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    plan = Plan("", "", stages)
    return Executor(log, gates, events.append).run(plan), events  # type: ignore[arg-type]


GATES: list[tuple[str, list[StagePlan], list[str]]] = [
    ("its stage changes", [stage("1", "a", gate="g")], ["1@a", "gate g"]),
    ("a later stage changes", [stage("1", gate="g"), stage("2", "a")], ["gate g", "2@a"]),
    ("an earlier stage changes", [stage("0", "a", gate="f"), stage("1", gate="g")], ["0@a", "gate f"]),
    ("a stage before it in its segment changes", [stage("0", "a"), stage("1", gate="g")], ["0@a", "gate g"]),
    ("nothing changes", [stage("1", gate="g"), stage("2")], []),
    ("nothing changes, always", [stage("1", gate="g", always=True)], ["gate g"]),
    ("only after it", [stage("1", gate="f"), stage("2", gate="g", always=True)], ["gate g"]),
]


@pytest.mark.parametrize(("name", "stages", "lines"), GATES, ids=[each[0] for each in GATES])
def test_a_gate_runs_for_changes_of_its_stage_or_later_ones(
    name: str, stages: list[StagePlan], lines: list[str]
) -> None:
    log = Log()
    outcome, _ = run(log, *stages, f=log.gate("f"), g=log.gate("g"))
    assert log.lines == lines
    assert outcome.ok


def test_hosts_run_ahead_of_each_other_up_to_the_gate() -> None:
    """Host b ends stage 2 while host a is still in stage 1; stage 3 waits for the gate."""
    log, ahead = Log(), threading.Event()

    def meet(host: str) -> None:
        if host == "a":
            assert ahead.wait(10)
        elif "1@b" in log.lines:
            ahead.set()

    log.meet = meet
    run(log, stage("1", "ab"), stage("2", "ab", gate="g"), stage("3", "ab"), g=log.gate("g"))
    assert log.lines.index("1@b") < log.lines.index("1@a")
    assert log.lines[4] == "gate g"
    assert sorted(log.lines[5:]) == ["3@a", "3@b"]


SERIALS: list[tuple[tuple[int, ...], list[str]]] = [
    ((1,), ["a", "b", "c"]), ((2,), ["ab", "c"]), ((5,), ["abc"]), ((1, 5), ["a", "bc"])
]  # fmt: skip


@pytest.mark.parametrize(("serial", "batches"), SERIALS)
def test_serial_changes_so_many_hosts_at_a_time(serial: tuple[int, ...], batches: list[str]) -> None:
    log = Log()
    together: dict[str, threading.Barrier] = {}
    for batch in batches:
        shared = threading.Barrier(len(batch))
        together |= dict.fromkeys(batch, shared)
    log.meet = lambda host: (together[host].wait(10), None)[1]
    run(log, stage("1", "abc", serial=serial))
    at = 0
    for batch in batches:
        assert sorted(log.lines[at : at + len(batch)]) == [f"1@{host}" for host in batch]
        at += len(batch)


def test_a_serial_stage_waits_for_those_before_it() -> None:
    log = Log()
    run(log, stage("1", "ab"), stage("2", "ab", serial=(1,)), stage("3", "ab"))
    assert [line[0] for line in log.lines] == ["1", "1", "2", "2", "3", "3"]


def test_the_gate_stands_between_the_batches() -> None:
    log = Log()
    run(log, stage("1", "abc", serial=(1,), gate="g"), g=log.gate("g"))
    assert log.lines == ["1@a", "gate g", "1@b", "gate g", "1@c", "gate g"]


def test_a_failing_host_stops_itself_and_the_next_segment_only() -> None:
    log = Log(("1", "a"))
    outcome, events = run(
        log, stage("1", "ab"), stage("2", "ab", gate="g"), stage("3", "ab"), g=log.gate("g")
    )
    assert sorted(log.lines) == ["1@a", "1@b", "2@b"]
    assert [(failure.stage, failure.host) for failure in outcome.failures] == [("1", "a")]
    assert not outcome.ok
    assert outcome.changed == {"1": 1, "2": 1}
    ended = {event.stage: event.failed for event in events if isinstance(event, StageEnded)}
    assert ended == {"1": 1, "2": 0}


def test_a_failing_batch_stops_the_next_batch() -> None:
    log = Log(("1", "b"))
    outcome, _ = run(log, stage("1", "abc", serial=(1,)), stage("2", "c"))
    assert log.lines == ["1@a", "1@b"]
    assert not outcome.ok


def test_a_gate_that_does_not_pass_stops_the_run() -> None:
    log = Log()
    outcome, events = run(log, stage("1", "a", gate="g"), stage("2", "a"), g=log.gate("g", passes=False))
    assert log.lines == ["1@a", "gate g"]
    (failure,) = outcome.failures
    assert (failure.resource, failure.reason, failure.hint) == ("gate:g", "does not pass", "look")
    assert failure in events


def test_a_gate_that_has_nothing_to_ask_is_not_told_of() -> None:
    """Hosts still wait for each other there."""
    log, slow = Log(), threading.Event()
    log.meet = lambda host: (slow.wait(0.3), None)[1] if host == "a" else None
    outcome, events = run(log, stage("1", "ab", gate="g"), stage("2", "ab"), g=None)
    assert [line[0] for line in log.lines] == ["1", "1", "2", "2"]
    assert outcome.ok
    assert not any(isinstance(event, GateStarted | GatePassed) for event in events)


def test_an_unknown_gate_is_told_before_anything_is_done() -> None:
    log = Log()
    with pytest.raises(ProvisionError, match="stage '2': there is no gate 'h'") as caught:
        run(log, stage("1", "a", gate="g"), stage("2", gate="h"), g=log.gate("g"))
    assert caught.value.hint == "there are: g"
    assert log.lines == []


BARRIERS: list[tuple[str, list[StagePlan]]] = [
    ("barrier", [stage("1", "ab", barrier=True), stage("2", "ab")]),
    ("barrier without a change of its own", [stage("1", "ab"), stage("0", barrier=True), stage("2", "ab")]),
]


@pytest.mark.parametrize(("name", "stages"), BARRIERS, ids=[each[0] for each in BARRIERS])
def test_no_host_goes_beyond_a_barrier_before_all_have_come_there(name: str, stages: list[StagePlan]) -> None:
    log, slow = Log(), threading.Event()
    log.meet = lambda host: (slow.wait(0.3), None)[1] if host == "a" else None
    run(log, *stages)
    assert [line[0] for line in log.lines] == ["1", "1", "2", "2"]


def test_a_defect_is_not_hidden() -> None:
    log = Log()

    def meet(host: str) -> None:
        raise KeyError(host)

    log.meet = meet
    with pytest.raises(KeyError):
        run(log, stage("1", "a"))
