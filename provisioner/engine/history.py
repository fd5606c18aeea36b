"""The runs on record: journals read back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provisioner.engine.journal import runs_directory
from provisioner.errors import InputError, Problem
from provisioner.inventory.words import nearest


@dataclass(frozen=True)
class RunRecord:
    """One run. `began` is seconds since the epoch; `seconds` its length, for one that did not end as far as is known.

    `result` is "ok", "failed", "interrupted", "refused" (given up before its first change: another run's lock, a host
    that is not fit, no consent) or "unfinished" (it was killed, or still runs); `reason` says why.
    """

    run: str
    command: str
    options: str
    who: str
    inventory: str
    hosts: tuple[str, ...]
    began: float
    seconds: float
    result: str
    reason: str
    changes: int


@dataclass(frozen=True)
class RecordedChange:
    """One change that a run made, or with `failed` the one at which it failed. `action` as in events.Changed."""

    stage: str
    host: str
    resource: str
    action: str
    detail: str
    failed: bool = False


def records(inventory: Path, folder: Path | None = None) -> Iterator[RunRecord]:
    """The runs of this user on this machine with `inventory`, newest first. Journals that are damaged are left out."""
    wanted = str(inventory.resolve())
    for path in _journals(folder):
        if _inventory_of(path) == wanted and (record := _record(path)) is not None:
            yield record


def find_run(
    inventory: Path, run: str, folder: Path | None = None
) -> tuple[RunRecord, tuple[RecordedChange, ...]]:
    """The run with `inventory` that has this id, or alone begins so, and what it changed. Raises InputError."""
    wanted = str(inventory.resolve())
    paths = {path.stem: path for path in _journals(folder) if _inventory_of(path) == wanted}
    found = [paths[run]] if run in paths else [path for name, path in paths.items() if name.startswith(run)]
    if len(found) != 1:
        near = None if found else nearest(run, paths)
        hint = f"did you mean '{near}'?" if near else f"see `provision history {inventory}`"
        reason = f"{len(found)} runs begin with '{run}'" if found else f"no run '{run}' is on record"
        raise InputError([Problem("--run", 0, 0, reason, hint)])
    record = _record(found[0])
    if record is None:
        raise InputError([Problem(str(found[0]), 0, 0, "the journal is damaged")])
    return record, tuple(_changes(_events(found[0])))


def _journals(folder: Path | None) -> list[Path]:
    """Newest first: a run's id begins with its time."""
    return sorted((folder or runs_directory()).glob("*.jsonl"), reverse=True)


def _inventory_of(path: Path) -> str | None:
    """Read from the first line alone: there may be thousands of journals."""
    with path.open("rb") as stream:
        line = stream.readline()
    try:
        head = json.loads(line)
        return _absolute(head) if isinstance(head, dict) else None
    except (ValueError, RecursionError):
        return None


def _absolute(head: Mapping[str, Any]) -> str | None:
    """Journals of earlier versions have only the path as it was typed."""
    written = head.get("path") or head.get("inventory")
    return str(Path(written).resolve()) if isinstance(written, str) else None


def _events(path: Path) -> list[dict[str, Any]]:
    """The events; a line that was cut off is left out."""
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def _record(path: Path) -> RunRecord | None:
    """None for a damaged journal."""
    events = _events(path)
    if not events or events[0].get("event") != "RunStarted":
        return None
    try:
        return _told(path, events)
    except (ValueError, TypeError, OverflowError):
        return None


def _told(path: Path, events: list[dict[str, Any]]) -> RunRecord:
    head, last = events[0], events[-1]
    result, reason = _result(events)
    ended = last.get("seconds") if last.get("event") == "RunEnded" else None
    return RunRecord(
        run=str(head.get("run", path.stem)),
        command=str(head.get("command", "")),
        options=str(head.get("options", "")),
        who=str(head.get("who", "")),
        inventory=_absolute(head) or "",
        hosts=tuple(map(str, head.get("hosts", ()))),
        began=_seconds(head.get("time", 0)),
        seconds=_seconds(ended if ended is not None else last.get("time", 0) - head.get("time", 0)),
        result=result,
        reason=reason,
        changes=sum(1 for event in events if event.get("event") == "Changed"),
    )


def _seconds(value: Any) -> float:
    """Of this era. Raises ValueError, TypeError or OverflowError for anything else."""
    if not abs(float(value)) < _ERA:
        raise ValueError
    return float(value)


_ERA = 100_000_000_000
_UNCHANGED = (3, 4, 5)
"""Exit codes of runs that journals of earlier versions have stopped before their first change."""


def _result(events: list[dict[str, Any]]) -> tuple[str, str]:
    last = events[-1]
    if last.get("event") == "RunStopped":
        reason = str(last.get("reason", ""))
        if last.get("exit_code") == 130:
            return "interrupted", reason
        unchanged = last.get("unchanged", last.get("exit_code") in _UNCHANGED)
        return "refused" if unchanged else "failed", reason
    if last.get("event") != "RunEnded":
        return "unfinished", ""
    if last.get("ok"):
        return "ok", ""
    failures = [event for event in events if event.get("event") == "Failed"]
    first = failures[0] if failures else {}
    return "failed", ": ".join(str(first[key]) for key in ("host", "resource", "reason") if first.get(key))


def _changes(events: list[dict[str, Any]]) -> Iterator[RecordedChange]:
    for event in events:
        if event.get("event") in ("Changed", "Failed"):
            failed = event["event"] == "Failed"
            yield RecordedChange(
                stage=str(event.get("stage", "")),
                host=str(event.get("host", "")),
                resource=str(event.get("resource", "")),
                action=str(event.get("action", "")),
                detail=str(event.get("reason" if failed else "detail", "")),
                failed=failed,
            )
