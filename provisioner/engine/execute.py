"""Carries out a plan: stage by stage, hosts in parallel, read again, gates between.

Hosts run ahead of each other inside a segment: the stages up to and with the next gate, barrier or `serial`. Stages
that say what they need of other hosts are done beside all that (engine.ahead).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, repeat
from threading import Lock
from typing import Protocol

from provisioner.engine.ahead import Ahead
from provisioner.engine.events import Emit, Failed, GatePassed, GateStarted, StageEnded, StageStarted
from provisioner.engine.hostwork import HostWork
from provisioner.engine.plan import Plan, StagePlan
from provisioner.engine.stagetimes import StageTimes
from provisioner.engine.watch import AGE, Watch
from provisioner.errors import ProvisionError

Gate = Callable[[], str]
"""A named check: returns a detail for people, raises ProvisionError with evidence when it does not pass."""


class Each(Protocol):
    """Calls `work` for every host in parallel; what it raises is the host's answer."""

    def __call__(
        self, hosts: Sequence[str], work: Callable[[str], None]
    ) -> Mapping[str, Exception | None]: ...


def in_threads(hosts: Sequence[str], work: Callable[[str], None]) -> Mapping[str, Exception | None]:
    """The plain way: one thread a host, no way to end them early."""

    def guarded(host: str) -> Exception | None:
        try:
            work(host)
        except Exception as fault:
            return fault
        return None

    with ThreadPoolExecutor(max_workers=len(hosts) or 1) as threads:
        return dict(zip(hosts, threads.map(guarded, hosts), strict=True))


@dataclass
class Outcome:
    """What came of it: counts of changes by stage, seconds by stage, and the failures."""

    changed: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)
    made: dict[tuple[str, str], int] = field(default_factory=dict)
    """Counts of changes by stage and host."""

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def exit_code(self) -> int:
        """0 when all is well; 4 when nothing failed but that hosts were lost; else 1."""
        codes = {failure.exit_code for failure in self.failures}
        return codes.pop() if len(codes) == 1 else int(bool(codes))

    def left(self, plan: Plan) -> dict[str, dict[str, int]]:
        """How many changes of the plan were not made, by stage and host."""
        found: dict[str, dict[str, int]] = {}
        for stage in plan.stages:
            for host, changes in stage.changes.items():
                if count := len(changes) - self.made.get((stage.name, host), 0):
                    found.setdefault(stage.name, {})[host] = count
        return found


