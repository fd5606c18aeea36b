"""Questions on a terminal. Without a terminal the answer is no."""

from __future__ import annotations

import sys

import click

from provisioner.engine.danger import dangers
from provisioner.engine.plan import Plan
from provisioner.report.choose import Report


def confirm(plan: Plan, report: Report) -> bool:
    """True unless the plan does something that has to be agreed to; then that is shown and asked for."""
    reasons = dangers(plan)
    if not reasons:
        return True
    with report.pause():
        for reason in reasons:
            click.echo(f"  {reason}", err=True)
    return ask("This plan needs your consent. Go ahead?", report)


def ask(question: str, report: Report) -> bool:
    """A yes-or-no question."""
    if not sys.stdin.isatty():
        return False
    with report.pause():
        return click.confirm(question, default=False, err=True)
