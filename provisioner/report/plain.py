"""Events as plain lines on stderr, for logs and pipes: no colour, no cursor movement."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from provisioner.engine.events import Event, Progress
from provisioner.report.printable import printable
from provisioner.report.wording import lines_of

_SECONDS = 5.0
"""Progress of one piece of work shows at most this often."""


class PlainLines:
    """One event, one or more lines."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._shown: dict[tuple[str, str], float] = {}

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None:
        sys.stderr.flush()

    def emit(self, event: Event) -> None:
        if isinstance(event, Progress) and not self._due(event):
            return
        with self._lock:
            for line in lines_of(event):
                sys.stderr.write(printable(line.text) + "\n")
            sys.stderr.flush()

    @contextmanager
    def pause(self) -> Iterator[None]:
        yield

    def _due(self, event: Progress) -> bool:
        key, now = (event.task, event.subject), time.monotonic()
        last = self._shown.setdefault(key, now)
        if now - last < _SECONDS:
            return False
        self._shown[key] = now
        return True
