"""`provision trust`."""

from __future__ import annotations

from pathlib import Path

import click

from provisioner.cli.options import inventory_argument, inventory_path


@click.command()
@inventory_argument
@click.option("--limit", help="Only these hosts (an Ansible pattern).")
@click.option("--yes", is_flag=True, help="Enrol without asking.")
@click.option("--known-hosts", type=click.Path(path_type=Path), help="Default: known_hosts beside INVENTORY.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
def command(
    inventory: str | None, limit: str | None, yes: bool, known_hosts: Path | None, as_json: bool
) -> None:
    """Show the hosts' keys with their fingerprints and remember them."""
    from provisioner.action.trust import trust
    from provisioner.report.choose import reporter
    from provisioner.report.confirm import ask

    with reporter(as_json) as report:
        trust(
            inventory_path(inventory), limit, known_hosts, report.emit, lambda text: yes or ask(text, report)
        )
