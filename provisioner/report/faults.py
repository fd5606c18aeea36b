"""Errors that end a command: what, where, and what mends it."""

from __future__ import annotations

import json as json_format
import sys

from provisioner.errors import InputError, ProvisionError


def tell(error: ProvisionError, *, json: bool = False) -> None:
    """Prints the error on stderr (one JSON line on stdout with `json`)."""
    if json:
        data: dict[str, object] = {"event": "Error", "exit_code": error.exit_code, "reason": error.reason}
        data["hint"] = error.hint
        if isinstance(error, InputError):
            data["problems"] = [vars(problem) for problem in error.problems]
        sys.stdout.write(json_format.dumps(data, separators=(",", ":")) + "\n")
        return
    if isinstance(error, InputError):
        count = len(error.problems)
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        if count > 1:
            sys.stderr.write(f"{count} problems; no host was reached\n")
    else:
        sys.stderr.write(f"error: {error.reason}\n")
    if error.hint:
        sys.stderr.write(f"hint: {error.hint}\n")
