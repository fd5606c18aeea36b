"""The same work on many blobs at once: reading, hashing and writing leave other threads at work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import TypeVar

from provisioner.engine.events import Emit, Progress

Item = TypeVar("Item")

# Each has one chunk of 1 MiB in memory.
_MOST = 8
_SECONDS = 0.2


@dataclass
class Meter:
    """Counts bytes of all threads, and says so now and then. `stopped` is set when one of them failed."""

    task: str
    total: int
    emit: Emit
    done: int = 0
    stopped: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)
    _said: float = 0.0

    def add(self, count: int) -> None:
        """Raises InterruptedError when the work has ended, as that of another thread that failed."""
        if self.stopped.is_set():
            raise InterruptedError
        with self._lock:
            self.done += count
            now = time.monotonic()
            if now - self._said >= _SECONDS or self.done == self.total:
                self._said = now
                self.emit(Progress(task=self.task, done=self.done, total=self.total, unit="bytes"))


def in_parallel(items: Iterable[Item], work: Callable[[Item], object], meter: Meter) -> None:
    """Does `work` on each item. Raises what one of them raised first, which ends the others."""
    with ThreadPoolExecutor(min(_MOST, os.cpu_count() or 1)) as pool:
        try:
            futures = [pool.submit(work, item) for item in items]
            wait(futures, return_when=FIRST_EXCEPTION)
            # In the order of the items: of several that failed at once it is always the same.
            for future in futures:
                if future.done():
                    future.result()
        finally:
            meter.stopped.set()
            pool.shutdown(cancel_futures=True)
