"""What the spec says of Calico, as a value that has been checked. Words are Calico's own (docs, reference/installation
and reference/resources)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ENCAPSULATIONS = ("VXLAN", "VXLANCrossSubnet", "IPIP", "IPIPCrossSubnet", "None")
"""As the operator's Installation names them."""
MTU_LINKS = "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)"
"""The names of links at which Felix looks for the hosts' MTU (felix/config/config_params.go, MTUIfacePattern, 3.26 to
3.32)."""
INSTALLS = ("manifest", "operator")
OF_POLICIES = ("mtu", "felix", "env")
"""Keys of the section that are there where others carry pods' packets, too: under canal, and with policy_only."""
FEATURES = ("api_server", "csi", "flex_volume")
"""What the operator makes only where it is asked for."""
TYPHA_NODES = 50
"""Above so many nodes Typha is there by default (the manifest's own advice)."""
REFLECTORS = "route-reflectors"
"""The name of the peer that route reflectors are to all nodes."""
REFLECTOR = "route-reflector"
"""The label of nodes that are route reflectors, with the value true (docs, networking/configuring/bgp)."""
AUTODETECTION = "kubernetes-internal-ip"
"""The address that the kubelet was given: never a virtual one, never that of another link."""


@dataclass(frozen=True)
class IPPool:
    """Where pods get addresses: blocks of the prefix length `block_size`, for nodes that `node_selector` chooses.
    `nat_outgoing`: what leaves the pods' networks has the node's address."""

    name: str
    cidr: str
    encapsulation: str = "VXLAN"
    block_size: int = 26
    nat_outgoing: bool = True
    node_selector: str = "all()"
    disable_bgp_export: bool = False


@dataclass(frozen=True)
class BGPPeer:
    """A session that nodes have beside, or instead of, those with each other. `nodes` selects who has it; the peer is
    an `address` outside with its `as_number`, or the nodes that `peers` selects."""

    name: str
    nodes: str = "all()"
    address: str | None = None
    as_number: int | None = None
    peers: str | None = None


@dataclass(frozen=True)
class BGP:
    """`route_reflectors` are hosts; with some of them the other nodes have sessions with those alone. `mesh`: every
    node has one with every other. `service_*`: ranges of services that are announced to peers."""

    as_number: int = 64512
    mesh: bool = True
    listen_port: int = 179
    route_reflectors: tuple[str, ...] = ()
    cluster_id: str = "244.0.0.1"
    peers: tuple[BGPPeer, ...] = ()
    service_cluster_ips: tuple[str, ...] = ()
    service_external_ips: tuple[str, ...] = ()
    service_load_balancer_ips: tuple[str, ...] = ()

    @property
    def meshed(self) -> bool:
        """Every node has a session with every other."""
        return self.mesh and not self.route_reflectors

    @property
    def asked_for(self) -> bool:
        """Something in it makes no sense without BGP."""
        services = (self.service_cluster_ips, self.service_external_ips, self.service_load_balancer_ips)
        return bool(self.route_reflectors or self.peers or any(services))


@dataclass(frozen=True)
class Operator:
    """What the operator makes beside the network: an API server for Calico's own resources, and drivers that give pods
    volumes (`csi`, `flex_volume`), which only policies by application want. `installation` are further fields of its
    Installation."""

    api_server: bool = False
    csi: bool = False
    flex_volume: bool = False
    installation: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def features(self) -> tuple[str, ...]:
        return tuple(each for each in FEATURES if getattr(self, each))


@dataclass(frozen=True)
class Calico:
    """`install`: by its manifests, or by an `operator` that makes of one object what they say. `mtu` of pods, 0 for
    what the hosts' links leave. `autodetection` is the method by which a node finds its address. `felix` are fields of
    FelixConfiguration, `env` further variables of the container calico-node. `typha` None: above TYPHA_NODES nodes.
    `policy_only`: it brings no packets from node to node, others' routers do, to each node's pod CIDR; then it has no
    pools."""

    install: str = "manifest"
    pools: tuple[IPPool, ...] = ()
    mtu: int = 0
    autodetection: str = AUTODETECTION
    wireguard: bool = False
    typha: bool | None = None
    bgp: BGP = field(default_factory=BGP)
    felix: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    operator: Operator = field(default_factory=Operator)
    policy_only: bool = False

    @property
    def operated(self) -> bool:
        return self.install == "operator"

    @property
    def encapsulations(self) -> frozenset[str]:
        return frozenset(pool.encapsulation for pool in self.pools)

    @property
    def backend(self) -> str:
        """bird where routes are announced by BGP: that is how IPIP and plain packets find their node; VXLAN does
        without (Felix writes its routes, also those of CrossSubnet). none where routes are others'."""
        if self.policy_only:
            return "none"
        tunnelled = all(each.startswith("VXLAN") for each in self.encapsulations)
        return "vxlan" if tunnelled and not self.bgp.asked_for else "bird"

    @property
    def routed_families(self) -> tuple[str, ...]:
        """IP families whose pods are found by BGP; all, where none is."""
        routed = {pool.cidr for pool in self.pools if not pool.encapsulation.startswith("VXLAN")}
        cidrs = routed or {pool.cidr for pool in self.pools}
        return tuple(sorted({"IPv6" if ":" in each else "IPv4" for each in cidrs}))

    def with_typha(self, nodes: int) -> bool:
        """The operator and the manifest for policies alone have it always."""
        if self.operated or self.policy_only:
            return True
        return nodes > TYPHA_NODES if self.typha is None else self.typha

    @property
    def vxlan_port(self) -> int:
        """UDP, between nodes (docs, reference/felix/configuration)."""
        return self._number("vxlanPort", 4789)

    @property
    def vxlan_vni(self) -> int:
        """The number of VXLAN's network, on all nodes."""
        return self._number("vxlanVNI", 4096)

    @property
    def mtu_links(self) -> str:
        """The pattern of links' names that Felix finds the hosts' MTU at; what is empty counts as not there."""
        written = self.env.get("FELIX_MTUIFACEPATTERN") or self.felix.get("mtuIfacePattern") or MTU_LINKS
        return str(written)

    def wireguard_port(self, version: int) -> int:
        """UDP, between nodes; each IP family has a tunnel of its own."""
        if version == 4:
            return self._number("wireguardListeningPort", 51820)
        return self._number("wireguardListeningPortV6", 51821)

    def _number(self, field_name: str, default: int) -> int:
        """Felix takes a variable of its container before the field."""
        written = self.env.get(f"FELIX_{field_name.upper()}", self.felix.get(field_name, default))
        return int(str(written))

    def method(self, version: int) -> str:
        """How a node finds its address of an IP family: of several CIDRs those of the family."""
        name, _, value = self.autodetection.partition("=")
        if name != "cidr":
            return self.autodetection
        own = [each for each in value.split(",") if (":" in each) is (version == 6)]
        return f"cidr={','.join(own)}"


def typha_replicas(nodes: int) -> int:
    """The operator's rule (tigera/operator, pkg/common/typha)."""
    if nodes <= 2:
        return 1
    return 2 if nodes <= 4 else max(3, nodes // 200 + 2)
