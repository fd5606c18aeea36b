"""One run of a program: wall time, its own CPU time, its largest process."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    log = cwd / "output.log"
    with log.open("wb") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            argv, cwd=cwd, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    text = log.read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        raise BenchError(f"{' '.join(argv)} ended with {process.returncode}:\n{text[-3000:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, still, text)


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
