"""From one inventory document to the graph: `all`, its `hosts`, `vars` and `children`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from provisioner.inventory.documents import Document
from provisioner.inventory.graph import ALL, Graph, Group, Path, Variable
from provisioner.inventory.ranges import RangeError, expand
from provisioner.inventory.spelling import kind_of, odd_letters
from provisioner.inventory.words import hint_for, nearest

_SECTIONS = ("hosts", "vars", "children")
_GROUP_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_Entry = tuple[Any, Path, Any]
"""A name, its path, and what stands under it."""


def add_document(graph: Graph, document: Document) -> None:
    """Adds the groups and hosts of `document`; faults go to `graph.problems`.

    What is misspelt is taken for what is meant, once that is said: one slip gives one problem.
    """
    data = document.data
    if not isinstance(data, dict) or not data:
        reason = f"an inventory is a mapping of groups, this is {kind_of(data)}"
        graph.lose(document.problem((), reason, "begin with 'all:'"))
        return
    if isinstance(data.get("plugin"), str):
        reason = "this configures a dynamic inventory plug-in; only static inventories are read"
        hint = "write it out: ansible-inventory -i FILE --list --yaml"
        graph.lose(document.problem(("plugin",), reason, hint, key=True))
        return
    for name, body in data.items():
        if ALL not in data and _is_misspelt_all(name, body):
            reason = f"the group '{name}' holds the variables of all hosts, but is not called '{ALL}'"
            graph.problems.append(document.problem((name,), reason, f"did you mean '{ALL}'?", key=True))
            _add_group(graph, document, (name,), body, ALL)
        else:
            _add_group(graph, document, (name,), body, name)


def _is_misspelt_all(name: Any, body: Any) -> bool:
    """Only with the cluster's section in it: a group of one's own may be called nearly so."""
    if not isinstance(name, str) or not isinstance(body, dict) or nearest(name, [ALL]) is None:
        return False
    return any(
        isinstance(body[key], dict) and "cluster" in body[key] for key in body if _meant(key) == "vars"
    )


def _meant(key: Any) -> str | None:
    """The section that a group's key stands for."""
    return nearest(key, _SECTIONS) if isinstance(key, str) else None


def _add_group(graph: Graph, document: Document, path: Path, body: Any, name: Any) -> Group | None:
    if not isinstance(name, str) or not _GROUP_NAME.fullmatch(name):
        hint = odd_letters(str(name)) or "letters, digits, '_', '-' and '.' allowed, at most 200"
        graph.lose(document.problem(path, f"'{str(name)[:80]}' is not a group name", hint, key=True))
        return None
    group = graph.group(name, document, path)
    if body is None:
        return group
    if not isinstance(body, dict):
        reason = f"the group '{name}' must be a mapping with hosts, vars or children, this is {kind_of(body)}"
        graph.lose(document.problem(path, reason))
        return group
    for key in body:  # in the order of the file, because that is the order of the hosts
        _add_section(graph, document, (*path, key), body, group)
    return group


def _add_section(graph: Graph, document: Document, path: Path, body: Mapping[Any, Any], group: Group) -> None:
    key = path[-1]
    meant = key if key in _SECTIONS else _meant(key)
    if key not in _SECTIONS:
        reason = f"the group '{group.written}' has an unknown key '{key}'"
        hint = odd_letters(str(key)) or hint_for(key, _SECTIONS)
        problem = document.problem(path, reason, hint, key=True)
        if meant is None:
            graph.lose(problem)
            return
        graph.problems.append(problem)
    section = _section(graph, document, path, body[key], str(meant))
    if meant == "vars":
        group.variables |= variables_of(graph, document, path, {name: each for name, _, each in section})
        return
    for _, at, value in section:
        if meant == "hosts":
            _add_hosts(graph, document, at, value, group)
        else:
            _add_child(graph, document, at, value, group)


def _section(graph: Graph, document: Document, path: Path, section: Any, meant: str) -> list[_Entry]:
    """What a section holds."""
    if section is None:
        return []
    if isinstance(section, dict):
        return [(name, (*path, name), value) for name, value in section.items()]
    if isinstance(section, str) and meant != "vars":
        return [(section, (*path, section), None)]  # Ansible takes a single text for a mapping with one key
    reason = f"'{meant}' must be a mapping, this is {kind_of(section)}"
    hint = "write 'name: value' lines" if meant == "vars" else ""
    if isinstance(section, list) and meant != "vars":
        hint = f"write '{meant}:' with one 'name:' a line, not a list"
        if section and all(isinstance(name, str) for name in section):
            graph.problems.append(document.problem(path, reason, hint))
            return [(name, (*path, name), None) for name in section]
    graph.lose(document.problem(path, reason, hint))
    return []


def variables_of(
    graph: Graph, document: Document, path: Path, values: Mapping[Any, Any]
) -> dict[str, Variable]:
    """The variables in the mapping at `path`."""
    found = {}
    for name, value in values.items():
        if isinstance(name, str) and _VARIABLE_NAME.fullmatch(name):
            found[name] = Variable(value, document, (*path, name))
        else:
            reason = f"'{name}' is not a variable's name"
            meant = str(name).replace("-", "_")
            near = f"did you mean '{meant}'?" if _VARIABLE_NAME.fullmatch(meant) else ""
            hint = odd_letters(str(name)) or near or "letters, digits and '_' are allowed, no digit first"
            graph.problems.append(document.problem((*path, name), reason, hint, key=True))
    return found


def _add_child(graph: Graph, document: Document, path: Path, body: Any, parent: Group) -> None:
    child = _add_group(graph, document, path, body, path[-1])
    if child is None or (child is parent and path[-1] != parent.written):
        return  # two spellings of one group, one under the other, are that group
    if child.name == ALL or not graph.join(parent, child):
        reason = f"the group '{path[-1]}' would contain itself"
        graph.problems.append(document.problem(path, reason, "groups must not form a loop", key=True))


def _add_hosts(graph: Graph, document: Document, path: Path, body: Any, group: Group) -> None:
    written = path[-1]
    if not isinstance(written, str):
        reason = f"a host's name must be a text, '{written}' is {kind_of(written)}"
        graph.lose(document.problem(path, reason, "quote it", key=True))
        return
    try:
        expanded = expand(written)
    except RangeError as error:
        graph.lose(document.problem(path, str(error), error.hint, key=True))
        return
    if body is not None and not isinstance(body, dict):
        reason = f"the variables of the host '{written}' must be a mapping, this is {kind_of(body)}"
        graph.lose(document.problem(path, reason, "write 'name: value' lines under it"))
        body = None
    variables = variables_of(graph, document, path, body or {})
    if expanded.port is not None:
        variables = {"ansible_port": Variable(expanded.port, document, path)} | variables
    for name in expanded.names:
        graph.host(name, document, path).variables.update(variables)
        group.hosts[name] = None
