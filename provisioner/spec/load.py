"""Reads the `cluster` section of an inventory and checks it against the schema and the rules, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Problem
from provisioner.inventory.load import read_inventory
from provisioner.inventory.model import Inventory
from provisioner.inventory.parse import kind_of
from provisioner.inventory.words import nearest
from provisioner.spec.build import build
from provisioner.spec.draft import Draft
from provisioner.spec.model import ClusterSpec
from provisioner.spec.rules import broken_rules
from provisioner.spec.schema import CLUSTER, HOST
from provisioner.spec.validation import Fault, validate


def load_cluster(path: Path) -> tuple[Inventory, ClusterSpec]:
    """The inventory at `path` and the cluster in it.

    Raises InputError with every problem in either, together.
    """
    inventory, problems = read_inventory(path)
    draft, found = _check(inventory)
    problems += found
    if problems or draft is None:
        raise InputError(problems)
    return inventory, build(draft)


def load_spec(inventory: Inventory) -> ClusterSpec:
    """The cluster that `inventory` describes. Raises InputError with every problem in it."""
    draft, problems = _check(inventory)
    if problems or draft is None:
        raise InputError(problems)
    return build(draft)


def _check(inventory: Inventory) -> tuple[Draft | None, list[Problem]]:
    """The draft, None when there is no usable `cluster` section, and everything that is wrong with it."""
    problems: list[Problem] = []
    bad_hosts = _check_hosts(inventory, problems)
    try:
        data = inventory.variables.get("cluster")
    except InputError as error:
        return None, [*problems, *error.problems]
    if not isinstance(data, dict):
        return None, [*problems, _no_cluster(inventory, data)]
    faults = validate(data, CLUSTER)
    problems += [_problem(inventory, None, ("cluster", *fault.path), fault) for fault in faults]
    draft = Draft(inventory, data, frozenset(fault.path for fault in faults), bad_hosts)
    problems += broken_rules(draft)
    return draft, list(dict.fromkeys(problems))


def _check_hosts(inventory: Inventory, problems: list[Problem]) -> frozenset[tuple[str, str]]:
    """Checks the hosts' own variables; the (host, variable) pairs that are wrong."""
    bad: set[tuple[str, str]] = set()
    for name, host in inventory.hosts.items():
        values: dict[str, Any] = {}
        for variable in sorted(HOST.keys() & host.vars.keys()):
            try:
                values[variable] = host.vars[variable]
            except InputError as error:
                bad.add((name, variable))
                problems += error.problems
        for fault in validate(values, HOST) if values else ():
            bad.add((name, fault.path[0]))
            problems.append(_problem(inventory, name, fault.path, fault))
    return frozenset(bad)


def _problem(inventory: Inventory, host: str | None, path: tuple[Any, ...], fault: Fault) -> Problem:
    return Problem(*inventory.origin(host, *path, key=fault.key), fault.reason, fault.hint)


def _no_cluster(inventory: Inventory, data: Any) -> Problem:
    if "cluster" in inventory.variables:
        reason = f"'cluster' must be a mapping, this is {kind_of(data)}"
        return Problem(*inventory.origin(None, "cluster"), reason, "such as: cluster: {name: lab, …}")
    reason = "there is no 'cluster' under all.vars"
    for name, host in inventory.hosts.items():
        if "cluster" in host.vars:
            hint = "'cluster' holds for all hosts: move it to all.vars"
            return Problem(*inventory.origin(name, "cluster", key=True), reason, hint)
    near = nearest("cluster", inventory.variables)
    if near:
        where = inventory.origin(None, near, key=True)
        return Problem(*where, f"{reason}, but '{near}'", "did you mean 'cluster'?")
    return Problem(*inventory.origin_of_group("all"), reason, "inventories/lab.yaml is a commented example")
