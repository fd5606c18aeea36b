"""Questions on a terminal. Without a terminal the answer is no."""

from __future__ import annotations

import sys

import click

from provisioner.engine.plan import Plan
from provisioner.report.choose import Report
from provisioner.report.planned import plan_lines


def confirm(plan: Plan, report: Report) -> bool:
    """True unless the plan deletes something that people would miss; then it is shown and asked for."""
    if not any(dangerous(change.action, change.resource.kind) for _, _, change in plan.changes()):
        return True
    with report.pause():
        for line in plan_lines(plan):
            click.echo(line.text, err=True)
    return ask("The plan deletes something. Go ahead?", report)


def dangerous(action: str, kind: str) -> bool:
    """A delete, but of what is meant to be away after every run (bootstrap files)."""
    return action == "delete" and kind not in {"absent_paths"}


def ask(question: str, report: Report) -> bool:
    """A yes-or-no question."""
    if not sys.stdin.isatty():
        return False
    with report.pause():
        return click.confirm(question, default=False, err=True)
