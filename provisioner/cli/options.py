"""Options and arguments that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from provisioner.action.plankind import is_plan_file
from provisioner.errors import InputError, Problem


class OneOf(click.Choice[str]):
    """One of a few words; the nearest of them is told where it is another."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as fault:
            self.fail(f"{fault.message}{did_you_mean(str(value), self.choices)}", param, ctx)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest word; "" where none is near."""
    from provisioner.inventory.words import nearest

    near = nearest(word, known)
    return f" Did you mean '{near}'?" if near else ""


def inventory_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """INVENTORY, which may be left out."""
    return click.argument("inventory", required=False, envvar="PROVISION_INVENTORY")(function)


def selection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--limit, --tags, --stage, --playbook, --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print events as JSON lines."),
        click.option(
            "--playbook", type=click.Path(path_type=Path), help="Use this playbook, not the shipped one."
        ),
        click.option("--stage", "stages", multiple=True, help="Only these stages (may be repeated)."),
        click.option("--tags", callback=_tags, help="Only tasks with one of these tags (comma-separated)."),
        click.option("--limit", help="Only these hosts (an Ansible pattern)."),
    ):
        function = option(function)
    return function


def inventory_path(given: str | None) -> Path:
    """The inventory's path. Raises InputError when there is none."""
    path = Path(given or "inventory.yaml")
    if not path.exists():
        hint = (
            "name one, set PROVISION_INVENTORY, or write ./inventory.yaml" if given is None else _beside(path)
        )
        raise InputError([Problem(str(path), 0, 0, "there is no such inventory", hint)])
    if path.is_file() and is_plan_file(path):
        raise InputError(
            [Problem(str(path), 0, 0, "this is a plan, not an inventory", f"provision apply {path}")]
        )
    return path


def _beside(path: Path) -> str:
    from provisioner.inventory.words import nearest

    folder = path.parent
    names = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    near = nearest(path.name, names)
    return f"did you mean '{folder / near}'?" if near else ""


def _tags(ctx: click.Context, param: click.Parameter, value: str | None) -> str:
    """An empty variable in a script must not stand for everything."""
    if value is not None and not value.replace(",", "").strip():
        raise click.BadParameter("it names no tag", ctx, param)
    return value or ""


def request(
    given: str | None,
    playbook: Path | None,
    limit: str | None,
    tags: str,
    stages: tuple[str, ...],
    component: str | None = None,
) -> Any:
    """An action.load.Request from what was typed."""
    from provisioner.action.load import Request
    from provisioner.playbook.model import Selection

    if playbook is not None and not playbook.is_file():
        raise InputError([Problem(str(playbook), 0, 0, "there is no such playbook")])
    wanted = frozenset(tag.strip() for tag in tags.split(",") if tag.strip())
    path = playbook.resolve() if playbook else None
    return Request(inventory_path(given), path, limit, Selection(wanted, frozenset(stages), component))
