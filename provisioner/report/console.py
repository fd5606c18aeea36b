"""The live console: finished lines scroll by, beneath them what each host is doing now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import rich.console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from provisioner.engine.events import (
    Changed,
    Event,
    Failed,
    FaultBegun,
    FaultEnded,
    GatePassed,
    GateStarted,
    HostChanging,
    Progress,
    RunEnded,
    RunStarted,
    StageEnded,
    Step,
)
from provisioner.report.printable import printable
from provisioner.report.wording import Line, lines_of, size

_STYLES = {
    "good": "green",
    "change": "yellow",
    "delete": "red",
    "bad": "bold red",
    "dim": "dim",
    "head": "bold",
    "warn": "magenta",
}


class Console:
    """rich on stderr; honours NO_COLOR."""

    def __init__(self) -> None:
        self._console = rich.console.Console(stderr=True, highlight=False)
        self._lock = Lock()
        self._doing: dict[str, tuple[str, float]] = {}
        self._live = Live(
            console=self._console, get_renderable=self._status, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Console:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def emit(self, event: Event) -> None:
        with self._lock:
            self._follow(event)
        if not isinstance(event, Progress):
            for line in lines_of(event):
                self._console.print(styled(line))

    @contextmanager
    def pause(self) -> Iterator[None]:
        self._live.stop()
        yield
        self._live.start()

    def _follow(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, GateStarted):
            self._doing[f"gate {event.gate}"] = ("checking", now)
        elif isinstance(event, HostChanging):
            self._doing[event.host] = (f"{event.stage}: {event.resource}", now)
        elif isinstance(event, FaultBegun):
            self._doing[event.host] = (event.fault, now)
        elif isinstance(event, Progress):
            name = f"{event.task} {event.subject}"
            self._doing[name] = (_measure(event), self._doing.get(name, ("", now))[1])
            if event.total is not None and event.done >= event.total:
                self._doing.pop(name, None)
        elif isinstance(event, Step):
            for name in [name for name in self._doing if name.split(" ")[0] == event.task]:
                self._doing.pop(name)
        elif isinstance(event, Changed | Failed | FaultEnded):
            self._doing.pop(event.host, None)
        elif isinstance(event, StageEnded):
            # Others of its stages are not over: hosts work ahead of each other.
            told = f"{event.stage}: "
            self._doing = {name: each for name, each in self._doing.items() if not each[0].startswith(told)}
        elif isinstance(event, GatePassed):
            self._doing.pop(f"gate {event.gate}", None)
        elif isinstance(event, RunStarted | RunEnded):
            self._doing.clear()

    def _status(self) -> Table:
        table = Table.grid(padding=(0, 2))
        now = time.monotonic()
        with self._lock:
            rows = list(self._doing.items())[-12:]
        for name, (doing, since) in rows:
            table.add_row(
                Text(printable(name), "cyan"), Text(printable(doing)), Text(f"{now - since:.0f} s", "dim")
            )
        return table


def styled(line: Line) -> Text:
    """A line with its colour."""
    return Text(printable(line.text), _STYLES.get(line.style, ""))


def _measure(event: Progress) -> str:
    many = size if event.unit == "bytes" else str
    if event.total:
        return f"{many(event.done)} of {many(event.total)}"
    return many(event.done) if event.done else "…"
