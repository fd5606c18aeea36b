"""`provision lab up|down|status|fault`: throw-away hosts on this machine for an inventory."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provisioner.cli.options import OneOf
from provisioner.engine.events import Emit, Note, silent
from provisioner.errors import InputError, Problem

if TYPE_CHECKING:
    from ipaddress import IPv4Network

    from provisioner.lab.plan import LabPlan
    from provisioner.lab.status import LabStatus


@click.group("lab", short_help="Throw-away hosts on this machine.")
@click.pass_context
def command(ctx: click.Context) -> None:
    """Throw-away hosts on this machine: one systemd-nspawn system for each host of the inventory.

    Needs root, systemd-nspawn and debootstrap. The first `up` builds a Debian root, which takes about a
    minute; it is cached.
    """
    from provisioner.report.choose import reporter

    ctx.obj = ctx.with_resource(reporter(as_json=False))


def _lab_name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """It names a folder that `down` removes."""
    from provisioner.lab.plan import HOST_NAME

    if value is not None and not HOST_NAME.fullmatch(value):
        reason = f"'{value}' is no name for a lab"
        raise InputError(
            [Problem("--name", 0, 0, reason, "letters, digits, dots and dashes, as classroom-2")]
        )
    return value


def _arguments(function: Callable[..., None]) -> Callable[..., None]:
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        click.option(
            "--name", metavar="NAME", help="Another lab of the same hosts, by this name.", callback=_lab_name
        ),
        click.option(
            "--subnet",
            metavar="CIDR",
            help="Another lab of the same hosts, in this subnet.  [default: where NAME is, else the file's]",
        ),
        click.argument(
            "inventory",
            type=click.Path(path_type=Path),
            envvar="PROVISION_INVENTORY",
            default=Path("inventory.yaml"),
        ),
    ):
        function = decorate(function)
    return function


@command.command()
@_arguments
@click.pass_context
def up(ctx: click.Context, inventory: Path, subnet: str | None, name: str | None, as_json: bool) -> None:
    """Bring the lab up; mend what is broken; change nothing that is well."""
    from provisioner.lab.up import up as bring_up

    emit = _emit(ctx)
    plan, path = _chosen(inventory, subnet, name, write=True)
    state = bring_up(plan, emit)
    emit(Note(message=f"lab {plan.name} is up", hint=f"provision apply {path}"))
    if as_json:
        click.echo(json.dumps({**asdict(state), "inventory": str(path)}))


@command.command()
@_arguments
@click.pass_context
def down(ctx: click.Context, inventory: Path, subnet: str | None, name: str | None, as_json: bool) -> None:
    """Take the lab away, whatever state it is in. Only the cached root stays."""
    from provisioner.lab.down import down as take_down

    # A name alone is enough: the inventory may be lost, or broken, or may have gone with the lab.
    chosen = name or _chosen(inventory, subnet, name, write=False)[0]
    found = take_down(chosen, _emit(ctx))
    if as_json:
        click.echo(json.dumps({"found": found}))


@command.command()
@_arguments
@click.pass_context
def status(ctx: click.Context, inventory: Path, subnet: str | None, name: str | None, as_json: bool) -> None:
    """Say what of the lab runs. Exit status 1 when `up` would have something to do."""
    from provisioner.lab.status import status as read

    plan, _path = _chosen(inventory, subnet, name, write=False)
    found = read(plan)
    click.echo(json.dumps(asdict(found)) if as_json else _table(found))
    if not found.well:
        ctx.exit(1)


@command.command()
@click.option(
    "--name", metavar="NAME", help="Another lab of the same hosts, by this name.", callback=_lab_name
)
@click.argument("inventory", type=click.Path(path_type=Path), envvar="PROVISION_INVENTORY")
@click.argument("host")
@click.argument("what", type=OneOf(["cut", "heal", "power-off", "power-on"]))
def fault(inventory: Path, host: str, what: str, name: str | None) -> None:
    """Do to HOST what happens to hosts. Its disk stays.

    \b
    cut        its link goes, at once and without a word; it runs on
    heal       its link is back
    power-off  it loses its power; `lab up` and `power-on` start it again
    power-on   it boots; returns when SSH answers
    """
    from provisioner.lab.power import FAULTS

    plan, _path = _chosen(inventory, None, name, write=False)
    FAULTS[what](plan, host)


def _emit(ctx: click.Context) -> Emit:
    reporter: Any = ctx.obj
    return reporter.emit if reporter is not None else silent


def _chosen(inventory: Path, subnet: str | None, name: str | None, *, write: bool) -> tuple[LabPlan, Path]:
    """The plan that the arguments mean, and the inventory to use with it.

    With `write` a moved copy is made.
    """
    from provisioner.inventory.labs import lab_directory
    from provisioner.inventory.model import load_inventory
    from provisioner.lab.declared import plan_of
    from provisioner.lab.move import Move, move_inventory, moved_plan
    from provisioner.lab.up import preflight

    plan = plan_of(load_inventory(inventory))
    if subnet is None and name is None:
        return plan, inventory
    target, chosen = _target(plan, subnet, name)
    move = Move(plan.subnet, target, chosen)
    if move.name == plan.name:
        raise InputError([Problem("--name", 0, 0, f"the lab in {inventory} is called {plan.name} already")])
    directory = lab_directory(move.name)
    moved = moved_plan(plan, move, directory)
    if not write:
        return moved, directory / "inventory.yaml"
    preflight(moved)
    path = move_inventory(inventory, move, directory)
    return plan_of(load_inventory(path)), path


def _target(plan: LabPlan, subnet: str | None, name: str | None) -> tuple[IPv4Network, str]:
    """Where the moved lab lies, and its name. A lab that is there stays where it was put."""
    from provisioner.inventory.labs import lab_directory
    from provisioner.lab.move import default_name
    from provisioner.lab.state import subnet_of

    if subnet is not None:
        target = _network(subnet)
        return target, name or default_name(plan.name, target)
    chosen = name or plan.name
    return subnet_of(lab_directory(chosen)) or plan.subnet, chosen


def _network(subnet: str) -> IPv4Network:
    from ipaddress import IPv4Network

    try:
        return IPv4Network(subnet)
    except ValueError as error:
        raise InputError([Problem("--subnet", 0, 0, str(error), "such as 10.99.7.0/24")]) from None


def _table(found: LabStatus) -> str:
    width = max(len(host.name) for host in found.hosts)
    network = "up" if found.network else "broken" if found.present else "down"
    lines = [f"lab {found.name}  {found.subnet}  network {network}  {found.directory}"]
    for host in found.hosts:
        told = f"pid {host.pid}  up {host.uptime:.0f} s" if host.running else "off"
        health = "" if host.well or not host.running else "  no link" if not host.linked else "  no ssh"
        lines.append(f"{host.name:<{width}}  {host.address:<15}  {told}{health}")
    return "\n".join(lines)
