"""`provision history`."""

from __future__ import annotations

from itertools import islice

import click

from provisioner.cli.options import inventory_argument, inventory_path


@click.command()
@inventory_argument
@click.option(
    "--run", "run", metavar="ID", help="One run and what it changed; the beginning of its id will do."
)
@click.option(
    "-n", "--number", type=click.IntRange(1), default=20, show_default=True, help="At most so many runs."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line a run (one value with --run).")
def command(inventory: str | None, run: str | None, number: int, as_json: bool) -> None:
    """The runs that changed hosts of INVENTORY, newest first: when, who, with what result.

    Read from the journals that this machine keeps of this user's runs; others' are with them. What was done to a host
    by whomever is in its own /var/lib/provision/journal. "unfinished" was killed, or still runs.
    """
    from provisioner.engine.history import find_run, records
    from provisioner.report.history import show_run, show_runs

    path = inventory_path(inventory)
    if run is not None:
        found, changes = find_run(path, run)
        show_run(found, changes, as_json=as_json)
        return
    show_runs(list(islice(records(path), number)), as_json=as_json)
