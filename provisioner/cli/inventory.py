"""`provision inventory`."""

from __future__ import annotations

import click

from provisioner.cli.options import inventory_argument, inventory_path
from provisioner.errors import InputError, Problem


@click.command()
@inventory_argument
@click.option("--list", "as_list", is_flag=True, help="All hosts, groups and variables, as JSON.")
@click.option("--host", metavar="NAME", help="The variables of one host, as JSON.")
@click.option("--graph", is_flag=True, help="The tree of groups and hosts (when nothing else is asked for).")
@click.option("--json", "as_json", is_flag=True, help="The same as --list where nothing else is asked for.")
def command(inventory: str | None, as_list: bool, host: str | None, graph: bool, as_json: bool) -> None:
    """Show what is understood of INVENTORY: groups, hosts, and the variables that win for each host.

    The JSON is that of ansible-inventory, so that what reads the one reads the other; group_vars and host_vars are
    merged, templates are shown as they are written. Secrets are masked, also those in plain text under a telling name
    (…password, …token). No host is reached.
    """
    from provisioner.action.listing import listing, variables_of
    from provisioner.inventory.model import load_inventory
    from provisioner.report.listing import show_graph, show_json

    if sum((as_list, host is not None, graph)) > 1:
        raise InputError([Problem("inventory", 0, 0, "--list, --host and --graph exclude each other")])
    if graph and as_json:
        raise InputError([Problem("--graph", 0, 0, "a tree is for people", "with --json use --list")])
    loaded = load_inventory(inventory_path(inventory))
    if host is not None:
        show_json(variables_of(loaded, host))
    elif as_list or as_json:
        show_json(listing(loaded))
    else:
        show_graph(loaded)
