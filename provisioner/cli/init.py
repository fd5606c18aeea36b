"""`provision init`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write it to this file, which must not exist."
)
@click.option("--name", default="cluster", show_default=True, help="The cluster's name.")
@click.option("--control-plane", "planes", multiple=True, metavar="[NAME=]ADDRESS,…", help="May be repeated.")
@click.option("--worker", "workers", multiple=True, metavar="[NAME=]ADDRESS,…", help="May be repeated.")
@click.option(
    "--registry", metavar="[NAME=]ADDRESS", default="", help="The host that gives the nodes their images."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value: path and text.")
def command(
    output: Path | None,
    name: str,
    planes: tuple[str, ...],
    workers: tuple[str, ...],
    registry: str,
    as_json: bool,
) -> None:
    """Write an inventory to begin with: every key with a line that says what it is for.

    It is whole but for the addresses of hosts that are not given here: those are from 192.0.2.0/24, which is
    nobody's. Without -o it is printed.
    """
    from provisioner.action.starter import machines, starter, write_starter
    from provisioner.report.written import show_text, show_written

    chosen = machines("registry", [registry])
    if len(chosen) > 1:
        raise click.BadParameter("one host is used", param_hint="--registry")
    text = starter(name, machines("cp", planes), machines("worker", workers), chosen[0])
    if output is None:
        show_text(text, as_json=as_json)
        return
    write_starter(text, output)
    show_written(output, f"provision trust {output}", as_json=as_json)
