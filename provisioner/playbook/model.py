"""Stages and tasks as the playbooks declare them, before any host is looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.inventory.documents import Document


@dataclass(frozen=True)
class Task:
    """One task: a module with unrendered arguments. `where` is its path in the document, for positions; `spelt` has
    keywords that stand there by another name."""

    name: str
    module: str
    args: Mapping[str, Any]
    where: tuple[str | int, ...]
    when: tuple[str, ...] = ()
    loop: Any = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()
    spelt: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A named step of a run. `serial` are the sizes of its batches, the last one that of all further ones (none: all
    hosts at once).

    `gate` names a check that must pass before any host goes beyond this stage; `always` runs it even when nothing
    changes. With `barrier` no host goes beyond it before all have ended it. `needs` names the last stage before it of
    which it needs that all hosts have ended it, gate and all: a host goes on with this one as soon as that holds and
    its own stages before it are done. `tags` are the stage's own, inherited by its tasks.
    """

    name: str
    hosts: str
    tasks: tuple[Task, ...]
    document: Document
    where: tuple[str | int, ...] = ()
    serial: tuple[int, ...] = ()
    gate: str | None = None
    always: bool = False
    barrier: bool = False
    needs: str | None = None
    tags: frozenset[str] = frozenset()
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Selection:
    """What a run is limited to; empty means everything. `component` is a stage's name or one of its tags."""

    tags: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    component: str | None = None

    def wants_stage(self, stage: Stage) -> bool:
        wanted = self.component is None or self.component in {stage.name, *stage.tags}
        return wanted and (not self.stages or stage.name in self.stages)

    def wants_task(self, task: Task) -> bool:
        return not self.tags or bool(task.tags & (self.tags | {"always"}))


@dataclass(frozen=True)
class Playbook:
    """The ordered stages, the folders to look for templates and files in, and the digest of all that was read."""

    stages: tuple[Stage, ...]
    roots: tuple[Path, ...]
    digest: str
