"""Stages that say what they need are done beside the rest of a run. The work on a host is written down only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from provisioner.engine.events import Event, Failed, StageEnded, StageStarted
from provisioner.engine.execute import Executor, Gate, Outcome
from provisioner.engine.plan import Plan, StagePlan
from provisioner.errors import ProvisionError
from provisioner.resources.model import Absent, Change, Present, Resource

CHANGE = Change(Resource("file", "/x", Present({"type": "file"})), Absent(), "create")
SECONDS = 10


class Hosts:
    """Stands for the hosts: what is done where, in order. `waits` are called before a piece of work."""

    def __init__(self, **waits: Callable[[], object]) -> None:
        self.lines: list[str] = []
        self.failing = set[str]()
        self.waits = waits
        self.news = threading.Condition()

    def carry_out(self, host: str, stage: str, changes: Sequence[Change]) -> tuple[Failed | None, int]:
        self.waits.get(f"{stage}_{host}", lambda: None)()
        self.tell(f"{stage}@{host}")
        if f"{stage}@{host}" in self.failing:
            return Failed(stage=stage, host=host, resource="file:/x", reason="no"), 0
        return None, len(changes)

    def tell(self, line: str) -> None:
        with self.news:
            self.lines.append(line)
            self.news.notify_all()

    def until(self, *lines: str) -> Callable[[], None]:
        """Waits until all of that was done. Fails when it does not come: then it is not done beside."""

        def wait() -> None:
            with self.news:
                assert self.news.wait_for(lambda: set(lines) <= set(self.lines), SECONDS), self.lines

        return wait

    def gate(self, name: str, wait: Callable[[], None] = lambda: None) -> Gate:
        def check() -> str:
            wait()
            self.tell(f"gate {name}")
            return "fine"

        return check


def stage(name: str, hosts: str = "", **more: Any) -> StagePlan:
    """`hosts` are the letters of those that have a change."""
    return StagePlan(name, ("a", "b", "c"), dict.fromkeys(hosts, (CHANGE,)), **more)


def run(hosts: Hosts, *stages: StagePlan, **gates: Gate) -> tuple[Outcome, list[Event]]:
    events: list[Event] = []
    return Executor(hosts, gates, events.append).run(Plan("", "", stages)), events  # type: ignore[arg-type]


def test_it_is_done_beside_other_hosts_stages() -> None:
    hosts = Hosts()
    hosts.waits["slow_a"] = hosts.until("ahead@b")
    outcome, _ = run(
        hosts, stage("slow", "a", barrier=True), stage("last", "a"), stage("ahead", "b", needs="first")
    )
    assert outcome.ok
    assert hosts.lines == ["ahead@b", "slow@a", "last@a"]


def test_it_is_done_beside_a_gate_by_hosts_that_have_come_there() -> None:
    hosts = Hosts()
    gate = hosts.gate("g", hosts.until("ahead@a", "ahead@b"))
    outcome, events = run(
        hosts,
        stage("first", "ab"),
        stage("tried", "a", gate="g"),
        stage("ahead", "ab", needs="first"),
        g=gate,
    )
    assert outcome.ok
    assert hosts.lines[-1] == "gate g"
    told = [each.stage for each in events if isinstance(each, StageStarted | StageEnded)]
    assert told.count("ahead") == 2, "begun once, ended once"


def test_it_waits_for_what_it_needs_gate_and_all() -> None:
    hosts = Hosts()
    began = threading.Event()
    hosts.waits["needed_a"] = lambda: began.wait(0.3)
    stages = stage("needed", "a", gate="g"), stage("slow", "a"), stage("ahead", "b", needs="needed")
    hosts.waits["slow_a"] = hosts.until("ahead@b")
    run(hosts, *stages, g=hosts.gate("g"))
    assert hosts.lines == ["needed@a", "gate g", "ahead@b", "slow@a"]


def test_a_host_keeps_its_own_order() -> None:
    hosts = Hosts()
    run(
        hosts,
        stage("1", "a", barrier=True),
        stage("2", "ab", needs="1"),
        stage("3", "a", barrier=True),
        stage("4", "a", needs="1"),
        stage("5", "a"),
    )
    assert [line for line in hosts.lines if line.endswith("a")] == ["1@a", "2@a", "3@a", "4@a", "5@a"]


def test_every_piece_is_done_once_however_hosts_come_by() -> None:
    """Twelve hosts with work ahead, normal work, and batches in between."""
    letters = "abcdefghijkl"
    for _ in range(20):
        hosts = Hosts()
        outcome, _ = run(
            hosts,
            stage("1", letters),
            stage("2", letters, needs="0"),
            stage("3", letters, serial=(1, 5)),
            stage("4", letters, needs="1"),
            stage("5", letters[::2], barrier=True),
            stage("6", letters, needs="3"),
        )
        assert outcome.ok
        wanted = [f"{n}@{host}" for n in "12346" for host in letters] + [f"5@{host}" for host in letters[::2]]
        assert sorted(hosts.lines) == sorted(wanted)


def test_the_run_waits_for_it_where_it_stands() -> None:
    hosts = Hosts()
    pause = threading.Event()
    hosts.waits["ahead_b"] = lambda: pause.wait(0.3)
    run(
        hosts, stage("1", "a"), stage("ahead", "b", needs="0"), stage("2", "a", barrier=True), stage("3", "a")
    )
    assert hosts.lines.index("ahead@b") < hosts.lines.index("3@a")


def test_a_failure_ahead_ends_the_run_and_is_not_tried_again() -> None:
    hosts = Hosts()
    hosts.failing = {"ahead@b"}
    hosts.waits["slow_a"] = hosts.until("ahead@b")
    outcome, events = run(
        hosts,
        stage("slow", "a", barrier=True),
        stage("next", "a", barrier=True),
        stage("ahead", "b", needs="0"),
        stage("last", "b"),
    )
    assert [(each.stage, each.host) for each in outcome.failures] == [("ahead", "b")]
    assert hosts.lines == ["ahead@b", "slow@a"]
    (ended,) = (each for each in events if isinstance(each, StageEnded) and each.stage == "ahead")
    assert ended.failed == 1


def test_a_failure_ahead_that_the_run_waits_for_is_not_tried_again() -> None:
    """It is told while the run has come to it and waits."""
    hosts = Hosts()
    hosts.failing = {"ahead@b"}
    pause = threading.Event()
    hosts.waits["ahead_b"] = lambda: pause.wait(0.5)
    outcome, events = run(
        hosts, stage("1", "a"), stage("ahead", "b", needs="0"), stage("next", "b", needs="0")
    )
    assert hosts.lines.count("ahead@b") == 1
    assert "next@b" not in hosts.lines
    assert len(outcome.failures) == len([each for each in events if isinstance(each, Failed)]) == 1


def test_who_is_interrupted_begins_nothing_more_ahead() -> None:
    hosts = Hosts()
    going = threading.Event()
    hosts.waits["1_b"] = lambda: going.wait(SECONDS)

    def interrupted() -> str:
        raise KeyboardInterrupt

    stages = stage("0", "a", gate="g"), *(stage(name, "b", needs="-") for name in "123")
    with pytest.raises(KeyboardInterrupt):
        run(hosts, *stages, g=interrupted)
    going.set()
    hosts.until("1@b")()
    threading.Event().wait(0.3)
    assert hosts.lines == ["0@a", "1@b"]


def test_a_run_that_fails_waits_for_what_is_begun_and_begins_nothing_more() -> None:
    hosts = Hosts()
    hosts.failing = {"1@a"}
    pause = threading.Event()
    hosts.waits["2_b"] = lambda: pause.wait(0.3)
    outcome, _ = run(
        hosts, stage("1", "a", barrier=True), stage("2", "b", needs="0"), stage("3", "b", needs="1")
    )
    assert not outcome.ok
    assert sorted(hosts.lines) == ["1@a", "2@b"]
    assert outcome.changed["2"] == 1


def test_a_defect_ahead_is_not_hidden() -> None:
    hosts = Hosts()

    def defect() -> None:
        raise KeyError("b")

    hosts.waits["ahead_b"] = defect
    with pytest.raises(KeyError):
        run(
            hosts,
            stage("1", "a"),
            stage("ahead", "b", needs="0"),
            stage("2", "a", gate="g"),
            g=hosts.gate("g"),
        )
    assert "gate g" not in hosts.lines
    assert not [each for each in hosts.lines if each.startswith("ahead")]


def test_what_is_needed_is_seen_as_soon_as_the_last_host_has_done_it() -> None:
    """In the middle of a segment."""
    hosts = Hosts()
    hosts.waits["long_a"] = hosts.until("ahead@c")
    run(hosts, stage("needed", "ac"), stage("long", "a", barrier=True), stage("ahead", "c", needs="needed"))
    assert hosts.lines[-1] == "long@a"


def test_stages_of_one_name_are_told_each() -> None:
    hosts = Hosts()
    _, events = run(hosts, stage("1", "a", barrier=True), stage("1", "b"))
    assert len([each for each in events if isinstance(each, StageEnded)]) == 2


def test_a_gate_that_does_not_pass_ends_the_run_once_others_are_done() -> None:
    hosts = Hosts()
    reached = hosts.until("ahead@b")

    def refused() -> str:
        reached()
        raise ProvisionError("does not pass", "look")

    outcome, _ = run(
        hosts, stage("1", "a", gate="g"), stage("ahead", "b", needs="0"), stage("2", "a"), g=refused
    )
    assert [each.resource for each in outcome.failures] == ["gate:g"]
    assert hosts.lines.count("2@a") == 0


def test_its_seconds_are_those_in_which_somebody_works() -> None:
    """Not from the first host's beginning to the last one's end."""
    hosts = Hosts()
    pause = threading.Event()
    hosts.waits["slow_a"] = lambda: pause.wait(1)
    outcome, _ = run(hosts, stage("slow", "a", barrier=True), stage("ahead", "ab", needs="0"))
    assert hosts.lines == ["ahead@b", "slow@a", "ahead@a"]
    assert outcome.seconds["ahead"] < outcome.seconds["slow"]
