"""`provision status`."""

from __future__ import annotations

import click

from provisioner.cli.options import inventory_argument, inventory_path


@click.command()
@inventory_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value.")
def command(inventory: str | None, as_json: bool) -> None:
    """Show at one glance how the cluster of INVENTORY is.

    Versions, nodes, the control plane's parts and their health, services, the number of changes that apply would make
    on each host, the certificate that ends first on each, the cluster's identity, the last run. Changes nothing.

    Exit codes: 0 healthy, 1 not, 4 some host was not reached. Drift alone does not make a cluster unhealthy: `plan` and
    `verify` have exit codes for that.
    """
    from provisioner.action.load import Request
    from provisioner.action.status import read_status
    from provisioner.report.status import show_status

    health = read_status(Request(inventory_path(inventory)))
    show_status(health, as_json=as_json)
    raise click.exceptions.Exit(health.exit_code)
