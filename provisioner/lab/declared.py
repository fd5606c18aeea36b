"""The lab that an inventory declares: `all.vars.lab` and every host's address."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network

from provisioner.errors import InputError, Problem
from provisioner.inventory.labs import lab_directory
from provisioner.inventory.model import Inventory, Position
from provisioner.inventory.words import hint_for
from provisioner.lab.plan import SUITE, LabPlan, faults

_KEYS = ("name", "subnet", "suite", "packages", "segment")
DEFAULT_NAME = "lab"
BARE = "bare"
_EXAMPLE = "write {name: lab, subnet: 10.98.0.0/24} there"


def plan_of(inventory: Inventory) -> LabPlan:
    """The plan. Raises InputError, with places, when the inventory declares no lab or one that cannot be."""
    section = inventory.variables.get("lab")
    if not isinstance(section, Mapping):
        raise _fault(inventory, "all.vars.lab is missing or not a mapping", _EXAMPLE)
    for key in section:
        if key not in _KEYS:
            raise _fault(inventory, f"unknown key 'lab.{key}'", hint_for(key, _KEYS), str(key))
    packages = section.get("packages", [])
    bare = packages == BARE
    if not bare and not (isinstance(packages, list) and all(isinstance(name, str) for name in packages)):
        hint = f"'{BARE}' is for hosts without packages of a cluster"
        raise _fault(inventory, "lab.packages is not a list of Debian package names", hint, "packages")
    name = str(section.get("name", DEFAULT_NAME))
    plan = LabPlan(
        name=name,
        subnet=_subnet(inventory, section),
        hosts={host.name: _address(inventory, host.name) for host in inventory.hosts.values()},
        directory=lab_directory(name),
        suite=str(section.get("suite", SUITE)),
        packages=() if bare else tuple(packages),
        bare=bare,
        segment=_segment(inventory, section),
        inventory=inventory.path,
    )
    problems = [Problem(*_place(inventory, fault.host), fault.reason) for fault in faults(plan)]
    if problems:
        raise InputError(problems)
    return plan


def _place(inventory: Inventory, host: str) -> Position:
    if host:
        return inventory.origin(host, "ansible_host")
    return inventory.origin(None, "lab", key=True)


def _segment(inventory: Inventory, section: Mapping[str, object]) -> int | None:
    written = section.get("segment")
    if written is not None and (isinstance(written, bool) or not isinstance(written, int)):
        hint = "write a prefix length, such as 25 for two halves of a /24"
        raise _fault(inventory, f"lab.segment: {written!r} is no whole number", hint, "segment")
    return written


def _subnet(inventory: Inventory, section: Mapping[str, object]) -> IPv4Network:
    written = section.get("subnet")
    try:
        return IPv4Network(str(written))
    except ValueError as error:
        raise _fault(
            inventory, f"lab.subnet: {error}", "write an IPv4 network, such as 10.98.0.0/24", "subnet"
        ) from None


def _address(inventory: Inventory, host: str) -> IPv4Address:
    written = inventory.hosts[host].connection.address
    try:
        return IPv4Address(written)
    except ValueError:
        place = inventory.origin(host, "ansible_host")
        hint = "give it ansible_host, an address inside lab.subnet"
        raise InputError(
            [Problem(*place, f"{host}: a lab needs an IPv4 address, not {written!r}", hint)]
        ) from None


def _fault(inventory: Inventory, reason: str, hint: str, *path: str) -> InputError:
    return InputError([Problem(*inventory.origin(None, "lab", *path, key=True), reason, hint)])
