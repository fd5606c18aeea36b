"""Events as JSON lines on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from provisioner.engine.events import Event
from provisioner.engine.journal import as_line


class JsonLines:
    """One event, one line; whole lines only."""

    def __init__(self) -> None:
        self._lock = Lock()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def emit(self, event: Event) -> None:
        with self._lock:
            sys.stdout.write(as_line(event) + "\n")
            sys.stdout.flush()

    @contextmanager
    def pause(self) -> Iterator[None]:
        yield