class Executor:
    """Runs a plan once. `gates` by name, None for one that has nothing to ask in this run; `work` changes one host's
    stage; `each` runs it for several hosts in parallel and ends it when the run is interrupted (Pool.each); `watch`
    knows what was started and has to stay."""

    def __init__(
        self,
        work: HostWork,
        gates: Mapping[str, Gate | None],
        emit: Emit,
        *,
        each: Each = in_threads,
        watch: Watch | None = None,
    ) -> None:
        self._work = work
        self._watch = watch
        self._gates = gates
        self._emit = emit
        self._each = each
        self._mutex = Lock()

    def run(self, plan: Plan) -> Outcome:
        """Never raises for a host's or a gate's failure: the outcome tells. Raises ProvisionError, before anything is
        done, for a gate that there is not."""
        self._check_gates(plan)
        outcome, times = Outcome(), StageTimes()
        ahead = Ahead(plan.stages, lambda host, stage: self._item(host, stage, outcome, times))
        try:
            self._all(plan, outcome, times, ahead)
        except BaseException:  # interrupted, or a defect: whoever works ahead does not go on
            ahead.stop()
            raise
        ahead.end()
        self._ended(plan.stages, outcome, times)
        self._all_stays(outcome)
        return outcome

    def _all(self, plan: Plan, outcome: Outcome, times: StageTimes, ahead: Ahead) -> None:
        for index, segment in _segments(plan.stages):
            ahead.begin()
            self._segment(segment, outcome, times, ahead)
            ahead.check()
            last = segment[-1]
            rest = sum(stage.count for stage in plan.stages[index:])
            changed = any(stage.count for stage in segment)
            self._stays(outcome, AGE)
            if outcome.ok and last.gate and (last.always or changed or rest):
                self._gate(last, outcome)
            if not outcome.ok:
                break
            ahead.passed(segment)

    def _stays(self, outcome: Outcome, age: float = 0.0) -> None:
        """What was started at least `age` seconds ago and does not run on has failed."""
        watch = self._watch
        if watch is None or not (hosts := watch.hosts(age)):
            return
        found: list[Failed] = []
        answers = self._each(hosts, lambda host: found.extend(watch.ask(host, age)))
        for fault in answers.values():
            if isinstance(fault, Exception):
                raise fault
        for failure in found:
            outcome.failures.append(failure)
            self._emit(failure)

    def _all_stays(self, outcome: Outcome) -> None:
        """A run that has failed does not wait: what has died until now may be why."""
        if self._watch is not None and outcome.ok:
            self._watch.wait()
        self._stays(outcome)

    def _check_gates(self, plan: Plan) -> None:
        for stage in plan.stages:
            if stage.gate and stage.gate not in self._gates:
                known = ", ".join(sorted(self._gates)) or "none without a cluster"
                raise ProvisionError(
                    f"stage '{stage.name}': there is no gate '{stage.gate}'", f"there are: {known}"
                )

    def _segment(
        self, segment: Sequence[StagePlan], outcome: Outcome, times: StageTimes, ahead: Ahead
    ) -> None:
        hosts = tuple(dict.fromkeys(host for stage in segment for host in stage.changes))
        done = 0
        for batch in _batches(hosts, segment[-1].serial):
            done += len(batch)
            answers = self._each(batch, lambda host: _through(segment, host, ahead))
            for fault in answers.values():
                if isinstance(fault, Exception):
                    raise fault
            last = segment[-1]
            if last.serial and done < len(hosts):  # all must be well before the next batch, too
                self._all_stays(outcome)
                if outcome.ok and last.gate:
                    self._gate(last, outcome)
            if not outcome.ok:
                break
        self._ended(segment, outcome, times)

    def _ended(self, stages: Sequence[StagePlan], outcome: Outcome, times: StageTimes) -> None:
        """Tells of those that were begun, once each."""
        for stage in stages:
            if times.end(id(stage)):
                failed = sum(1 for failure in outcome.failures if failure.stage == stage.name)
                seconds = outcome.seconds.get(stage.name, 0.0)
                count = outcome.changed.get(stage.name, 0)
                self._emit(StageEnded(stage=stage.name, seconds=seconds, changed=count, failed=failed))

    def _item(self, host: str, stage: StagePlan, outcome: Outcome, times: StageTimes) -> bool:
        """Whether all of the stage's changes on the host were made."""
        if times.begin(id(stage)):
            self._emit(StageStarted(stage=stage.name, hosts=tuple(stage.changes)))
        failure, done = self._work.carry_out(host, stage.name, stage.changes[host])
        seconds = times.leave(id(stage))
        with self._mutex:
            outcome.changed[stage.name] = outcome.changed.get(stage.name, 0) + done
            outcome.made[stage.name, host] = done
            outcome.seconds[stage.name] = seconds
            if failure is not None:
                outcome.failures.append(failure)
        if failure is not None:
            self._emit(failure)
        return failure is None

    def _gate(self, stage: StagePlan, outcome: Outcome) -> None:
        name, began = str(stage.gate), time.monotonic()
        gate = self._gates[name]
        if gate is None:
            return
        self._emit(GateStarted(gate=name))
        try:
            detail = gate()
        except ProvisionError as fault:
            failure = Failed(
                stage=stage.name,
                host="",
                resource=f"gate:{name}",
                reason=fault.reason,
                hint=fault.hint,
                exit_code=fault.exit_code,
            )
            outcome.failures.append(failure)
            self._emit(failure)
            return
        seconds = time.monotonic() - began
        outcome.seconds[f"gate {name}"] = seconds
        self._emit(GatePassed(gate=name, seconds=seconds, detail=detail))


def _through(segment: Sequence[StagePlan], host: str, ahead: Ahead) -> None:
    """One host through its stages, up to one that fails."""
    for stage in segment:
        if stage.changes.get(host) and not ahead.do(host, stage):
            return


def _batches(hosts: Sequence[str], sizes: Sequence[int]) -> Iterator[Sequence[str]]:
    """Of these sizes, the last of which is that of all further ones; all hosts at once when there are none."""
    start = 0
    for size in chain(sizes, repeat(sizes[-1] if sizes else len(hosts))):
        if start >= len(hosts):
            return
        yield hosts[start : start + size]
        start += size


def _segments(stages: Sequence[StagePlan]) -> Iterator[tuple[int, list[StagePlan]]]:
    """(index after the segment, its stages). A stage with `serial` stands alone."""
    current: list[StagePlan] = []
    for index, stage in enumerate(stages):
        if stage.serial and current:
            yield index, current
            current = []
        current.append(stage)
        if stage.gate or stage.barrier or stage.serial:
            yield index + 1, current
            current = []
    if current:
        yield len(stages), current
