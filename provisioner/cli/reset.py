"""`provision reset`."""

from __future__ import annotations

import click

from provisioner.cli.options import request


@click.command()
@click.argument("inventory")
@click.option("--keep", type=click.Choice(("registry",)), multiple=True, help="Leave that as it is.")
@click.option("--yes", is_flag=True, help="Go ahead without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
def command(inventory: str, keep: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Take the whole cluster of INVENTORY down to clean hosts.

    What will be lost is told first, and asked for. Each host is cleared of what provision and the cluster have put
    there; packages stay. A run that was stopped goes on with the same command; `provision apply` makes a new cluster.
    """
    from provisioner.action.load import load
    from provisioner.action.reset import Reset, reset
    from provisioner.report.choose import reporter
    from provisioner.report.confirm import confirm

    loaded = load(request(inventory, None, None, "", ()))
    with reporter(as_json) as report:
        code = reset(
            loaded, Reset("registry" in keep), report.emit, lambda reasons: yes or confirm(reasons, report)
        )
    raise click.exceptions.Exit(code)
