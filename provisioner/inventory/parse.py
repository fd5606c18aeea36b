"""From one inventory document to the graph: `all`, its `hosts`, `vars` and `children`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from provisioner.inventory.documents import Document
from provisioner.inventory.graph import ALL, Graph, Group, Path, Variable
from provisioner.inventory.ranges import RangeError, expand
from provisioner.inventory.words import hint_for

_SECTIONS = ("hosts", "vars", "children")
_GROUP_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def add_document(graph: Graph, document: Document) -> None:
    """Adds the groups and hosts of `document`; faults go to `graph.problems`."""
    data = document.data
    if not isinstance(data, dict) or not data:
        reason = f"an inventory is a mapping of groups, this is {kind_of(data)}"
        graph.problems.append(document.problem((), reason, "begin with 'all:'"))
        return
    if isinstance(data.get("plugin"), str):
        reason = "this configures a dynamic inventory plug-in; only static inventories are read"
        hint = "write it out: ansible-inventory -i FILE --list --yaml"
        graph.problems.append(document.problem(("plugin",), reason, hint, key=True))
        return
    for name, body in data.items():
        _add_group(graph, document, (name,), body)


def kind_of(value: Any) -> str:
    """What a value is, in YAML's words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    kinds = {int: "a number", float: "a number", str: "a text", list: "a list", dict: "a mapping"}
    return kinds.get(type(value), "a secret")


def _add_group(graph: Graph, document: Document, path: Path, body: Any) -> Group | None:
    name = path[-1]
    if not isinstance(name, str) or not _GROUP_NAME.fullmatch(name):
        hint = "letters, digits, '_', '-' and '.' allowed, at most 200"
        graph.problems.append(
            document.problem(path, f"'{str(name)[:80]}' is not a group name", hint, key=True)
        )
        return None
    group = graph.group(name, document, path)
    if body is None:
        return group
    if not isinstance(body, dict):
        reason = f"the group '{name}' must be a mapping with hosts, vars or children, this is {kind_of(body)}"
        graph.problems.append(document.problem(path, reason))
        return group
    for key in body:
        if key not in _SECTIONS:
            hint = hint_for(key, _SECTIONS)
            reason = f"the group '{name}' has an unknown key '{key}'"
            graph.problems.append(document.problem((*path, key), reason, hint, key=True))
    group.variables |= variables_of(
        graph, document, (*path, "vars"), _section(graph, document, path, body, "vars")
    )
    for key in body:  # in the order of the file, because that is the order of the hosts
        section = _section(graph, document, path, body, key) if key in ("hosts", "children") else {}
        for child in section:
            child_path = (*path, key, child)
            if key == "hosts":
                _add_hosts(graph, document, child_path, section[child], group)
            else:
                _add_child(graph, document, child_path, section[child], group)
    return group


def _section(
    graph: Graph, document: Document, path: Path, body: Mapping[Any, Any], key: str
) -> Mapping[Any, Any]:
    section = body.get(key)
    if section is None:
        return {}
    if isinstance(section, dict):
        return section
    if isinstance(section, str) and key != "vars":
        return {section: None}  # Ansible takes a single text for a mapping with one key
    hint = f"write '{key}:' with one 'name:' a line, not a list" if isinstance(section, list) else ""
    graph.problems.append(
        document.problem((*path, key), f"'{key}' must be a mapping, this is {kind_of(section)}", hint)
    )
    return {}


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
            hint = "letters, digits and '_' are allowed, no digit first"
            graph.problems.append(document.problem((*path, name), reason, hint, key=True))
    return found


def _add_child(graph: Graph, document: Document, path: Path, body: Any, parent: Group) -> None:
    child = _add_group(graph, document, path, body)
    if child is None or (child is parent and path[-1] != parent.written):
        return  # two spellings of one group, one under the other, are that group
    if child.name == ALL or not graph.join(parent, child):
        reason = f"the group '{path[-1]}' would contain itself"
        graph.problems.append(document.problem(path, reason, "groups must not form a loop", key=True))


def _add_hosts(graph: Graph, document: Document, path: Path, body: Any, group: Group) -> None:
    written = path[-1]
    if not isinstance(written, str):
        reason = f"a host's name must be a text, '{written}' is {kind_of(written)}"
        graph.problems.append(document.problem(path, reason, "quote it", key=True))
        return
    try:
        expanded = expand(written)
    except RangeError as error:
        graph.problems.append(document.problem(path, str(error), key=True))
        return
    if body is not None and not isinstance(body, dict):
        reason = f"the variables of the host '{written}' must be a mapping, this is {kind_of(body)}"
        graph.problems.append(document.problem(path, reason, "write 'name: value' lines under it"))
        body = None
    variables = variables_of(graph, document, path, body or {})
    if expanded.port is not None:
        variables = {"ansible_port": Variable(expanded.port, document, path)} | variables
    for name in expanded.names:
        graph.host(name, document, path).variables.update(variables)
        group.hosts[name] = None
