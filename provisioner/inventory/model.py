"""The inventory as a value: hosts with merged variables and connections, groups, and places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Problem
from provisioner.inventory import patterns
from provisioner.inventory.aliases import canonical
from provisioner.inventory.graph import Variable
from provisioner.inventory.secrets import Secret

Position = tuple[str, int, int]
"""File, line and column; both count from 1."""


@dataclass(frozen=True)
class Connection:
    """How a host is reached. `timeout` is in seconds; `user` None leaves it to the SSH configuration.

    `key_file` is absolute; None means the agent's or the default keys.
    """

    address: str
    port: int = 22
    user: str | None = None
    password: Secret | None = None
    key_file: Path | None = None
    become: bool = False
    become_user: str = "root"
    become_password: Secret | None = None
    timeout: float = 10.0
    host_key_checking: bool = True
    proxy_jump: str | None = None
    proxy_command: str | None = None


@dataclass(frozen=True)
class Host:
    """One host. `vars` are merged and rendered when read; reading a broken one raises InputError.

    `groups` are the groups it is in, directly or not, but `all`; sorted by name, in canonical spelling.
    """

    name: str
    vars: Mapping[str, Any]
    groups: tuple[str, ...]
    connection: Connection


@dataclass(frozen=True)
class Sources:
    """Variables as written and where, and where groups and hosts are named."""

    everyone: Mapping[str, Variable]
    hosts: Mapping[str, Mapping[str, Variable]]
    groups: Mapping[str, Position]
    names: Mapping[str, Position]


@dataclass(frozen=True)
class Branch:
    """One group as the files have it: its spelling there, and what is named in it directly, in their order.

    `children` are canonical names.
    """

    written: str
    hosts: tuple[str, ...]
    children: tuple[str, ...]


@dataclass(frozen=True)
class Inventory:
    """`hosts` in the order of the files; `groups` by canonical name, members in that order too.

    `variables` are those of `all`, rendered without a host. `digest` is the SHA-256, in hex, over all files
    read. `whole` is False when something in them was not understood, so that hosts or variables may be missing.
    `tree` has every group by canonical name, `all` and `ungrouped` too.
    """

    path: Path
    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]
    variables: Mapping[str, Any]
    digest: str
    sources: Sources = field(repr=False)
    whole: bool = True
    tree: Mapping[str, Branch] = field(default_factory=dict, repr=False)

    def match(self, pattern: str) -> tuple[Host, ...]:
        """The hosts that an Ansible pattern selects.

        Raises InputError, with the nearest name, when it names nothing.
        """
        try:
            names = patterns.match(pattern, tuple(self.hosts), self.groups)
        except patterns.PatternError as error:
            raise InputError([Problem(str(self.path), 0, 0, str(error), error.hint)]) from None
        return tuple(self.hosts[name] for name in names)

    def group(self, name: str) -> tuple[Host, ...]:
        """The hosts of a group, by any of its spellings; none when there is no such group."""
        return tuple(self.hosts[host] for host in self.groups.get(canonical(name), ()))

    def origin(self, host: str | None, *path: str | int, key: bool = False) -> Position:
        """Where a variable, or what is at `path` in it, was written: that of `host`, or of `all` when None.

        With `key` the place of its key. The nearest thing known when there is no such variable.
        """
        variables = self.sources.everyone if host is None else self.sources.hosts.get(host, {})
        variable = variables.get(str(path[0])) if path else None
        if variable is not None:
            where = variable.document.at((*variable.path, *path[1:]), key=key)
            return (variable.document.file, *where)
        if host is None:
            return self.origin_of_group("all")
        return self.sources.names.get(host, (str(self.path), 0, 0))

    def written(self, host: str | None, *path: str | int) -> str:
        """How a number or a boolean at `path` in a variable of `host`, or of `all`, is spelt; "" for anything else."""
        variables = self.sources.everyone if host is None else self.sources.hosts.get(host, {})
        variable = variables.get(str(path[0])) if path else None
        return "" if variable is None else variable.written(path[1:])

    def origin_of_group(self, name: str) -> Position:
        """Where a group is named; the inventory's first line when it is not."""
        return self.sources.groups.get(canonical(name), (str(self.path), 1, 1))


def load_inventory(path: Path) -> Inventory:
    """The inventory file, or directory of files, at `path`.

    Raises InputError with all problems that were found.
    """
    from provisioner.inventory import load  # it builds the classes of this file

    return load.load_inventory(path)
