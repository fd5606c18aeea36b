"""Networks that pods get beside the cluster's own, as values that have been checked. Words are those of the CNI
plug-ins (containernetworking/plugins 1.9, plugins/main and plugins/ipam) and of multus."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

TYPES = ("macvlan", "ipvlan", "bridge", "host-device", "sriov")
MODES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"macvlan": ("bridge", "private", "vepa", "passthru"), "ipvlan": ("l2", "l3")}
)
"""The first one is what the plug-in takes by itself."""
IPAMS = ("host-local", "static", "dhcp", "none")
VARIANTS = ("thin", "thick")
"""thin: the runtime starts multus for each pod; thick: a daemon of the node does the work."""
DEFAULT_NETWORK: Mapping[str, str] = MappingProxyType(
    {
        "flannel": "10-flannel.conflist",
        "calico": "10-calico.conflist",
        "canal": "10-canal.conflist",
        "cilium": "05-cilium.conflist",
    }
)
"""The file in /etc/cni/net.d that is the cluster's own network, by plug-in."""
CONFIGURATIONS = ("00-multus.conf", "00-multus.conflist")
"""What multus itself writes there: which one depends on the version that the default network's file says
(multus 4.3, cmd/thin_entrypoint)."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Range:
    """Of a `subnet` the addresses from `start` to `end`, both included. `gateway` is never given to a pod."""

    subnet: str
    start: str | None = None
    end: str | None = None
    gateway: str | None = None

    @property
    def first(self) -> Address:
        """host-local leaves out the subnet's own address (plugins, ipam/host-local, allocator/range.go)."""
        return ipaddress.ip_address(self.start) if self.start else ipaddress.ip_network(self.subnet)[1]

    @property
    def last(self) -> Address:
        """In IPv4 it leaves out the broadcast address, too."""
        network = ipaddress.ip_network(self.subnet)
        return ipaddress.ip_address(self.end) if self.end else network[-2 if network.version == 4 else -1]

    @property
    def reserved(self) -> Address:
        """The gateway's address: the first one where none is said."""
        return ipaddress.ip_address(self.gateway) if self.gateway else ipaddress.ip_network(self.subnet)[1]

    def gives(self, address: Address) -> bool:
        """Whether a pod may get it."""
        same = address.version == self.first.version
        return same and int(self.first) <= int(address) <= int(self.last) and address != self.reserved

    def meets(self, other: Range) -> bool:
        """Whether there are addresses that both give."""
        same = self.first.version == other.first.version
        return same and int(self.first) <= int(other.last) and int(other.first) <= int(self.last)


@dataclass(frozen=True)
class StaticAddress:
    """An `address` with its prefix length."""

    address: str
    gateway: str | None = None


@dataclass(frozen=True)
class Route:
    """The CIDR `to`, by `via`; by the network's own gateway where that is None."""

    to: str
    via: str | None = None


@dataclass(frozen=True)
class Ipam:
    """Who gives pods their addresses: `ranges` are host-local's, counted on each node by itself; `addresses` are
    static's, and without any each pod names its own."""

    type: str = "none"
    ranges: tuple[Range, ...] = ()
    addresses: tuple[StaticAddress, ...] = ()
    routes: tuple[Route, ...] = ()


@dataclass(frozen=True)
class Attachment:
    """A NetworkAttachmentDefinition. `master` is the host's link below macvlan or ipvlan, `bridge` the host's bridge,
    which is made where there is none, `device` the link that moves into the pod, and `resource` what a device plug-in
    offers. `nodes` are those that have the link, all where there are none."""

    name: str
    type: str
    namespace: str = "default"
    master: str | None = None
    mode: str | None = None
    bridge: str | None = None
    is_gateway: bool = False
    masquerade: bool = False
    device: str | None = None
    resource: str | None = None
    mtu: int | None = None
    vlan: int | None = None
    nodes: tuple[str, ...] = ()
    ipam: Ipam = field(default_factory=Ipam)

    @property
    def link(self) -> str | None:
        """The host's link that it is about."""
        return self.master or self.bridge or self.device

    @property
    def module(self) -> str | None:
        """Of the kernel."""
        return self.type if self.type in ("macvlan", "ipvlan", "bridge") else None

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Multus:
    variant: str = "thin"
