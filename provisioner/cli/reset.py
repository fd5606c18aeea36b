"""`provision reset`."""

from __future__ import annotations

import click

from provisioner.cli.options import did_you_mean, request

_KEPT = ("registry", "bundle")


def _parts(_context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> frozenset[str]:
    """Those that were named, each alone or behind commas."""
    named = [part.strip() for value in values for part in value.split(",")]
    for each in named:
        if each not in _KEPT:
            near = did_you_mean(each, _KEPT)
            raise click.BadParameter(f"'{each}' is none of {', '.join(_KEPT)}.{near}", param=parameter)
    return frozenset(named)


@click.command()
@click.argument("inventory")
@click.option(
    "--keep",
    multiple=True,
    callback=_parts,
    metavar="PART[,PART]",
    help="Leave that: 'registry' runs on with its images; 'bundle' are the programs, images and packages that hosts"
    " have, so that the next apply sends little.",
)
@click.option(
    "--packages", is_flag=True, help="Remove packages, too, that provision installed and nothing else needs."
)
@click.option("--yes", is_flag=True, help="Go ahead without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
def command(inventory: str, keep: frozenset[str], packages: bool, yes: bool, as_json: bool) -> None:
    """Take the whole cluster of INVENTORY down to clean hosts.

    What will be lost is told first, and asked for. Each host is cleared of what provision and the cluster have put
    there, looked at again, and what stays there is told. All hosts have to answer. A run that was stopped goes on with
    the same command; `provision apply` makes a new cluster.

    Exit codes: 0 it is done, or there was nothing to do, 1 it failed, or nobody agreed to it, 3 the input is wrong, 4
    hosts unreachable, 5 locked by another run.
    """
    if packages and "bundle" in keep:
        raise click.UsageError("--keep bundle keeps packages: --packages cannot take them away")
    from provisioner.action.keeping import Keep
    from provisioner.action.load import load
    from provisioner.action.reset import Reset, reset
    from provisioner.report.choose import reporter
    from provisioner.report.confirm import confirm

    loaded = load(request(inventory, None, None, "", ()))
    wanted = Reset(Keep("registry" in keep, "bundle" in keep), packages)
    with reporter(as_json) as report:
        code = reset(loaded, wanted, report.emit, lambda reasons: yes or confirm(reasons, report))
    raise click.exceptions.Exit(code)
