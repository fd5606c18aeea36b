"""`provision repair`."""

from __future__ import annotations

import click

from provisioner.cli.options import inventory_argument, request


@click.command()
@inventory_argument
@click.option("--limit", help="Only these nodes (an Ansible pattern).")
@click.option("--only", metavar="FAULT,…", help="Only these of the faults above.")
@click.option("--look", is_flag=True, help="Tell what is wrong, and change nothing.")
@click.option("--yes", is_flag=True, help="Go ahead without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
def command(
    inventory: str | None, limit: str | None, only: str | None, look: bool, yes: bool, as_json: bool
) -> None:
    """Find faults of the pod networks of INVENTORY's nodes, and mend them.

    \b
    binaries   plug-ins that the runtime's configuration names are missing
    cni0       the bridge has another address than the node's pod CIDR asks for
    sandboxes  the runtime cannot take the networks of pods that ended away
    leases     addresses are given away to sandboxes that are gone
    condition  NetworkUnavailable is True, though the network's pod is Ready

    Each is told with what it is known by, what would be done and what that costs, and asked for. Nodes are mended one
    by one and read again; nothing is done to one without a fault. Exit codes: 0 nothing is wrong, or all is mended, 1
    something is still wrong, 2 `--look` found something, 3 the input is wrong, 4 hosts unreachable, 5 locked by another
    run.
    """
    from provisioner.action.load import load
    from provisioner.action.repair import Repair, chosen, repair
    from provisioner.report.choose import reporter
    from provisioner.report.confirm import confirm

    wanted = Repair(chosen(only), look)
    loaded = load(request(inventory, None, limit, "", ()))
    with reporter(as_json) as report:
        code = repair(
            loaded,
            wanted,
            report.emit,
            lambda reasons: yes or confirm(reasons, report, "These faults can be mended."),
        )
    raise click.exceptions.Exit(code)
