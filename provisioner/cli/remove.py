"""`provision remove`."""

from __future__ import annotations

import click

from provisioner.cli.options import request


@click.command()
@click.argument("inventory")
@click.argument("host")
@click.option("--dead", is_flag=True, help="It is gone for good: it is not asked for and not cleared.")
@click.option(
    "--drain-timeout",
    type=click.IntRange(1, 86400),
    metavar="SECONDS",
    default=300,
    show_default=True,
    help="How long its pods may take to leave.",
)
@click.option("--force", is_flag=True, help="Evict pods that no controller makes anew, too.")
@click.option("--yes", is_flag=True, help="Go ahead without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
def command(
    inventory: str, host: str, dead: bool, drain_timeout: int, force: bool, yes: bool, as_json: bool
) -> None:
    """Take HOST out of the cluster of INVENTORY, which still names it.

    Its pods are evicted as their disruption budgets allow, the others are made to do without it, its member leaves
    etcd if the rest keep a majority, and the host is cleared of what provision has put there. A run that was stopped
    goes on with the same command. Take HOST out of the inventory afterwards.
    """
    from provisioner.action.load import load
    from provisioner.action.remove import Removal, remove
    from provisioner.report.choose import reporter
    from provisioner.report.confirm import confirm

    loaded = load(request(inventory, None, None, "", ()))
    removal = Removal(host, dead, drain_timeout, force)
    with reporter(as_json) as report:
        code = remove(loaded, removal, report.emit, lambda reasons: yes or confirm(reasons, report))
    raise click.exceptions.Exit(code)
