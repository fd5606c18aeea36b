"""`provision migrate`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import click

from provisioner.cli.options import OneOf, request

NICENESS = 10
"""Its hosts may be on this machine, as a lab's are: pods that wait for CPU lose requests, this program nothing."""


@click.command()
@click.argument("inventory")
@click.option("--to", type=OneOf(("calico", "flannel", "cilium")), help="The plug-in that is to come.")
@click.option("--rollback", is_flag=True, help="Go back to the plug-in, and the settings, of before.")
@click.option(
    "--strategy",
    type=OneOf(("node-by-node", "all-at-once")),
    help="How pods move; without it node by node, where that can be.",
)
@click.option("--plan", "only_told", is_flag=True, help="Only say what would be done, and what it costs.")
@click.option("--yes", is_flag=True, help="Go ahead without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
def command(
    inventory: str,
    to: str | None,
    rollback: bool,
    strategy: str | None,
    only_told: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Change the pod network of the cluster of INVENTORY to another plug-in, or to other settings that a running
    cluster cannot take over by `apply`.

    What will stop, where and for how long, is told first, and asked for. A run that was stopped goes on with the same
    command; --rollback takes it back at any point, also after the end.

    Exit codes: 0 it is done, or there was nothing to do, 1 it failed, 2 `--plan` has told what would be done, 3 the
    input is wrong, 4 hosts unreachable, 5 locked by another run.
    """
    from provisioner.action.load import load
    from provisioner.action.migration.change import Wanted
    from provisioner.action.migration.run import migrate
    from provisioner.report.choose import reporter
    from provisioner.report.confirm import confirm

    if rollback == bool(to):
        raise click.UsageError("both are given: " * rollback + "say either --to PLUGIN or --rollback")
    wanted = Wanted(to or "", rollback, strategy or "", only_told)
    with _yielding(), reporter(as_json) as report:
        wish = replace(request(inventory, None, None, "", ()), of_others=True)
        loaded = load(wish, report.emit)
        code = migrate(loaded, wanted, report.emit, lambda reasons: yes or confirm(reasons, report))
    raise click.exceptions.Exit(code)


@contextmanager
def _yielding() -> Iterator[None]:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(before, NICENESS))
    try:
        yield
    finally:
        with suppress(PermissionError):  # who is not root stays behind, and ends soon
            os.setpriority(os.PRIO_PROCESS, 0, before)
