"""The spec while it is checked: values that passed so far, defaults where nothing is written, and places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provisioner.errors import Problem
from provisioner.inventory.aliases import CONTROL_PLANE, ETCD, LOAD_BALANCER, NODE, REGISTRY, ROLES
from provisioner.inventory.model import Host, Inventory, Position
from provisioner.spec.model import Network
from provisioner.spec.validation import Path
from provisioner.spec.values import IPAddress, IPNetwork, address, cidr, is_address
from provisioner.spec.versions import KUBEADM

__all__ = [
    "CONTROL_PLANE",
    "ETCD",
    "LOAD_BALANCER",
    "NODE",
    "REGISTRY",
    "Draft",
    "Placed",
    "Unusable",
    "default_host",
]

API_PORT = 6443
CIDR_DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "pod_cidrs": Network.pod_cidrs,
    "service_cidrs": Network.service_cidrs,
}


def default_host(cluster: str) -> str:
    """The registry's name when none is given."""
    return f"registry.{cluster}.internal"


class Unusable:
    """Stands for a value that is wrong: rules that need it have nothing to say."""


UNUSABLE = Unusable()


@dataclass(frozen=True)
class Placed:
    """A network, what it is for, and its path in the `cluster` section."""

    network: IPNetwork
    use: str
    path: Path


@dataclass(frozen=True)
class Draft:
    """`data` is the `cluster` section; `bad` and `bad_hosts` are what is wrong in it and in hosts."""

    inventory: Inventory
    data: Mapping[str, Any]
    bad: frozenset[Path]
    bad_hosts: frozenset[tuple[str, str]]
    """Host and variable."""
    transition: bool = False
    """The cluster is on its way from one size to another."""

    def get(self, *path: str, default: Any = None) -> Any:
        """The value at `path`; `default` when not written, UNUSABLE when it or what holds it is wrong."""
        if any(path[: len(bad)] == bad for bad in self.bad):
            return UNUSABLE
        value: Any = self.data
        for step in path:
            if not isinstance(value, dict) or step not in value:
                return default
            value = value[step]
        return value

    def host_value(self, host: str, name: str, default: Any = None) -> Any:
        """A variable of a host in the same way."""
        if (host, name) in self.bad_hosts:
            return UNUSABLE
        return self.inventory.hosts[host].vars.get(name, default)

    def networks(self, name: str) -> list[Placed]:
        """The CIDRs under `network` that are well-formed, or the default ones."""
        use = "pod CIDR" if name == "pod_cidrs" else "service CIDR"
        written = self.get("network", name)
        if isinstance(written, Unusable):
            return []
        if written is None:
            return [Placed(cidr(text), use, ("network", name)) for text in CIDR_DEFAULTS[name]]
        return [
            Placed(cidr(text), use, ("network", name, index))
            for index, text in enumerate(written)
            if ("network", name, index) not in self.bad
        ]

    def address_of(self, host: Host) -> IPAddress | None:
        """Where other hosts reach `host`; None when that is no IP address or wrong."""
        written = self.host_value(host.name, "node_address", host.connection.address)
        if isinstance(written, str) and is_address(written):
            return address(written)
        return None

    @property
    def preset(self) -> object:
        """The preset of a cluster that others have built; None for one of ours."""
        existing = self.get("existing")
        return existing.get("preset") if isinstance(existing, Mapping) else existing

    def is_node(self, host: Host) -> bool:
        # Whether a control plane that others have built is a node as well, only its group tells; kubeadm's always is.
        both = self.preset in (None, KUBEADM) and CONTROL_PLANE in host.groups
        in_group = NODE in host.groups or both
        return in_group and self.host_value(host.name, "node", True) is not False

    def nodes(self) -> tuple[Host, ...]:
        return tuple(host for host in self.inventory.hosts.values() if self.is_node(host))

    def hosts_with_role(self) -> Iterator[Host]:
        return (host for host in self.inventory.hosts.values() if any(role in host.groups for role in ROLES))

    def group(self, name: str) -> tuple[Host, ...]:
        return self.inventory.group(name)

    def problem(self, path: Path, reason: str, hint: str = "", *, key: bool = False) -> Problem:
        """A problem in the `cluster` section."""
        return Problem(*self.inventory.origin(None, "cluster", *path, key=key), reason, hint)

    def host_problem(self, host: str, name: str, reason: str, hint: str = "") -> Problem:
        """A problem at a variable of a host, or at the host's name when it has no such variable."""
        return Problem(*self.inventory.origin(host, name), reason, hint)

    def address_problem(self, host: Host, reason: str, hint: str = "") -> Problem:
        """A problem at what gives `host` its address."""
        return Problem(*self.address_place(host), reason, hint)

    def address_place(self, host: Host) -> Position:
        if "node_address" in host.vars:
            return self.inventory.origin(host.name, "node_address")
        return self.login_place(host)

    def login_place(self, host: Host) -> Position:
        """What says where `host` is logged into: a variable, or its name."""
        for name in ("ansible_host", "ansible_ssh_host"):
            if name in host.vars:
                return self.inventory.origin(host.name, name)
        return self.inventory.origin(host.name)

    def virtual_address(self) -> IPAddress | None:
        """The VIP: an endpoint that is an address of no host, before load balancers that are hosts."""
        host = self.get("endpoint", "host")
        if not isinstance(host, str) or not is_address(host) or not self.group(LOAD_BALANCER):
            return None
        owned = {self.address_of(each) for each in self.inventory.hosts.values()}
        return None if address(host) in owned else address(host)

    def group_problem(self, group: str, reason: str, hint: str = "") -> Problem:
        """A problem at a group's name."""
        return Problem(*self.inventory.origin_of_group(group), reason, hint)


def place(position: Position) -> str:
    """For a message that names a second place."""
    return f"line {position[1]}"
