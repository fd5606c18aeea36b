"""Running one of the machine's own commands and telling what it said when it failed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence

from provisioner.errors import ProvisionError

_SHOWN_LINES = 8


def run(argv: Sequence[str], *, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    """The command's stdout.

    Raises ProvisionError with the last lines of its stderr when it exits non-zero.
    """
    done = subprocess.run(
        argv, input=stdin, env=env, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        raise failure(argv, done.returncode, done.stderr or done.stdout)
    return done.stdout


def succeeds(argv: Sequence[str]) -> bool:
    """Runs the command, drops its output, and says whether it exited with zero."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0


def failure(argv: Sequence[str], status: int, output: str, hint: str = "") -> ProvisionError:
    """The error for a command that exited with `status`."""
    shown = "\n".join(output.strip().splitlines()[-_SHOWN_LINES:])
    return ProvisionError(
        f"{' '.join(argv)[:200]}: exit status {status}" + (f"\n{shown}" if shown else ""), hint
    )
