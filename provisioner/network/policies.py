"""Policies of the spec as plain NetworkPolicies (networking.k8s.io/v1), and the namespaces that they are in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from provisioner.spec.policies import DNS_NAMESPACE, STANDING, Peer, Policy, Ports

Object = dict[str, Any]

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that the API server gives each namespace (kubernetes 1.21, NamespaceDefaultLabelName)."""
DNS_PODS = {"k8s-app": "kube-dns"}
_TO_DNS = Peer(DNS_PODS, (DNS_NAMESPACE,), ports=(Ports(53, 53, "UDP"), Ports(53, 53, "TCP")))
"""CoreDNS' pods, not the service's address: policies are about what connections are once they are translated."""


def policy_objects(policies: Sequence[Policy]) -> list[Object]:
    """Namespaces first: what is in the spec need not be in the cluster yet."""
    spaces = {space for policy in policies for space in policy.namespaces} - STANDING
    made = [_in(space, policy) for policy in policies for space in policy.namespaces]
    made.sort(key=lambda each: (each["metadata"]["namespace"], each["metadata"]["name"]))
    namespaces = (
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}} for each in sorted(spaces)
    )
    return [*namespaces, *made]


def _in(namespace: str, policy: Policy) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": policy.name, "namespace": namespace},
        "spec": _spec(policy),
    }


def _spec(policy: Policy) -> Object:
    """A direction that is in policyTypes and has no rules is closed."""
    spec: Object = {"podSelector": _selector(policy.pods), "policyTypes": []}
    closed, among = policy.kind != "allow", (Peer({}),) if policy.kind == "isolate" else ()
    if closed or policy.sources:
        spec["policyTypes"].append("Ingress")
        spec["ingress"] = _rules("from", policy.sources or among)
    if closed or policy.destinations:
        spec["policyTypes"].append("Egress")
        spec["egress"] = _rules("to", [*(policy.destinations or among), _TO_DNS])
    return {name: each for name, each in spec.items() if each or name == "podSelector"}


def _rules(direction: str, peers: Iterable[Peer]) -> list[Object]:
    return [
        {direction: [_peer(each)], **({"ports": [_port(port) for port in each.ports]} if each.ports else {})}
        for each in peers
    ]


def _peer(peer: Peer) -> Object:
    if peer.cidr is not None:
        return {"ipBlock": {"cidr": peer.cidr, **({"except": list(peer.excluded)} if peer.excluded else {})}}
    spaces = {"namespaceSelector": _namespaces(peer.namespaces)} if peer.namespaces else {}
    return {**spaces, **({"podSelector": _selector(peer.pods)} if peer.pods is not None else {})}


def _namespaces(names: Sequence[str]) -> Object:
    if len(names) == 1:
        return {"matchLabels": {NAMESPACE_NAME: names[0]}}
    return {"matchExpressions": [{"key": NAMESPACE_NAME, "operator": "In", "values": sorted(names)}]}


def _selector(labels: Any) -> Object:
    return {"matchLabels": dict(sorted(labels.items()))} if labels else {}


def _port(ports: Ports) -> Object:
    end = {"endPort": ports.last} if ports.last != ports.first else {}
    return {"port": ports.first, **end, "protocol": ports.protocol}
