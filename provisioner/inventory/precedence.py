"""Which of a variable's values holds for a host.

Low to high, as in Ansible: inline `all`, inline groups, group_vars/all, group_vars/GROUP, inline host,
host_vars. Groups go by depth, then `ansible_group_priority` (inline only), then name. Values are replaced,
never merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from provisioner.inventory.aliases import spellings
from provisioner.inventory.documents import Document
from provisioner.inventory.graph import ALL, Graph, Group, Variable
from provisioner.inventory.spelling import kind_of
from provisioner.inventory.varfiles import read_variables, variable_files

Variables = Mapping[str, Variable]


@dataclass(frozen=True)
class Merged:
    """The winning variables, as written, of all hosts and of each; and the documents they came from."""

    everyone: Variables
    hosts: Mapping[str, Variables]
    groups: Mapping[str, tuple[str, ...]]
    """The groups of each host but `all`, sorted by name."""
    documents: tuple[Document, ...]


def merge(graph: Graph, folder: Path) -> Merged:
    """Merges the inline variables of `graph` with the variable files beside the inventory, in `folder`."""
    documents: list[Document] = []

    def from_files(kind: str, names: tuple[str, ...]) -> dict[str, Variable]:
        found: dict[str, Variable] = {}
        for name in names:
            for path in variable_files(folder / kind, name):
                document, variables = read_variables(graph, path)
                documents.extend([document] if document else [])
                found |= variables
        return found

    files = {name: from_files("group_vars", _names(graph.groups[name])) for name in graph.groups}
    ancestors = _ancestors(graph)
    rank = _ranks(graph)
    hosts = {}
    for host, entry in graph.hosts.items():
        groups = sorted(ancestors[host] | {ALL}, key=rank.__getitem__)
        layers: list[Variables] = [graph.groups[name].variables for name in groups]
        layers += [files[name] for name in groups]
        layers += [entry.variables, from_files("host_vars", (host,))]
        hosts[host] = _overlaid(layers)
    return Merged(
        everyone=_overlaid([graph.groups[ALL].variables, files[ALL]]),
        hosts=hosts,
        groups={host: tuple(sorted(names - {ALL})) for host, names in ancestors.items()},
        documents=tuple(documents),
    )


def _names(group: Group) -> tuple[str, ...]:
    """The names that a variables file of the group may have; the file's own spelling of the group wins."""
    return (*(name for name in spellings(group.name) if name != group.written), group.written)


def _overlaid(layers: list[Variables]) -> Variables:
    result: dict[str, Variable] = {}
    for layer in layers:
        result |= layer
    return result


def _ancestors(graph: Graph) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = {host: set() for host in graph.hosts}
    for group, members in graph.members().items():
        for host in members:
            found[host].add(group)
    return found


def _ranks(graph: Graph) -> Mapping[str, tuple[int, int, str]]:
    depths = graph.depths()
    return {
        name: (depths[name], _priority(graph, group), group.written) for name, group in graph.groups.items()
    }


def _priority(graph: Graph, group: Group) -> int:
    variable = group.variables.get("ansible_group_priority")
    if variable is None:
        return 1
    try:
        return int(variable.value)
    except (TypeError, ValueError, OverflowError):
        reason = f"ansible_group_priority: must be a whole number, this is {kind_of(variable.value)}"
        graph.problems.append(variable.problem((), reason, "such as 10; the greater wins"))
        return 1
