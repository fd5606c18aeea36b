"""The journal of a run on the controller: every event as a JSON line, kept under the user's state folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import platformdirs

from provisioner.engine.events import Emit, Event, HostChanging, Progress


def runs_directory() -> Path:
    """Where the journals of this user's runs are."""
    return platformdirs.user_state_path("provision") / "runs"


def as_line(event: Event) -> str:
    """The event as one JSON line; the same for the journal and for --json."""
    data: dict[str, Any] = {"event": type(event).__name__, **asdict(event)}
    data["time"] = round(event.time, 3)
    return json.dumps(data, separators=(",", ":"), sort_keys=False, default=str)


def journal(run: str, emit: Emit) -> Emit:
    """`emit` that also writes to the run's journal; progress is left out."""
    folder = runs_directory()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{run}.jsonl"

    def both(event: Event) -> None:
        if not isinstance(event, Progress | HostChanging):
            with path.open("a", encoding="utf-8") as stream:
                stream.write(as_line(event) + "\n")
        emit(event)

    return both
