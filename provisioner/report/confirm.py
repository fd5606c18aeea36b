"""Questions on a terminal. Without a terminal the answer is no."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from provisioner.errors import DeclinedError
from provisioner.report.choose import Report
from provisioner.report.printable import printable


def confirm(reasons: Sequence[str], report: Report, what: str = "This plan needs your consent.") -> bool:
    """Shows why consent is needed and asks for it: False where nobody can be asked. Raises DeclinedError at a no."""
    if not sys.stdin.isatty():
        return False  # the refusal names the reasons
    with report.pause():
        for reason in reasons:
            click.echo(f"  {printable(reason)}", err=True)
    if not ask(f"{what} Go ahead?", report):
        raise DeclinedError("not confirmed")
    return True


def ask(question: str, report: Report) -> bool:
    """A yes-or-no question."""
    if not sys.stdin.isatty():
        return False
    with report.pause():
        try:
            return click.confirm(printable(question), default=False, err=True)
        except click.Abort as abort:
            if isinstance(abort.__context__, EOFError):
                return False
            raise KeyboardInterrupt from None  # the journal tells who was interrupted from what failed
