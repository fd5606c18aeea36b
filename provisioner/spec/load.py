"""Reads the `cluster` section of an inventory and checks it against the schema and the rules, all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Problem
from provisioner.inventory.load import read_inventory
from provisioner.inventory.model import Inventory
from provisioner.inventory.spelling import kind_of
from provisioner.inventory.words import nearest
from provisioner.spec.build import build
from provisioner.spec.calicowords import hint_within
from provisioner.spec.draft import Draft
from provisioner.spec.model import ClusterSpec
from provisioner.spec.rules import broken_rules
from provisioner.spec.schema import CLUSTER, HOST
from provisioner.spec.slips import misspelt_variables
from provisioner.spec.validation import Fault, validate


def load_cluster(path: Path) -> tuple[Inventory, ClusterSpec]:
    """The inventory at `path` and the cluster in it.

    Raises InputError with every problem in either, together.
    """
    inventory, problems = read_inventory(path)
    draft, found = _check(inventory, problems)
    problems += found
    if problems or draft is None:
        raise InputError(problems)
    return inventory, build(draft)


def load_spec(inventory: Inventory, *, transition: bool = False) -> ClusterSpec:
    """The cluster that `inventory` describes; in `transition` it may have a size that nobody would build. Raises
    InputError with every problem in it."""
    draft, problems = _check(inventory, transition=transition)
    if problems or draft is None:
        raise InputError(problems)
    return build(draft)


def _check(
    inventory: Inventory, known: Sequence[Problem] = (), *, transition: bool = False
) -> tuple[Draft | None, list[Problem]]:
    """The draft, None when there is no usable `cluster` section, and everything that is wrong with it.

    `known` are the problems that the inventory itself has.
    """
    problems: list[Problem] = [*_clusters_of_hosts(inventory), *misspelt_variables(inventory)]
    bad_hosts = _check_hosts(inventory, problems)
    try:
        data = inventory.variables.get("cluster")
    except InputError as error:
        return None, [*problems, *error.problems]
    if not isinstance(data, dict):
        # On a host, where that is told already, or in what could not be read.
        elsewhere = not inventory.whole or any("cluster" in each for each in inventory.sources.hosts.values())
        missing = "cluster" in inventory.variables or not elsewhere
        return None, [*problems, *([_no_cluster(inventory, data)] if missing else [])]
    faults = [
        replace(fault, hint=hint_within(fault.hint, data.get("network")))
        for fault in validate(data, CLUSTER, lambda path: inventory.written(None, "cluster", *path))
    ]
    problems += [_problem(inventory, None, ("cluster", *fault.path), fault) for fault in faults]
    bad = {path for fault in faults for path in (fault.path, fault.meant) if path}
    draft = Draft(inventory, data, frozenset(bad), bad_hosts, transition)
    # What is wrong by itself breaks rules as well; that would be the same fault in other words.
    told = {(problem.file, problem.line, problem.column) for problem in (*known, *problems)}
    problems += [each for each in broken_rules(draft) if (each.file, each.line, each.column) not in told]
    return draft, list(dict.fromkeys(problems))


def _clusters_of_hosts(inventory: Inventory) -> Iterator[Problem]:
    """There is one cluster: a section on a group or a host would be read by nobody."""
    everyone = inventory.sources.everyone.get("cluster")
    for variables in inventory.sources.hosts.values():
        variable = variables.get("cluster")
        if variable is not None and variable is not everyone:
            reason = "'cluster' is given for some of the hosts, but holds for all"
            hint = "keep the one under all.vars" if everyone else "move it to all.vars"
            yield variable.problem((), reason, hint, key=True)


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
        for fault in validate(values, HOST, partial(_written, inventory, name)) if values else ():
            bad.add((name, fault.path[0]))
            problems.append(_problem(inventory, name, fault.path, fault))
    return frozenset(bad)


def _written(inventory: Inventory, host: str, path: tuple[Any, ...]) -> str:
    return inventory.written(host, *path)


def _problem(inventory: Inventory, host: str | None, path: tuple[Any, ...], fault: Fault) -> Problem:
    return Problem(*inventory.origin(host, *path, key=fault.key), fault.reason, fault.hint)


def _no_cluster(inventory: Inventory, data: Any) -> Problem:
    if "cluster" in inventory.variables:
        reason = f"'cluster' must be a mapping, this is {kind_of(data)}"
        return Problem(*inventory.origin(None, "cluster"), reason, "such as: cluster: {name: lab, …}")
    reason = "there is no 'cluster' under all.vars"
    near = nearest("cluster", inventory.variables)
    if near:
        where = inventory.origin(None, near, key=True)
        return Problem(*where, f"{reason}, but '{near}'", "did you mean 'cluster'?")
    return Problem(*inventory.origin_of_group("all"), reason, "`provision init` prints one to begin with")
