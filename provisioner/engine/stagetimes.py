"""How long stages take: the seconds in which at least one host is at work on one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock


@dataclass
class _Time:
    hosts: int = 0
    since: float = 0.0
    total: float = 0.0


class StageTimes:
    """Of one run, by the stages' numbers: names may come again. Thread-safe."""

    def __init__(self) -> None:
        self._mutex = Lock()
        self._times: dict[int, _Time] = {}
        self._told = set[int]()

    def begin(self, stage: int) -> bool:
        """A host begins; whether it is the first one."""
        with self._mutex:
            first = stage not in self._times
            each = self._times.setdefault(stage, _Time())
            if not each.hosts:
                each.since = time.monotonic()
            each.hosts += 1
        return first

    def leave(self, stage: int) -> float:
        """A host has done its part; the stage's seconds up to now."""
        with self._mutex:
            each, now = self._times[stage], time.monotonic()
            each.hosts -= 1
            if not each.hosts:
                each.total += now - each.since
            return each.total + (now - each.since if each.hosts else 0.0)

    def end(self, stage: int) -> bool:
        """Whether it was begun, and nobody has been told yet that it has ended."""
        with self._mutex:
            if stage not in self._times or stage in self._told:
                return False
            self._told.add(stage)
            return True
