"""The runs on record, as a table or as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

from provisioner.engine.history import RecordedChange, RunRecord
from provisioner.report.tables import coloured, duration, table
from provisioner.report.wording import SIGNS, Line

_STYLES = {"ok": "", "failed": "bad", "interrupted": "warn", "refused": "dim", "unfinished": "warn"}


def show_runs(runs: Sequence[RunRecord], *, as_json: bool) -> None:
    """Prints the runs: one JSON line each, or a table."""
    if as_json:
        for run in runs:
            sys.stdout.write(json.dumps({"event": "Run", **asdict(run)}, separators=(",", ":")) + "\n")
        return
    _write(run_table(runs))


def show_run(run: RunRecord, changes: Sequence[RecordedChange], *, as_json: bool) -> None:
    """Prints one run with its changes."""
    if as_json:
        value = {"event": "Run", **asdict(run), "changed": [asdict(change) for change in changes]}
        sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
        return
    _write(run_lines(run, changes))


def run_table(runs: Sequence[RunRecord]) -> list[Line]:
    """One line a run."""
    if not runs:
        return [Line("no run with this inventory is on record on this machine")]
    rows = [("when", "run", "who", "command", "result", "changes", "time"), *map(_row, runs)]
    head, *lines = table(rows, right=(5, 6))
    return [
        Line(head, "dim"),
        *(Line(line, _STYLES[run.result]) for line, run in zip(lines, runs, strict=True)),
    ]


def run_lines(run: RunRecord, changes: Sequence[RecordedChange]) -> list[Line]:
    """The run's facts, then its changes stage by stage."""
    lines = [
        Line(f"run {run.run}: {run.command} {run.inventory} {run.options}".rstrip(), "head"),
        Line(f"{_when(run.began)}, {duration(run.seconds)}, by {run.who or 'somebody'}"),
        Line(f"{run.result}: {run.reason}" if run.reason else run.result, _STYLES[run.result]),
    ]
    stage = None
    for change in changes:
        if change.stage != stage:
            stage = change.stage
            lines.append(Line(stage, "head"))
        lines.append(_change(change))
    return lines if changes else [*lines, Line("it changed nothing")]


def _row(run: RunRecord) -> tuple[str, ...]:
    command = f"{run.command} {run.options}".rstrip()
    count, seconds = str(run.changes), duration(run.seconds)
    return (_when(run.began), run.run, run.who or "?", command, run.result, count, seconds)


def _change(change: RecordedChange) -> Line:
    sign, style = ("!", "bad") if change.failed else SIGNS.get(change.action, ("~", "change"))
    detail = f"  ({change.detail})" if change.detail else ""
    return Line(f"  {sign} {change.host}  {change.resource}{detail}", style)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def _write(lines: Sequence[Line]) -> None:
    for line in lines:
        sys.stdout.write(coloured(line) + "\n")
