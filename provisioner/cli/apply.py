"""`provision apply`."""

from __future__ import annotations

from pathlib import Path

import click

from provisioner.action.plankind import is_plan_file
from provisioner.cli.options import inventory_argument, request, selection_options
from provisioner.engine.events import Emit, Event, Note
from provisioner.errors import InputError, Problem


@click.command()
@inventory_argument
@selection_options
@click.option("--yes", is_flag=True, help="Go ahead without asking, also when the plan deletes something.")
def command(
    inventory: str | None,
    limit: str | None,
    tags: str,
    stages: tuple[str, ...],
    playbook: Path | None,
    as_json: bool,
    yes: bool,
) -> None:
    """Bring the hosts to what INVENTORY (or a plan file) declares, and prove that pods talk."""
    from provisioner.action.start import start

    agreed = None
    if inventory is not None and is_plan_file(Path(inventory)):
        from provisioner.action.planfile import read_plan

        if limit is not None or tags or stages or playbook is not None:
            reason = "the plan says what is done; it cannot be limited further"
            raise InputError(
                [Problem(inventory, 0, 0, reason, "limit `provision plan`, or name the inventory")]
            )
        agreed = read_plan(Path(inventory))
        wanted = agreed.request
    else:
        wanted = request(inventory, playbook, limit, tags, stages)
    started = start(wanted, _notes(as_json))
    from provisioner.action.apply import apply
    from provisioner.report.choose import reporter
    from provisioner.report.confirm import confirm

    with reporter(as_json) as report:
        outcome = apply(
            started, report.emit, agreed=agreed, confirm=lambda reasons: yes or confirm(reasons, report)
        )
    raise click.exceptions.Exit(outcome.exit_code)


def _notes(as_json: bool) -> Emit:
    """Says at once what takes a while before the run has its report, which is imported while hosts answer."""

    def emit(event: Event) -> None:
        if isinstance(event, Note):
            from provisioner.report.choose import reporter

            with reporter(as_json) as report:
                report.emit(event)

    return emit
