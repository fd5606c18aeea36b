"""A copy of an inventory for a second lab: every address in another subnet, another name, comments kept.

The text is changed, not the parsed value: what the author wrote stays what the author reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import yaml

from provisioner.errors import InputError, Problem
from provisioner.lab.plan import LabPlan

_ADDRESS = re.compile(r"(?<![\d.])(\d{1,3}(?:\.\d{1,3}){3})(/\d{1,2})?(?!\d|\.\d)")
_VARIABLE_DIRECTORIES = ("group_vars", "host_vars")


@dataclass(frozen=True)
class Move:
    """From one subnet to another of the same size or larger, and to another name."""

    source: IPv4Network
    target: IPv4Network
    name: str


def default_name(name: str, subnet: IPv4Network) -> str:
    """The name of a lab that is moved without being given one."""
    return f"{name}-{str(subnet.network_address).replace('.', '-')}"


def move_inventory(inventory: Path, move: Move, directory: Path) -> Path:
    """Writes the moved copy, with group_vars and host_vars, into `directory`; returns its path.

    Raises InputError when the target is too small, or when no `lab` mapping is found to rename.
    """
    if inventory.is_dir():
        raise InputError([Problem(str(inventory), 0, 0, "a directory of inventory files cannot be moved")])
    if move.target.prefixlen > move.source.prefixlen:
        reason = f"{move.target} is smaller than lab.subnet {move.source}"
        raise InputError([Problem(str(inventory), 0, 0, reason, f"take a /{move.source.prefixlen}")])
    texts = {inventory: Path("inventory.yaml")}
    for name in _VARIABLE_DIRECTORIES:
        for path in sorted((inventory.parent / name).rglob("*")):
            if path.is_file():
                texts[path] = path.relative_to(inventory.parent)
    renamed = False
    for path, relative in texts.items():
        content = path.read_bytes()
        try:
            text = content.decode()
        except UnicodeDecodeError:
            _write(directory / relative, content)
            continue
        named = rename(text, move.name, _keys_to_lab(relative))
        renamed = renamed or named != text
        _write(directory / relative, move_text(named, move).encode())
    if not renamed:
        raise InputError([Problem(str(inventory), 0, 0, "found no mapping all.vars.lab to rename")])
    return directory / "inventory.yaml"


def _keys_to_lab(relative: Path) -> tuple[str, ...] | None:
    """Where the `lab` section is in a file, if it can be there at all."""
    if relative.parts[0] == "inventory.yaml":
        return ("all", "vars", "lab")
    return ("lab",) if relative.parts[0] == "group_vars" and Path(relative.parts[1]).stem == "all" else None


def move_text(text: str, move: Move) -> str:
    """The text with every IPv4 address inside the source subnet at the same offset of the target."""

    def moved(found: re.Match[str]) -> str:
        try:
            address = IPv4Address(found[1])
        except ValueError:
            return found[0]
        suffix = found[2] or ""
        if address not in move.source:
            return found[0]
        if suffix == f"/{move.source.prefixlen}":
            suffix = f"/{move.target.prefixlen}"
        return f"{move.target[int(address) - int(move.source.network_address)]}{suffix}"

    return _ADDRESS.sub(moved, text)


def rename(text: str, name: str, keys: tuple[str, ...] | None) -> str:
    """The text with the lab's name replaced, or put in where the mapping at `keys` has none."""
    if keys is None:
        return text
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in keys:
        node = _items(node).get(key)
    if not isinstance(node, yaml.MappingNode):
        return text
    value = _items(node).get("name")
    if value is not None:
        return f"{text[: value.start_mark.index]}{name}{text[value.end_mark.index :]}"
    start = node.start_mark.index
    if node.flow_style:
        return f"{text[: start + 1]}name: {name}, {text[start + 1 :]}"
    indent = " " * node.start_mark.column
    return f"{text[:start]}name: {name}\n{indent}{text[start:]}"


def _items(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """The entries of a mapping; none when the node is no mapping."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): value for key, value in node.value}


def _write(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.rename(path)


def moved_plan(plan: LabPlan, move: Move, directory: Path) -> LabPlan:
    """The plan of the moved lab, without writing its inventory."""
    base = int(move.source.network_address)
    last = max((int(address) - base for address in plan.hosts.values()), default=0)
    if last >= move.target.num_addresses - 1:
        wanted = 32 - (last + 1).bit_length()
        reason = f"{move.target} has no room for a host at offset {last} of the subnet"
        raise InputError([Problem("--subnet", 0, 0, reason, f"it needs a /{wanted} at least")])
    hosts = {host: move.target[int(address) - base] for host, address in plan.hosts.items()}
    path = directory / "inventory.yaml"
    return replace(plan, name=move.name, subnet=move.target, hosts=hosts, directory=directory, inventory=path)
