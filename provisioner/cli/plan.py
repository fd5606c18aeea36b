"""`provision plan`."""

from __future__ import annotations

from pathlib import Path

import click

from provisioner.cli.options import inventory_argument, request, selection_options
from provisioner.errors import InputError, Problem


@click.command()
@inventory_argument
@selection_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Also write the plan to a file for `apply`."
)
@click.option("--explain", is_flag=True, help="Say what is changed in publishers' manifests, and why.")
def command(
    inventory: str | None,
    limit: str | None,
    tags: str,
    stages: tuple[str, ...],
    playbook: Path | None,
    as_json: bool,
    output: Path | None,
    explain: bool,
) -> None:
    """Show what apply would change, as unified diffs. Exit code 2 when there is anything."""
    from provisioner.action.plan import make_plan
    from provisioner.action.planfile import write_plan
    from provisioner.report.choose import reporter
    from provisioner.report.planned import show_plan

    if output is not None and (output.is_dir() or not output.absolute().parent.is_dir()):
        raise InputError([Problem(str(output), 0, 0, "the plan cannot be written there")])
    with reporter(as_json) as report:
        wanted = request(inventory, playbook, limit, tags, stages)
        plan = make_plan(wanted, report.emit, keep=output is not None, explain=explain)
        if output is not None:
            write_plan(plan, output)
        show_plan(plan, as_json=as_json)
    raise click.exceptions.Exit(2 if plan.count else 0)
