"""`provision exec`."""

from __future__ import annotations

import click

from provisioner.cli.options import inventory_path


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("inventory")
@click.argument("pattern")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line a host.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, 86400, min_open=True),
    default=300.0,
    show_default=True,
    help="Seconds for each host.",
)
def command(inventory: str, pattern: str, words: tuple[str, ...], as_json: bool, timeout: float) -> None:
    """Run a command on the hosts of PATTERN: provision exec INVENTORY PATTERN -- COMMAND.

    A single word is a line for the hosts' shell: -- 'ls /etc | wc -l'. Several are one command, and each arrives as
    one word there, whatever is in it: no shell expands it (ssh, unlike this, joins them to a line).
    """
    from provisioner.action.execute import execute
    from provisioner.report.answers import show_answer

    status = execute(
        inventory_path(inventory), pattern, words, timeout, lambda answer: show_answer(answer, as_json)
    )
    raise click.exceptions.Exit(status)
