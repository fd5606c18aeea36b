"""A migration at work: its hosts, its locks, and how it tells what it has done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from provisioner.action.exchange import Running
from provisioner.action.migration.change import Change
from provisioner.action.transition import Transition
from provisioner.engine.events import Changed, Emit, Step
from provisioner.engine.execute import Outcome
from provisioner.inventory.model import Inventory
from provisioner.remote.lock import RemoteLock
from provisioner.remote.pool import Pool
from provisioner.remote.session import Session
from provisioner.spec.model import ClusterSpec

Make = Callable[[], int]
"""Makes hosts and objects as they were found to have to be: the exit code."""


class Maker(Protocol):
    """Makes of a cluster what a step of a migration wants of it."""

    def check(self, run: Run) -> None:
        """Raises InputError and ProvisionError for what is in the way, before anything is changed."""

    def begin(self, run: Run) -> None:
        """What has to be there before pods are made that measure."""

    def make(self, run: Run, transition: Transition, *, of_old: bool = False) -> Make:
        """For the new network, or the old one. Raises as `check`; nothing is changed before the result is called."""

    def objects(self, run: Run, spec: ClusterSpec) -> list[dict[str, Any]]:
        """Of the network that `spec` has, by their names."""


@dataclass
class Run:
    """One migration at work."""

    change: Change
    maker: Maker
    pool: Pool
    emit: Emit
    stack: ExitStack
    held: dict[str, RemoteLock]
    written: Inventory
    """The inventory as its user has written it."""
    exchange: Running | None = None
    """Pods that ask each other all the time; None where they cannot."""
    seconds: dict[str, float] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    """How many changes by step."""
    _at: str = ""

    @property
    def plane(self) -> Session:
        return self.pool.session(self.change.target.state_host)

    @property
    def planes(self) -> list[str]:
        return [host.name for host in self.change.target.inventory.group("kube_control_plane")]

    @property
    def keepers(self) -> list[Session]:
        """All control planes, `plane` first: what is kept lies on each, because one may be removed."""
        return [self.plane, *(self.pool.session(each) for each in self.planes if each != self.plane.host)]

    @property
    def nodes(self) -> list[str]:
        """Workers first: pods of control planes are the cluster's own."""
        planes = set(self.planes)
        every = [name for name, node in self.change.new.nodes.items() if node.node]
        return [*(each for each in every if each not in planes), *(each for each in every if each in planes)]

    @contextmanager
    def step(self, name: str, subject: str = "") -> Iterator[None]:
        began, self._at = time.monotonic(), name
        yield
        seconds = time.monotonic() - began
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.emit(Step(task=name, subject=subject, seconds=seconds))

    def tell(self, hosts: Iterable[str], resource: str, detail: str, action: str = "update") -> None:
        """What the step that is at work has changed there, beside what a plan's own changes tell."""
        for host in hosts:
            self.changed[self._at] = self.changed.get(self._at, 0) + 1
            self.emit(Changed(stage=self._at, host=host, resource=resource, action=action, detail=detail))

    def guard(self, host: str) -> None:
        """Raises ProvisionError when a lock is lost that work on the host needs."""
        for each in {self.change.target.state_host, host} & set(self.held):
            self.held[each].ensure()

    def count(self, outcome: Outcome) -> int:
        """Adds what came of a plan: its exit code."""
        self.changed[self._at] = self.changed.get(self._at, 0) + sum(outcome.changed.values())
        return outcome.exit_code
