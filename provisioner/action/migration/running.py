"""A migration at work: its hosts, its locks, and how it tells what it has done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from provisioner.action.carry import carry_out
from provisioner.action.migration.change import Change
from provisioner.action.prepare import Prepared, prepare
from provisioner.action.transition import Transition
from provisioner.engine.events import Emit, Step
from provisioner.network.podnetwork import PodNetwork
from provisioner.remote.lock import RemoteLock
from provisioner.remote.pool import Pool
from provisioner.remote.session import Session
from provisioner.spec.model import ClusterSpec


@dataclass
class Run:
    """One migration at work."""

    change: Change
    pool: Pool
    emit: Emit
    stack: ExitStack
    held: dict[str, RemoteLock]
    seconds: dict[str, float] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)

    @property
    def plane(self) -> Session:
        return self.pool.session(self.change.target.state_host)

    @property
    def planes(self) -> list[str]:
        return [host.name for host in self.change.target.inventory.group("kube_control_plane")]

    @property
    def nodes(self) -> list[str]:
        """Workers first: pods of control planes are the cluster's own."""
        planes = set(self.planes)
        every = [name for name, node in self.change.new.nodes.items() if node.node]
        return [*(each for each in every if each not in planes), *(each for each in every if each in planes)]

    @contextmanager
    def step(self, name: str, subject: str = "") -> Iterator[None]:
        began = time.monotonic()
        yield
        seconds = time.monotonic() - began
        self.changed.setdefault(name, 1)
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        self.emit(Step(task=name, subject=subject, seconds=seconds))


def prepared_for(run: Run, transition: Transition, *, of_old: bool = False) -> Prepared:
    """What hosts are to be like with the new network, or the old one. Raises as `prepare`."""
    loaded = run.change.source if of_old else run.change.target
    return prepare(replace(loaded, transition=transition), run.pool, run.emit)


def carried(run: Run, prepared: Prepared) -> int:
    """Makes them so: the exit code."""
    _, outcome = carry_out(prepared, run.pool, run.emit, run.stack, run.held, None, lambda _: True)
    for name, count in outcome.changed.items():
        run.changed[name] = run.changed.get(name, 0) + count
    return outcome.exit_code


def objects_of(prepared: Prepared, spec: ClusterSpec) -> list[dict[str, Any]]:
    """Of the network that `spec` has, by their names."""
    network = PodNetwork(spec, prepared.text)
    return network.objects(lambda image: image)
