"""Reads an inventory: files, variables, connections. Everything that is wrong is said at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Problem
from provisioner.inventory import names
from provisioner.inventory.aliases import ROLES, SPELLINGS, canonical, spellings
from provisioner.inventory.connections import connection_of
from provisioner.inventory.documents import Document, read_document
from provisioner.inventory.graph import UNGROUPED, Graph
from provisioner.inventory.model import Branch, Host, Inventory, Sources
from provisioner.inventory.parse import add_document
from provisioner.inventory.precedence import Merged, merge
from provisioner.inventory.rendering import RenderedVariables
from provisioner.inventory.words import nearest

_OTHER_FILES = """
.cfg .conf .orig .ini .retry .pyc .pyo .md .txt .rst .bak .swp .log .csv .toml .j2
"""
_SKIPPED_SUFFIXES = frozenset(_OTHER_FILES.split())


def load_inventory(path: Path) -> Inventory:
    """The inventory file, or directory of files, at `path`.

    Raises InputError with all problems that were found.
    """
    inventory, problems = read_inventory(path)
    if problems:
        raise InputError(problems)
    return inventory


def read_inventory(path: Path) -> tuple[Inventory, list[Problem]]:
    """The inventory as far as it can be understood, and everything that is wrong with it.

    Raises InputError when a file cannot be read as YAML at all.
    """
    documents = _read(path)
    folder = path if path.is_dir() else path.parent
    graph = Graph()
    for document in documents:
        add_document(graph, document)
    graph.finish(documents[0])
    misspelt = list(_misspelt_groups(graph))
    merged = merge(graph, folder)
    inventory, problems = _assemble(path, folder, graph, merged, documents)
    found = [*graph.problems, *problems, *misspelt, *_misspelt_variables(inventory)]
    if not graph.hosts and not graph.gaps:
        found.append(documents[0].problem((), "the inventory has no hosts", "name them under 'hosts:'"))
    return inventory, list(dict.fromkeys(found))


def _read(path: Path) -> list[Document]:
    if not path.is_dir():
        return [read_document(path)]
    files = [file for file in sorted(path.iterdir()) if _is_inventory(file)]
    if not files:
        raise InputError([Problem(str(path), 0, 0, "the directory holds no inventory file")])
    return [read_document(file) for file in files]


def _is_inventory(path: Path) -> bool:
    hidden = path.name.startswith(".") or path.name.endswith("~")
    return path.is_file() and not hidden and path.suffix not in _SKIPPED_SUFFIXES


def _assemble(
    path: Path, folder: Path, graph: Graph, merged: Merged, documents: list[Document]
) -> tuple[Inventory, list[Problem]]:
    members = graph.members()
    sources = Sources(
        everyone=merged.everyone,
        hosts=merged.hosts,
        groups={
            name: (g.document.file, *g.document.at(g.path, key=True)) for name, g in graph.groups.items()
        },
        names={name: (h.document.file, *h.document.at(h.path, key=True)) for name, h in graph.hosts.items()},
    )
    rendered = _rendered(folder, path, members, merged)
    hosts: dict[str, Host] = {}
    problems: list[Problem] = []
    for name, variables in rendered.items():
        at = Problem(*sources.names[name], "")
        connection, faults = connection_of(name, variables, merged.hosts[name], at, folder)
        problems += faults
        hosts[name] = Host(name, variables, merged.groups[name], connection)
    common = _magic(folder, path, members, rendered)
    everyone = RenderedVariables(merged.everyone, common)
    digest = _digest(folder, [*documents, *merged.documents])
    inventory = Inventory(path, hosts, members, everyone, digest, sources, not graph.gaps, tree=_tree(graph))
    return inventory, problems


def _tree(graph: Graph) -> dict[str, Branch]:
    """`ungrouped` comes first in `all`, as in Ansible."""
    return {
        name: Branch(
            group.written,
            tuple(group.hosts),
            tuple(sorted(group.children, key=lambda child: child != UNGROUPED)),
        )
        for name, group in graph.groups.items()
    }


def _rendered(
    folder: Path, path: Path, members: Mapping[str, tuple[str, ...]], merged: Merged
) -> Mapping[str, RenderedVariables]:
    rendered: dict[str, RenderedVariables] = {}
    common = _magic(folder, path, members, rendered)
    for name in merged.hosts:
        own = {
            "inventory_hostname": name,
            "inventory_hostname_short": name.split(".")[0],
            "group_names": [written for group in merged.groups[name] for written in spellings(group)],
        }
        rendered[name] = RenderedVariables(merged.hosts[name], common | own)
    return rendered


def _magic(
    folder: Path,
    path: Path,
    members: Mapping[str, tuple[str, ...]],
    rendered: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    groups = {written: list(hosts) for name, hosts in members.items() for written in spellings(name)}
    places = {"inventory_dir": str(folder.absolute()), "inventory_file": str(path.absolute())}
    return {"groups": groups, "hostvars": rendered, **places}


def _digest(folder: Path, documents: Iterable[Document]) -> str:
    """Over contents, and names relative to the folder: a moved inventory keeps its digest."""
    total = hashlib.sha256()
    for document in sorted({(d.file, d.digest) for d in documents}):
        name = Path(document[0]).relative_to(folder)
        total.update(f"{name}\0{document[1]}\n".encode())
    return total.hexdigest()


def _misspelt_groups(graph: Graph) -> Iterator[Problem]:
    """Groups whose names are near to ours, unless their hosts are in ours anyway or they add a number.

    They are taken for the groups that are meant, so that no role is missing for the same slip.
    """
    members = graph.members()
    for name, group in list(graph.groups.items()):
        near = nearest(name, (*ROLES, *SPELLINGS))
        if name in ROLES or near is None or name.rstrip("0123456789_-") == near:
            continue
        meant = canonical(near)
        inside = meant in graph.groups and name in graph.below(meant)
        if inside or (members[name] and set(members[name]) <= set(members.get(meant, ()))):
            continue
        reason = f"the group '{group.written}' has no meaning for a cluster, but is nearly '{near}'"
        yield group.document.problem(group.path, reason, f"did you mean '{near}'?", key=True)
        graph.join(graph.group(meant, group.document, group.path), group)


def _misspelt_variables(inventory: Inventory) -> Iterator[Problem]:
    slips = names.misspelt({name for variables in inventory.sources.hosts.values() for name in variables})
    for variables in inventory.sources.hosts.values():
        for name in slips.keys() & variables.keys():
            reason = f"'{name}' is not a connection variable"
            yield variables[name].problem((), reason, f"did you mean '{slips[name]}'?", key=True)
