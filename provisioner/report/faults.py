"""Errors that end a command: what, where, and what mends it."""

from __future__ import annotations

import json as json_format
import sys

import click

from provisioner.errors import DeclinedError, InputError, Problem, ProvisionError
from provisioner.report.printable import printable


def tell(error: ProvisionError, *, json: bool = False) -> None:
    """Prints the error on stderr (one JSON line on stdout with `json`)."""
    if json:
        problems = [vars(problem) for problem in error.problems] if isinstance(error, InputError) else None
        _tell_json(
            error.exit_code, error.reason, error.hint, problems, error.resume, unchanged=error.unchanged
        )
        return
    if isinstance(error, InputError):
        count = len(error.problems)
        for problem in error.problems:
            text = printable(str(problem)).replace("\n", "\\n")  # one line each, whatever a value holds
            sys.stderr.write(f"{text}\n")
        if count > 1:
            sys.stderr.write(f"{count} problems\n")
    elif isinstance(error, DeclinedError):
        sys.stderr.write(f"{error.reason}\n")
    else:
        sys.stderr.write(f"error: {printable(error.reason)}\n")
    for hint in error.hint.splitlines():
        sys.stderr.write(f"hint: {printable(hint)}\n")
    if error.unchanged and not isinstance(error, InputError):
        then = f"; then go on with: {printable(error.resume)}" if error.resume else ""
        sys.stderr.write(f"nothing was changed{then}\n")


def tell_misuse(error: click.ClickException, *, json: bool = False) -> None:
    """Prints what is wrong with the command line itself, in the same shape."""
    reason = error.format_message()
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and not json:
        sys.stderr.write(f"{reason}\n")  # the help itself
        return
    if not json:
        usage = f"{error.ctx.get_usage()}\n" if isinstance(error, click.UsageError) and error.ctx else ""
        sys.stderr.write(f"{printable(usage)}error: {printable(reason)}\n")
    hint = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"`{error.ctx.command_path} --help` tells more"
    if json:
        _tell_json(InputError.exit_code, reason, hint, [vars(Problem("command line", 0, 0, reason, hint))])
    elif hint:
        sys.stderr.write(f"hint: {hint}\n")


def tell_interrupted(text: str, exit_code: int, *, json: bool = False) -> None:
    """Prints that the run was broken off."""
    if json:
        _tell_json(exit_code, text, "", None)
    else:
        sys.stderr.write(f"\n{text}\n")


def _tell_json(
    exit_code: int,
    reason: str,
    hint: str,
    problems: list[dict[str, object]] | None,
    resume: str = "",
    *,
    unchanged: bool = False,
) -> None:
    data: dict[str, object] = {"event": "Error", "exit_code": exit_code, "reason": reason, "hint": hint}
    if unchanged:
        data["unchanged"] = True
    if resume:
        data["resume"] = resume
    if problems is not None:
        data["problems"] = problems
    sys.stdout.write(json_format.dumps(data, separators=(",", ":")) + "\n")
