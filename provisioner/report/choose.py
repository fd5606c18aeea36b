"""Which rendering of the events: live on a terminal, plain lines elsewhere, JSON lines when asked for."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from typing import Protocol

from provisioner.engine.events import Event


class Report(Protocol):
    """Takes events; `pause` clears the way for a question."""

    def emit(self, event: Event) -> None: ...

    def pause(self) -> AbstractContextManager[None]: ...


class Reporter(Report, AbstractContextManager["Reporter"], Protocol):
    """A report that is open while its `with` block runs."""


def reporter(as_json: bool) -> Reporter:
    """The rendering that fits: JSON lines, a live console, or plain lines."""
    if as_json:
        from provisioner.report.jsonl import JsonLines

        return JsonLines()
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from provisioner.report.console import Console

        return Console()
    from provisioner.report.plain import PlainLines

    return PlainLines()
