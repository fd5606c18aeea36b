"""`inventory`: hosts, groups and variables as ansible-inventory tells them, with secrets masked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from provisioner.errors import InputError, Problem
from provisioner.inventory.graph import ALL
from provisioner.inventory.model import Inventory
from provisioner.inventory.names import ALIASES
from provisioner.inventory.secrets import MASK, Secret
from provisioner.inventory.words import nearest

_SECRET_NAMES = frozenset((*ALIASES["password"], *ALIASES["become_password"]))
_INTERNAL = frozenset({"ansible_group_priority"})
"""Ansible takes it for an order to itself, not for a variable."""
_TELLING = re.compile(
    r"(.*[_-])?(pass|passwd|password|passphrase|secret|token|private_key|api_?key)", re.IGNORECASE
)
"""Names under which people keep secrets in plain text."""


def listing(inventory: Inventory) -> dict[str, Any]:
    """What `ansible-inventory --list` gives: groups by their names in the file, and `_meta.hostvars`.

    Values are as written, templates unrendered, as Ansible gives them. A group without hosts and children is left out.
    """
    groups: dict[str, Any] = {}
    for name, branch in inventory.tree.items():
        body: dict[str, Any] = {}
        if branch.hosts and name != ALL:
            body["hosts"] = list(branch.hosts)
        if branch.children:
            body["children"] = [inventory.tree[child].written for child in branch.children]
        if body:
            groups[branch.written] = body
    variables = {name: variables_of(inventory, name) for name in inventory.hosts}
    groups["_meta"] = {"hostvars": {name: found for name, found in variables.items() if found}}
    return groups


def variables_of(inventory: Inventory, host: str) -> dict[str, Any]:
    """The variables of a host as written, as plain JSON values. Raises InputError when there is no such host."""
    if host not in inventory.hosts:
        near = nearest(host, inventory.hosts)
        hint = f"did you mean '{near}'?" if near else f"there are: {', '.join(inventory.hosts)}"
        raise InputError([Problem(str(inventory.path), 0, 0, f"there is no host '{host}'", hint)])
    found = inventory.sources.hosts[host]
    return {name: _plain(name, found[name].value) for name in sorted(found) if name not in _INTERNAL}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, Mapping):
        return {_key(key): _plain(_key(key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(name, item) for item in value]
    if value and isinstance(value, str | int) and not isinstance(value, bool) and _is_secret(name):
        return MASK
    return value


def _is_secret(name: str) -> bool:
    return name in _SECRET_NAMES or _TELLING.fullmatch(name) is not None


def _key(key: Any) -> str:
    """A mapping's key as JSON has it: a number or a boolean becomes text."""
    return key if isinstance(key, str) else json.dumps(key)
