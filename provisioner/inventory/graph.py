"""Groups, their children, hosts and inline variables: what the inventory files say, before any merging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from provisioner.errors import Problem
from provisioner.inventory.aliases import canonical
from provisioner.inventory.documents import Document

ALL = "all"
UNGROUPED = "ungrouped"
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Variable:
    """A variable's value as written, and where: `path` leads to it in `document`."""

    value: Any
    document: Document
    path: Path

    def written(self, inside: Path = ()) -> str:
        """How a number or a boolean in it is spelt in the file; "" for anything else."""
        return self.document.written((*self.path, *inside))

    def problem(self, inside: Path, reason: str, hint: str = "", *, key: bool = False) -> Problem:
        return self.document.problem((*self.path, *inside), reason, hint, key=key)


@dataclass
class Group:
    """One group while the files are read. `written` is its name in the file, which orders siblings."""

    name: str
    written: str
    document: Document
    path: Path
    children: dict[str, None] = field(default_factory=dict)
    parents: dict[str, None] = field(default_factory=dict)
    hosts: dict[str, None] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)


@dataclass
class HostEntry:
    """One host while the files are read."""

    name: str
    document: Document
    path: Path
    variables: dict[str, Variable] = field(default_factory=dict)


@dataclass
class Graph:
    groups: dict[str, Group] = field(default_factory=dict)
    hosts: dict[str, HostEntry] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    gaps: bool = False
    """Something could not be understood, so that groups, hosts or variables are missing here."""

    def lose(self, problem: Problem) -> None:
        """Notes a problem for which a part of the files is left out."""
        self.problems.append(problem)
        self.gaps = True

    def group(self, written: str, document: Document, path: Path) -> Group:
        """The group with this name, made if it is new."""
        name = canonical(written)
        return self.groups.setdefault(name, Group(name, written, document, path))

    def host(self, name: str, document: Document, path: Path) -> HostEntry:
        return self.hosts.setdefault(name, HostEntry(name, document, path))

    def join(self, parent: Group, child: Group) -> bool:
        """Makes `child` a child of `parent`; False when that closes a loop."""
        if parent is child or parent.name in self.below(child.name):
            return False
        parent.children[child.name] = None
        child.parents[parent.name] = None
        return True

    def below(self, name: str) -> set[str]:
        """The group and all groups under it."""
        found, open_ = {name}, [name]
        while open_:
            for child in self.groups[open_.pop()].children:
                if child not in found:
                    found.add(child)
                    open_.append(child)
        return found

    def finish(self, document: Document) -> None:
        """Hangs groups without a parent under `all`, and hosts without another group under `ungrouped`."""
        every = self.group(ALL, document, ())
        ungrouped = self.group(UNGROUPED, document, ())
        for group in list(self.groups.values()):
            if not group.parents and group is not every:
                self.join(every, group)
        grouped = {host for group in self.groups.values() if group is not every for host in group.hosts}
        for host in self.hosts:
            if host not in grouped:
                ungrouped.hosts[host] = None

    def members(self) -> Mapping[str, tuple[str, ...]]:
        """Host names by group, children's included, in the order of the files."""
        order = {name: index for index, name in enumerate(self.hosts)}
        members = {}
        for name in self.groups:
            hosts = {host for group in self.below(name) for host in self.groups[group].hosts}
            members[name] = tuple(sorted(hosts, key=order.__getitem__))
        return members

    def depths(self) -> Mapping[str, int]:
        """The longest way from `all` to each group."""
        depths = dict.fromkeys(self.groups, 0)
        for name in self._parents_first():
            for child in self.groups[name].children:
                depths[child] = max(depths[child], depths[name] + 1)
        return depths

    def _parents_first(self) -> Iterator[str]:
        waiting = {name: len(group.parents) for name, group in self.groups.items()}
        ready = [name for name, count in waiting.items() if count == 0]
        while ready:
            name = ready.pop()
            yield name
            for child in self.groups[name].children:
                waiting[child] -= 1
                if waiting[child] == 0:
                    ready.append(child)
