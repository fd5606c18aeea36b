"""`provision bench`."""

from __future__ import annotations

from pathlib import Path

import click

from provisioner.cli.options import inventory_argument, request


@click.group("bench")
def command() -> None:
    """Measure what a cluster gives."""


@command.command("net")
@inventory_argument
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
@click.option(
    "--seconds", type=click.IntRange(1, 600), default=10, show_default=True, help="How long for each number."
)
@click.option(
    "--before",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What an earlier run with --json printed: also says what has changed since.",
)
def net(inventory: str | None, as_json: bool, seconds: int, before: Path | None) -> None:
    """Measure the pod network: on one node, between two, and through a service.

    iperf3 measures what one TCP stream carries, sockperf round trips, in pods that are removed again: two nodes are
    busy meanwhile. Nothing is kept on hosts. Takes the lock of a run: no apply at the same time.
    """
    from provisioner.action.load import load
    from provisioner.action.netbench import measure, read_before
    from provisioner.report.choose import reporter

    earlier = read_before(before) if before else ()
    loaded = load(request(inventory, None, None, "", ()))
    with reporter(as_json) as report:
        measure(loaded, report.emit, seconds=seconds, before=earlier)


@command.command("exchange")
@inventory_argument
@click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines.")
@click.option("--seconds", type=click.IntRange(1, 3600), default=30, show_default=True, help="How long.")
def exchange(inventory: str | None, as_json: bool, seconds: int) -> None:
    """Measure for how long pods cannot reach each other.

    On each node a pod, behind a service of its own, asks those of all other nodes ten times a second, each time by a
    new connection; whatever else is done to the cluster or its network meanwhile shows as failed requests and as the
    longest time without an answer. Then all of it is removed. Takes the lock of a run: no apply at the same time.
    """
    from provisioner.action.exchange import measure
    from provisioner.action.load import load
    from provisioner.report.choose import reporter

    loaded = load(request(inventory, None, None, "", ()))
    with reporter(as_json) as report:
        measure(loaded, report.emit, seconds=seconds)
