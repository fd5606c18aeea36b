"""How a cluster is, as values: what `provision status` found. Nothing here is read or judged twice."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.engine.history import RunRecord


@dataclass(frozen=True)
class Component:
    """One part of the control plane on one host. `detail` says what is wrong, or what else is known."""

    name: str
    host: str
    well: bool
    detail: str = ""


@dataclass(frozen=True)
class NodeHealth:
    """One node, of the spec or of the cluster. `age` is in seconds; `detail` says why it is not ready.

    `known` is False for one that the spec does not have, `joined` for one that the cluster does not have.
    """

    name: str
    ready: bool
    roles: tuple[str, ...] = ()
    version: str = ""
    age: float = 0.0
    schedulable: bool = True
    detail: str = ""
    known: bool = True
    joined: bool = True


@dataclass(frozen=True)
class Expiry:
    """Until when a certificate file is good."""

    path: str
    subject: str
    ends: dt.datetime


@dataclass(frozen=True)
class HostHealth:
    """One host. `reason` says why it was not reached, or what on it could not be read; `units` are (name, state) of its
    services, the state in systemd's words; `drift` is the number of changes that `apply` would make, None when that is
    not known; `changed` is when and by which run it was changed last.
    """

    name: str
    reached: bool
    reason: str = ""
    units: tuple[tuple[str, str], ...] = ()
    certificates: tuple[Expiry, ...] = ()
    drift: int | None = None
    changed: tuple[str, str] | None = None

    @property
    def idle(self) -> tuple[tuple[str, str], ...]:
        """Services that do not run."""
        return tuple(unit for unit in self.units if unit[1] != "active")

    @property
    def soonest(self) -> Expiry | None:
        """The certificate that ends first."""
        return min(self.certificates, key=lambda each: each.ends, default=None)


@dataclass(frozen=True)
class ClusterHealth:
    """The whole. `versions` are what runs, by component; `wanted` is the spec's Kubernetes version.

    `state_format` is None and `uuid` empty where there is no cluster; `faults` are what could not be read, or does not
    fit together; at `warnings` somebody should look, though the cluster is well; `drift_unknown` says why no plan could
    be made.
    """

    name: str
    wanted: str
    network: str
    proxy: str
    at: dt.datetime
    uuid: str = ""
    state_format: int | None = None
    versions: Mapping[str, str] | None = None
    nodes: tuple[NodeHealth, ...] = ()
    components: tuple[Component, ...] = ()
    hosts: tuple[HostHealth, ...] = ()
    faults: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    drift_unknown: str = ""
    last_run: RunRecord | None = None

    @property
    def troubles(self) -> tuple[str, ...]:
        """Why the cluster is not healthy, most important first; drift alone is none."""
        found = [f"{host.name} is not reached: {host.reason}" for host in self.hosts if not host.reached]
        found += self.faults
        idle = {(unit, host.name): state for host in self.hosts for unit, state in host.idle}
        found += [f"{unit} on {host} is {state}" for (unit, host), state in idle.items()]
        found += [
            f"{each.name} on {each.host}: {each.detail}"
            for each in self.components
            if not each.well and (each.name, each.host) not in idle
        ]
        found += [f"node {node.name} {_why(node)}" for node in self.nodes if not node.ready]
        found += [
            f"{host.name}: {each.path} ended on {each.ends:%Y-%m-%d}"
            for host in self.hosts
            for each in host.certificates
            if each.ends <= self.at
        ]
        return tuple(found)

    @property
    def exit_code(self) -> int:
        """0 healthy, 1 not, 4 when hosts were not reached."""
        if any(not host.reached for host in self.hosts):
            return 4
        return 1 if self.troubles else 0


def _why(node: NodeHealth) -> str:
    return f"is not ready: {node.detail}" if node.joined else "has not joined"
