"""Variables that are most likely slips of ours. Any other name is free, as in Ansible."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.inventory.model import Inventory
from provisioner.inventory.words import distance
from provisioner.spec.schema import HOST

_SHORTEST = 8
"""Shorter names are near to too many others."""


def misspelt_variables(inventory: Inventory) -> Iterator[Problem]:
    """Variables of hosts whose names are nearly, but not quite, ones that are read."""
    meant: dict[str, str | None] = {}
    for variables in inventory.sources.hosts.values():
        for name, variable in variables.items():
            near = meant[name] if name in meant else meant.setdefault(name, _meant(name))
            if near:
                reason = f"'{name}' is read by nothing, but is nearly '{near}'"
                yield variable.problem((), reason, f"did you mean '{near}'?", key=True)


def _meant(name: str) -> str | None:
    if name in HOST:
        return None
    folded = name.lower()
    for known in HOST:
        slips = 2 if len(known) >= 2 * _SHORTEST else 1
        near = len(known) >= _SHORTEST and abs(len(known) - len(name)) <= slips
        if near and distance(folded, known) <= slips:
            return known
    return None
