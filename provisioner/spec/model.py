"""What a cluster shall be like, as a value that has been checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from provisioner.inventory.aliases import CONTROL_PLANE
from provisioner.inventory.model import Inventory
from provisioner.inventory.secrets import Secret
from provisioner.spec.attachments import Attachment, Multus
from provisioner.spec.calico import Calico
from provisioner.spec.cilium import Cilium
from provisioner.spec.dns import Dns
from provisioner.spec.networkpods import NetworkPods
from provisioner.spec.policies import Policy
from provisioner.spec.tuning import Tuning


@dataclass(frozen=True)
class Kubernetes:
    """`version` is exact, without a leading v ("1.33.13")."""

    version: str

    @property
    def minor(self) -> int:
        return int(self.version.split(".")[1])


@dataclass(frozen=True)
class Flannel:
    """`mtu` is the hosts' (the outer one): pods get it less what the back end adds; None leaves it to flannel, which
    takes the link's. The link is the one named by `interface`, the first that `interface_regex` matches by name or
    address, or the one that leads to `can_reach`; with none of them that of the node's address.

    `port` is UDP's of VXLAN, WireGuard and udp, `port_ipv6` that of WireGuard's IPv6 tunnel; `vni`, `gbp` (group policy
    bits) and `learning` are VXLAN's; with `direct_routing` nodes of one subnet do without VXLAN or IPIP. `mode` and
    `keepalive` (seconds; 0: none) are WireGuard's.
    """

    backend: str = "vxlan"
    vni: int = 1
    port: int = 0
    port_ipv6: int = 51821
    mtu: int | None = None
    interface: str | None = None
    interface_regex: str | None = None
    can_reach: str | None = None
    direct_routing: bool = False
    gbp: bool = False
    learning: bool = False
    mode: str = "separate"
    keepalive: int = 0

    PORTS: ClassVar[Mapping[str, int]] = MappingProxyType({"vxlan": 8472, "wireguard": 51820, "udp": 8285})
    """The UDP port by back end."""

    @property
    def udp_port(self) -> int:
        """0 for a back end that has none."""
        return self.port or self.PORTS.get(self.backend, 0)

    @property
    def udp_port_ipv6(self) -> int:
        """Where WireGuard is called over IPv6: one tunnel for both families listens at one port, and tells the others
        the one that is written for IPv6 (flannel 0.28, pkg/backend/wireguard, newSubnetAttrs)."""
        return self.port_ipv6 if self.mode == "separate" else self.udp_port


@dataclass(frozen=True)
class Network:
    """CIDRs are in canonical form, one for each IP family, the primary family first.

    `node_cidr_mask` is the prefix length of each node's IPv4 pod CIDR, `node_cidr_mask_ipv6` that of its IPv6
    one. `allow_untested`: versions need not have been tried together by anybody. `pods` are the plug-in's own;
    `policies` say what others may send and get. `attachments` are networks that pods get beside the cluster's own; then
    there is `multus`.
    """

    plugin: str = "flannel"
    pod_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16",)
    node_cidr_mask: int = 24
    node_cidr_mask_ipv6: int = 64
    allow_untested: bool = False
    flannel: Flannel = field(default_factory=Flannel)
    calico: Calico = field(default_factory=Calico)
    cilium: Cilium = field(default_factory=Cilium)
    policies: tuple[Policy, ...] = ()
    multus: Multus | None = None
    attachments: tuple[Attachment, ...] = ()
    pods: NetworkPods = field(default_factory=NetworkPods)

    @property
    def ipv6(self) -> bool:
        """Pods have addresses of it."""
        return any(":" in cidr for cidr in self.pod_cidrs)

    @property
    def carrier(self) -> str:
        """Who brings packets from node to node: flannel under canal, too."""
        return "flannel" if self.plugin == "canal" else self.plugin

    @property
    def backend(self) -> str:
        """How packets get from node to node, in the carrier's words."""
        chosen: Flannel | Calico | Cilium = getattr(self, self.carrier)
        return chosen.backend

    @property
    def kube_proxy(self) -> bool:
        """Services are kube-proxy's; else the plug-in's."""
        return not (self.plugin == "cilium" and self.cilium.kube_proxy_replacement)


@dataclass(frozen=True)
class Ipvs:
    """Of kube-proxy's mode ipvs: how connections are spread, and whether a node answers ARP for its own addresses only
    (what load balancers such as MetalLB need)."""

    scheduler: str = "rr"
    strict_arp: bool = False


@dataclass(frozen=True)
class Proxy:
    """`mode` is iptables, nftables or ipvs."""

    mode: str = "iptables"
    ipvs: Ipvs = field(default_factory=Ipvs)


@dataclass(frozen=True)
class Endpoint:
    """Where clients and nodes reach the API server."""

    host: str
    port: int = 6443

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


LOCAL_ENDPOINT = Endpoint("127.0.0.1")
"""Of nodes that have a load balancer of their own, or an API server."""


