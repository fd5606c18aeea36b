"""`provision render`."""

from __future__ import annotations

from pathlib import Path

import click

from provisioner.cli.options import inventory_argument, request, selection_options
from provisioner.errors import InputError, Problem


@click.command()
@inventory_argument
@click.argument("component", required=False)
@selection_options
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("rendered"), show_default=True)
@click.option(
    "--facts", "facts_file", type=click.Path(path_type=Path), help="Facts from here: no host is reached."
)
@click.option("--save-facts", type=click.Path(path_type=Path), help="Write the facts that were gathered.")
@click.option("--explain", is_flag=True, help="Say what is changed in publishers' manifests, and why.")
def command(
    inventory: str | None,
    component: str | None,
    limit: str | None,
    tags: str,
    stages: tuple[str, ...],
    playbook: Path | None,
    as_json: bool,
    output: Path,
    facts_file: Path | None,
    save_facts: Path | None,
    explain: bool,
) -> None:
    """Write every file and manifest of COMPONENT (a stage's name or tag; default: all) below a folder, host by host."""
    from provisioner.action.render import render
    from provisioner.report.choose import reporter
    from provisioner.report.patched import show_patched

    if output.exists() and not output.is_dir():
        raise InputError([Problem(str(output), 0, 0, "is no folder to write to")])
    with reporter(as_json) as report:
        wanted = request(inventory, playbook, limit, tags, stages, component)
        patched = render(wanted, output, report.emit, facts_file=facts_file, save_facts=save_facts)
        if explain:
            show_patched(patched, as_json=as_json)
