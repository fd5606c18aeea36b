"""`provision verify`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from provisioner.cli.options import inventory_argument, request, selection_options


@click.command()
@inventory_argument
@selection_options
@click.option("--deep", is_flag=True, help="Hash large files, too, instead of trusting their stat.")
def command(
    inventory: str | None,
    limit: str | None,
    tags: str,
    stages: tuple[str, ...],
    playbook: Path | None,
    as_json: bool,
    deep: bool,
) -> None:
    """Read everything again, name what differs, and run the checks. Changes nothing. Exit code 1 on any drift."""
    from provisioner.action.start import start

    started = start(replace(request(inventory, playbook, limit, tags, stages), deep=deep))
    from provisioner.action.apply import verify
    from provisioner.report.choose import reporter
    from provisioner.report.planned import show_plan

    with reporter(as_json) as report:
        plan, outcome = verify(started, report.emit)
        if plan.count:
            show_plan(plan, as_json=as_json)
    raise click.exceptions.Exit(1 if plan.count else outcome.exit_code)
