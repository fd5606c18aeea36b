"""The journal of a run on the controller: every event as a JSON line, kept under the user's state folder."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import platformdirs

from provisioner.engine.events import Emit, Event, HostChanging, Progress, RunStopped
from provisioner.errors import ProvisionError


def runs_directory() -> Path:
    """Where the journals of this user's runs are."""
    return platformdirs.user_state_path("provision") / "runs"


def as_line(event: Event) -> str:
    """The event as one JSON line; the same for the journal and for --json."""
    data: dict[str, Any] = {"event": type(event).__name__, **asdict(event)}
    data["time"] = round(event.time, 3)
    return json.dumps(data, separators=(",", ":"), sort_keys=False, default=str)


@contextmanager
def journal(run: str, emit: Emit) -> Iterator[Emit]:
    """`emit` that also writes to the run's journal; progress is left out. What the block raises is noted there, too."""
    folder = runs_directory()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / f"{run}.jsonl").open("ab", buffering=0) as stream:
        # For as long as the process lives: see `is_over`.
        fcntl.flock(stream, fcntl.LOCK_EX)

        def write(event: Event) -> None:
            stream.write(f"{as_line(event)}\n".encode())

        def both(event: Event) -> None:
            if not isinstance(event, Progress | HostChanging):
                write(event)
            emit(event)

        try:
            yield both
        except (Exception, KeyboardInterrupt) as fault:
            write(_stopped(run, fault))
            raise


def is_over(run: str) -> bool:
    """Whether `run` was one of this user's on this machine and its process has ended, however it did. False when that
    is not known."""
    try:
        with (runs_directory() / f"{run}.jsonl").open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _stopped(run: str, fault: BaseException) -> RunStopped:
    if isinstance(fault, ProvisionError):
        return RunStopped(run=run, reason=fault.reason, exit_code=fault.exit_code, unchanged=fault.unchanged)
    if isinstance(fault, KeyboardInterrupt):
        return RunStopped(run=run, reason="interrupted", exit_code=130)
    return RunStopped(run=run, reason=f"{type(fault).__name__}: {fault}", exit_code=1)
