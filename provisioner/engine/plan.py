"""The plan: a value that is computed from what was read. `apply` carries out this value and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from provisioner.engine.patched import Patched
from provisioner.resources.model import Change, Resource, Section


@dataclass(frozen=True)
class StagePlan:
    """One stage: the hosts it concerns in inventory order, and the changes of those that need any. `needs` as in
    playbook.model.Stage."""

    name: str
    hosts: tuple[str, ...]
    changes: Mapping[str, tuple[Change, ...]]
    serial: tuple[int, ...] = ()
    gate: str | None = None
    always: bool = False
    barrier: bool = False
    needs: str | None = None

    @property
    def count(self) -> int:
        return sum(len(changes) for changes in self.changes.values())


@dataclass(frozen=True)
class Plan:
    """`inputs` is the digest of everything that was compiled. `texts` holds what differs by (host, resource id)."""

    inventory: str
    inputs: str
    stages: tuple[StagePlan, ...]
    resources: int = 0
    texts: Mapping[tuple[str, str], tuple[Section, ...]] = field(default_factory=dict, repr=False)
    selection: Mapping[str, Any] = field(default_factory=dict)
    """What the run was limited to (limit, tags, stages, playbook); plain values."""
    patched: tuple[Patched, ...] = ()
    """Why the manifests that change are not as their publishers have them, where that was asked for."""

    def changes(self) -> Iterator[tuple[str, str, Change]]:
        """(stage, host, change) in the order of the stages."""
        for stage in self.stages:
            for host, changes in stage.changes.items():
                for change in changes:
                    yield stage.name, host, change

    @property
    def count(self) -> int:
        return sum(stage.count for stage in self.stages)

    def changed_hosts(self) -> tuple[str, ...]:
        """Hosts with changes, in order of appearance."""
        return tuple(dict.fromkeys(host for _, host, _ in self.changes()))


@dataclass(frozen=True)
class Desired:
    """What compile made: per stage, per host, the resources."""

    name: str
    hosts: Mapping[str, tuple[Resource, ...]]
    serial: tuple[int, ...] = ()
    gate: str | None = None
    always: bool = False
    barrier: bool = False
    needs: str | None = None
