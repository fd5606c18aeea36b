"""`provision check`."""

from __future__ import annotations

import click

from provisioner.cli.options import inventory_argument, inventory_path


@click.command()
@inventory_argument
@click.option("--limit", help="Only these hosts (an Ansible pattern), and the control planes.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
def command(inventory: str | None, limit: str | None, as_json: bool) -> None:
    """Say what would be in the way of INVENTORY's cluster: in its files, on its hosts, and between them.

    Between hosts packets are sent, of every kind and size that the cluster will need. Changes nothing. Exit codes: 0
    nothing is in the way, 1 something is, 3 the input is wrong, 4 hosts unreachable.
    """
    from provisioner.action.check import check
    from provisioner.action.load import Request
    from provisioner.report.choose import reporter

    with reporter(as_json) as report:
        check(Request(inventory_path(inventory), limit=limit), report.emit)
