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
    """For one run of `stages`. A stage counts as done on a host when `done` was said of it, by whoever did it."""

    def __init__(self, stages: Sequence[StagePlan], work: Work) -> None:
        self._work = work
        self._left: dict[str, list[StagePlan]] = {}
        for stage in stages:
            for host, changes in stage.changes.items():
                if changes:
                    self._left.setdefault(host, []).append(stage)
        self._names = [stage.name for stage in stages]
        self._places = {stage.name: place for place, stage in enumerate(stages)}
        self._at_work = {
            stage.name: {host for host, each in stage.changes.items() if each} for stage in stages
        }
        self._gates = {stage.name for stage in stages if stage.gate}
        self._busy = set[str]()
        self._failed = set[str]()
        self._over = False
        self._faults: list[Exception] = []
        self._room = BoundedSemaphore(LIMIT)
        self._news = Condition()

    def passed(self, stages: Iterable[StagePlan]) -> None:
        """Their gates have been passed, or need not be."""
        with self._news:
            self._gates -= {stage.name for stage in stages}

    def begin(self, hosts: Iterable[str] = ()) -> None:
        """Lets `hosts` (none: all) go on by themselves as far as they can. None of them may be at work."""
        with self._news:
            ready = [each for each in hosts or self._left if each not in self._busy and self._next(each)]
            self._busy.update(ready)
        for host in ready:
            # Daemons: when a run is interrupted its connections end, and nobody waits for those who noticed late.
            Thread(target=self._host, args=(host,), name=f"ahead {host}", daemon=True).start()

    def claim(self, host: str, stage: StagePlan) -> bool:
        """Waits for what the host does ahead; whether `stage` is left to be done, and the host has not failed."""
        with self._news:
            self._news.wait_for(lambda: host not in self._busy or stage not in self._left[host])
            return host not in self._failed and stage in self._left[host]

    def done(self, host: str, stage: StagePlan) -> None:
        """The host has done it."""
        with self._news:
            self._left[host].remove(stage)
            self._at_work[stage.name].discard(host)
            self._news.notify_all()

    def end(self) -> None:
        """Begins nothing more and waits for what is begun. Raises what was raised there."""
        with self._news:
            self._over = True
            self._news.wait_for(lambda: not self._busy)
        for fault in self._faults:
            raise fault

    def _next(self, host: str) -> StagePlan | None:
        """What the host can do now, if it comes next on it."""
        left = self._left.get(host)
        if not left or self._over or left[0].needs is None or not self._met(left[0].needs):
            return None
        return left[0]

    def _met(self, needs: str) -> bool:
        """Whether that stage has ended, and all before it; one that this run leaves out has."""
        upto = self._names[: self._places.get(needs, -1) + 1]
        return not any(self._at_work[each] or each in self._gates for each in upto)

    def _host(self, host: str) -> None:
        try:
            with self._room:
                while stage := self._begun(host):
                    if not self._work(host, stage):
                        self._failed.add(host)
                        break
                    self.done(host, stage)
        except Exception as fault:  # a defect; who waits for the end raises it
            self._faults.append(fault)
        finally:
            with self._news:
                self._busy.discard(host)
                self._news.notify_all()

    def _begun(self, host: str) -> StagePlan | None:
        with self._news:
            return self._next(host)
