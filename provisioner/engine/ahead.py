"""What hosts do ahead of a run's order: stages that say what they need of other hosts (`needs`) wait for no more.

A host keeps to the order of its own stages. Whatever it has not done ahead when the run comes to such a stage it does
then, like any other stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import BoundedSemaphore, Condition, Thread

from provisioner.engine.plan import StagePlan

LIMIT = 64
"""How many hosts work ahead at a time; the pool of sessions has the same bound."""

Work = Callable[[str, StagePlan], bool]
"""Does one stage on one host; whether the host may go on."""


class Ahead:
    """For one run of `stages`: what hosts do ahead, and (`do`) what the run does where it stands."""

    def __init__(self, stages: Sequence[StagePlan], work: Work) -> None:
        self._work = work
        self._left: dict[str, list[StagePlan]] = {}
        for stage in stages:
            for host, changes in stage.changes.items():
                if changes:
                    self._left.setdefault(host, []).append(stage)
        self._order = list(stages)
        self._places = {stage.name: place for place, stage in reversed([*enumerate(stages)])}
        # By identity: names may come again.
        self._at_work = {
            id(stage): {host for host, each in stage.changes.items() if each} for stage in stages
        }
        self._gates = {id(stage) for stage in stages if stage.gate}
        self._busy = set[str]()
        self._failed = set[str]()
        self._over = False
        self._faults: list[Exception] = []
        self._room = BoundedSemaphore(LIMIT)
        self._news = Condition()

    def passed(self, stages: Iterable[StagePlan]) -> None:
        """Their gates have been passed, or need not be."""
        with self._news:
            self._gates -= {id(stage) for stage in stages}

    def begin(self) -> None:
        """Lets all hosts that are not at work go on by themselves as far as they can."""
        with self._news:
            ready = [each for each in self._left if each not in self._busy and self._next(each)]
            self._busy.update(ready)
        for host in ready:
            # Daemons: when a run is interrupted its connections end, and nobody waits for those who noticed late.
            Thread(target=self._host, args=(host,), name=f"ahead {host}", daemon=True).start()

    def do(self, host: str, stage: StagePlan) -> bool:
        """Does the stage there, unless that was done ahead; whether the host may go on."""
        if not self._claimed(host, stage):
            return host not in self._failed
        well = self._tried(host, stage)
        with self._news:
            self._busy.discard(host)
        self.begin()
        return well

    def stop(self) -> None:
        """Begins nothing more."""
        with self._news:
            self._over = True

    def check(self) -> None:
        """Raises what was raised ahead: a defect, for failures are told."""
        for fault in self._faults:
            raise fault

    def end(self) -> None:
        """Begins nothing more and waits for what is begun. Raises as `check`."""
        with self._news:
            self._over = True
            self._news.wait_for(lambda: not self._busy)
        self.check()

    def _next(self, host: str) -> StagePlan | None:
        """What the host can do now, if it comes next on it."""
        left = self._left[host]
        if not left or self._over or host in self._failed:
            return None
        needs = left[0].needs
        return left[0] if needs is not None and self._met(needs) else None

    def _met(self, needs: str) -> bool:
        """Whether that stage has ended, and all before it; one that this run leaves out has."""
        upto = self._order[: self._places.get(needs, -1) + 1]
        return not any(self._at_work[id(each)] or id(each) in self._gates for each in upto)

    def _claimed(self, host: str, stage: StagePlan) -> bool:
        """Waits for what the host does ahead. Whether the stage is left to be done; then the host is at work."""
        with self._news:
            self._news.wait_for(lambda: host not in self._busy or stage not in self._left[host])
            mine = host not in self._failed and stage in self._left[host]
            if mine:
                self._busy.add(host)
            return mine

    def _tried(self, host: str, stage: StagePlan) -> bool:
        well = False
        try:
            well = self._work(host, stage)
        finally:
            with self._news:
                if well:
                    self._left[host].remove(stage)
                    self._at_work[id(stage)].discard(host)
                else:  # it does nothing more
                    self._failed.add(host)
                self._news.notify_all()
        return well

    def _host(self, host: str) -> None:
        try:
            with self._room:
                while (stage := self._begun(host)) and self._tried(host, stage):
                    pass
        except Exception as fault:  # a defect; `check` raises it
            self._faults.append(fault)
        finally:
            with self._news:
                self._busy.discard(host)
                self._news.notify_all()
        self.begin()

    def _begun(self, host: str) -> StagePlan | None:
        with self._news:
            return self._next(host)
