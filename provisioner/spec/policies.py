"""What the spec says of traffic that pods may have, as values that have been checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

KINDS = ("allow", "deny", "isolate")
PROTOCOLS = ("TCP", "UDP", "SCTP")
DNS_NAMESPACE = "kube-system"
DNS_LABELS: Mapping[str, str] = MappingProxyType({"k8s-app": "kube-dns"})
"""Of the DNS's pods (templates/coredns)."""
CALICO_NAMESPACES = frozenset({"calico-system", "tigera-operator", "calico-apiserver"})
"""Calico's own under its operator: not all of its pods are in their hosts' network."""
STANDING = frozenset({"default", DNS_NAMESPACE, "kube-public", "kube-node-lease"})
"""Namespaces that API servers make themselves (kubernetes, pkg/controlplane/controller/systemnamespaces)."""


@dataclass(frozen=True)
class Ports:
    """From `first` to `last`."""

    first: int
    last: int
    protocol: str = "TCP"


@dataclass(frozen=True)
class Peer:
    """Whom pods may talk with. Those of a `cidr` without `excluded`; or pods: with the labels `pods` (None: any) in
    `namespaces` (none: the policy's own). `ports` of who is asked; none: all."""

    pods: Mapping[str, str] | None = None
    namespaces: tuple[str, ...] = ()
    cidr: str | None = None
    excluded: tuple[str, ...] = ()
    ports: tuple[Ports, ...] = ()


@dataclass(frozen=True)
class Policy:
    """In each of `namespaces`. `kind` deny: pods neither send nor get anything. isolate: they talk among themselves.
    allow: those with the labels `pods` get what comes from `sources`, and send to `destinations`; of a direction that
    has no peers nothing is said. What sends at all may ask the cluster's DNS.
    """

    name: str
    namespaces: tuple[str, ...]
    kind: str = "allow"
    pods: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    sources: tuple[Peer, ...] = ()
    destinations: tuple[Peer, ...] = ()
