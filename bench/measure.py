"""One run of a program: wall time, its own CPU time, its largest process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LAUNCH = Path(__file__).with_name("launch.py")
_QUIET = 0.9
"""Share of idle time from which the machine counts as quiet."""


class BenchError(Exception):
    """A program failed or did what it should not."""


@dataclass(frozen=True)
class Run:
    """`seconds` by the wall; `cpu` in seconds, user and system, of the program and its children, not of the hosts;
    `peak_mb` in MiB of the largest of its processes; `quiet`: nothing else ran just before."""

    seconds: float
    cpu: float
    peak_mb: float
    quiet: bool
    output: str


def run(argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Run:
    """Runs `argv` to its end. Raises BenchError with its output when it fails."""
    still = quiet()
    log, report = cwd / "output.log", cwd / "usage.json"
    with log.open("wb") as output:
        subprocess.run(
            [sys.executable, "-IS", str(_LAUNCH), str(report), *argv],
            cwd=cwd,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=True,
        )
    used = json.loads(report.read_text(encoding="ascii"))
    text = log.read_text(encoding="utf-8", errors="replace")
    if used["status"]:
        raise BenchError(f"{' '.join(argv)} ended with {used['status']}:\n{text[-3000:]}")
    return Run(used["seconds"], used["cpu"], used["peak_mb"], still, text)


def quiet(patience: float = 15.0) -> bool:
    """Waits, at most `patience` seconds, until the machine has nothing else to do; whether that came."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        before = _ticks()
        time.sleep(0.3)
        after = _ticks()
        if after[1] - before[1] >= _QUIET * (after[0] - before[0]):
            return True
    return False


def _ticks() -> tuple[int, int]:
    """(all, idle) so far, of all processors."""
    numbers = [
        int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    ]
    return sum(numbers), numbers[3] + numbers[4]
