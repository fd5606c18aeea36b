"""What the spec says of the cluster's DNS, as a value that has been checked. Words of `forward` are CoreDNS'."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

NODES_FILE = "/etc/resolv.conf"
"""The only file that DNS pods have of their node: its resolv.conf, by the kubelet's resolvConf (dnsPolicy Default)."""
FORWARD_POLICIES = ("random", "round_robin", "sequential")
MOST_SERVERS = 15
"""That one `forward` takes (CoreDNS 1.14, plugin/forward)."""
NODES_A_REPLICA = 16


@dataclass(frozen=True)
class Forward:
    """How name servers outside are asked. `max_concurrent` queries at a time, further ones are refused; after
    `max_fails` failed health checks a server is left out (0: never). `force_tcp`: never by UDP; `prefer_udp`: by UDP
    first, whatever the client came by."""

    policy: str = "random"
    max_concurrent: int = 1000
    max_fails: int = 2
    force_tcp: bool = False
    prefer_udp: bool = False


@dataclass(frozen=True)
class Dns:
    """`upstreams` are name servers for all names outside, ADDRESS or ADDRESS:PORT, or NODES_FILE; none: nobody answers
    for those. `stub_domains`: domains whose names others answer for, with their name servers."""

    address: str
    domain: str = "cluster.local"
    upstreams: tuple[str, ...] = (NODES_FILE,)
    stub_domains: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    forward: Forward = field(default_factory=Forward)
    replicas: int = 2


def dns_replicas(nodes: int) -> int:
    """How many DNS pods a cluster has by itself: one for 16 nodes, but two where there are two nodes.

    The linear rule of cluster-proportional-autoscaler with Kubernetes' parameters for DNS (kubernetes 1.33,
    cluster/addons/dns-horizontal-autoscaler: nodesPerReplica 16, preventSinglePointFailure), without its second part,
    one for 256 cores, which is more only where nodes have more than 16: they are not known before hosts are read.
    """
    return max(-(-nodes // NODES_A_REPLICA), min(nodes, 2), 1)