@dataclass(frozen=True)
class Existing:
    """A cluster that others have built, and where its parts lie: `kubernetes` and `etcd` are the folders with bin, cfg
    and ssl. `reissue_api_certificate`: an API certificate that lacks names is signed anew by the cluster's own CA."""

    preset: str
    kubernetes: str = "/opt/kubernetes"
    etcd: str = "/opt/etcd"
    admin_kubeconfig: str = "/root/.kube/config"
    reissue_api_certificate: bool = False


@dataclass(frozen=True)
class LoadBalancer:
    """`mode` is group, for the hosts of the group load_balancer (there may be none), or local: each node has one of its
    own, at 127.0.0.1. `vip` is the address that the load balancers of the group share: always one of them has it. None
    where clients name a load balancer, or know several by one DNS name. `virtual_router_id` tells it from other VIPs on
    the link (RFC 5798)."""

    mode: str = "group"
    vip: str | None = None
    virtual_router_id: int = 0


@dataclass(frozen=True)
class Registry:
    """`host` is the name in image references; `address` None means one outside the inventory, where `ca` is the file
    with its authority (None: the cluster's own) and `username` who pulls and pushes. `kind` harbor: its project is made
    before the first image goes there, `public` or not (None: private, or as it is). With `preload` there is none: the
    images come to each node over SSH."""

    host: str
    port: int = 5000
    address: str | None = None
    project: str = ""
    ca: str | None = None
    username: str | None = None
    password: Secret | None = None
    kind: str = "distribution"
    public: bool | None = None
    preload: bool = False


@dataclass(frozen=True)
class Runtime:
    name: str = "containerd"


@dataclass(frozen=True)
class HttpProxy:
    """The way from the site to the world. `no_proxy` is what, beside the cluster's own, is reached without it."""

    url: str
    no_proxy: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taint:
    """`effect` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str
    effect: str

    @property
    def slot(self) -> tuple[str, str]:
        """Key and effect: what a node has only one taint of."""
        return self.key, self.effect

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


CONTROL_PLANE_TAINT = Taint("node-role.kubernetes.io/control-plane", "", "NoSchedule")


EVICTION_HARD: Mapping[str, str] = MappingProxyType(
    {
        "memory.available": "100Mi",
        "nodefs.available": "10%",
        "nodefs.inodesFree": "5%",
        "imagefs.available": "15%",
        "imagefs.inodesFree": "5%",
    }
)
"""The kubelet's own (pkg/kubelet/apis/config/v1beta1/defaults_linux.go). All are written out always: a kubelet that is
given one of them takes the others for 0."""


@dataclass(frozen=True)
class NodeSpec:
    """What is particular to one host. `node` says whether it joins the cluster as a node.

    `address` is where other hosts reach it; an IP address for every host with a role. `pod_pids_limit` is how many
    processes a pod may have, -1 for any number. `kube_reserved` and `system_reserved`, by resource, are what is written
    of what pods do not get; where nothing is, that depends on the host (kube.reserved). `eviction_hard` is whole, by
    signal. Amounts are in the kubelet's terms. `selinux_booleans` are turned on where there is SELinux.
    `second_address` is one of the other IP family, where one is written.
    """

    address: str
    node: bool
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    taints: tuple[Taint, ...] = ()
    interface: str | None = None
    max_pods: int = 110
    pod_pids_limit: int = 4096
    kube_reserved: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    system_reserved: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    eviction_hard: Mapping[str, str] = field(default_factory=lambda: EVICTION_HARD)
    selinux_booleans: tuple[str, ...] = ()
    second_address: str | None = None


@dataclass(frozen=True)
class ClusterSpec:
    """`bundle` is an absolute path; None means the cache's. `bundle_public_key`, minisign's or the absolute path of
    one, says that the bundle has to be signed. `firewall` is check, manage or ignore.

    `nodes` has every host of the inventory, by name.
    """

    name: str
    kubernetes: Kubernetes
    network: Network
    proxy: Proxy
    dns: Dns
    endpoint: Endpoint
    load_balancer: LoadBalancer
    registry: Registry
    runtime: Runtime
    nodes: Mapping[str, NodeSpec]
    bundle: str | None = None
    bundle_public_key: str | None = None
    firewall: str = "check"
    http_proxy: HttpProxy | None = None
    existing: Existing | None = None
    tuning: Tuning = field(default_factory=Tuning)

    @property
    def nodes_endpoint(self) -> Endpoint:
        """Where nodes reach the API server."""
        return self.endpoint if self.load_balancer.mode == "group" else LOCAL_ENDPOINT


def local_balancers(inventory: Inventory, spec: ClusterSpec) -> tuple[str, ...]:
    """The nodes that have a load balancer of their own. Where an API server runs, that is what its node talks to."""
    if spec.load_balancer.mode != "local":
        return ()
    servers = {host.name for host in inventory.group(CONTROL_PLANE)}
    return tuple(name for name, node in spec.nodes.items() if node.node and name not in servers)


def load_spec(inventory: Inventory) -> ClusterSpec:
    """The cluster that `inventory` describes. Raises InputError with every problem in it."""
    from provisioner.spec import load  # it builds the classes of this file

    return load.load_spec(inventory)
