"""`provision verify`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from provisioner.cli.options import inventory_argument, request, selection_options


@click.command()
@inventory_argument
@selection_options
@click.option("--failover", is_flag=True, help="Then break load balancers, and count what clients miss.")
@click.option("--yes", is_flag=True, help="Break them without asking.")
@click.option("--deep", is_flag=True, help="Hash large files, too, instead of trusting their stat.")
def command(
    inventory: str | None,
    limit: str | None,
    tags: str,
    stages: tuple[str, ...],
    playbook: Path | None,
    as_json: bool,
    deep: bool,
    failover: bool,
    yes: bool,
) -> None:
    """Read everything again, name what differs, and run the checks. Changes nothing. Exit code 1 on any drift.

    With --failover load balancers are broken then, one way after the other, while a client counts what it misses: exit
    code 1, too, when that is more than it shall be. Each fault mends itself, whatever becomes of this command.
    """
    from provisioner.action.start import start

    started = start(replace(request(inventory, playbook, limit, tags, stages), deep=deep))
    from provisioner.action.apply import verify
    from provisioner.report.choose import reporter
    from provisioner.report.confirm import confirm
    from provisioner.report.planned import show_plan

    with reporter(as_json) as report:
        plan, outcome = verify(
            started,
            report.emit,
            failover=failover,
            confirm=lambda reasons: yes or confirm(reasons, report, "This breaks things, for a moment."),
        )
        if plan.count:
            show_plan(plan, as_json=as_json)
    raise click.exceptions.Exit(1 if plan.count else outcome.exit_code)
