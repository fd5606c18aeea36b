"""Which hosts a cluster needs."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.inventory.spelling import said
from provisioner.spec.draft import CONTROL_PLANE, ETCD, LOAD_BALANCER, NODE, REGISTRY, Draft
from provisioner.spec.values import dns_like, dns_slip

MAX_NODE_NAME = 63
"""A node's name is the value of its label kubernetes.io/hostname, and a longer one is not registered
(kubernetes/kubernetes#99156), though names of 253 characters are allowed otherwise."""
_CLUSTER_GROUPS = (ETCD, CONTROL_PLANE, NODE)


def groups_are_filled(draft: Draft) -> Iterator[Problem]:
    """A control plane, etcd, at least one node, and one registry that is either a host or named."""
    if not draft.inventory.whole or not draft.inventory.hosts:
        return  # who is missing may be in what could not be read; and that there are no hosts at all is told already
    if not draft.group(CONTROL_PLANE):
        hint = f"name at least one host under '{CONTROL_PLANE}'"
        yield draft.group_problem(CONTROL_PLANE, "no control plane: the group has no hosts", hint)
    if not draft.group(ETCD):
        hint = "one, three or five; usually the control-plane hosts"
        yield draft.group_problem(ETCD, f"no etcd: the group '{ETCD}' has no hosts", hint)
    if not any(draft.is_node(host) for host in draft.inventory.hosts.values()):
        yield draft.group_problem(NODE, "no node: nothing could run pods", f"name hosts under '{NODE}'")
    registries = draft.group(REGISTRY)
    if len(registries) > 1:
        reason = f"the group '{REGISTRY}' has {len(registries)} hosts; one is used"
        yield draft.group_problem(REGISTRY, reason, "keep one")
    if not registries and draft.get("registry", "host") is None:
        hint = f"name a host under '{REGISTRY}', or an existing registry in cluster.registry.host"
        yield draft.group_problem(REGISTRY, "no registry: nodes could pull no image", hint)
    balancers = draft.group(LOAD_BALANCER)
    if len(balancers) > 1 and draft.get("endpoint") is None:
        reason = f"there are {len(balancers)} load balancers and no endpoint"
        hint = "name the address or DNS name that they share in cluster.endpoint.host"
        yield draft.group_problem(LOAD_BALANCER, reason, hint)


def etcd_has_a_majority(draft: Draft) -> Iterator[Problem]:
    members = len(draft.group(ETCD)) if draft.inventory.whole else 0
    if members and members % 2 == 0:
        fewer = "1 does" if members == 2 else f"{members - 1} do"
        reason = f"{members} etcd members tolerate no more failures than {fewer}"
        yield draft.group_problem(ETCD, reason, f"use {members - 1} or {members + 1}")


def nodes_are_nodes(draft: Draft) -> Iterator[Problem]:
    """`node: false` is for control-plane hosts that shall run no pods."""
    for host in draft.group(NODE):
        if draft.host_value(host.name, "node") is False:
            reason = f"{host.name} is in '{NODE}' and has 'node: false'"
            yield draft.host_problem(host.name, "node", reason, f"take it out of '{NODE}'")


def names_fit_kubernetes(draft: Draft) -> Iterator[Problem]:
    """A host's name becomes its node's name and a certificate's."""
    for host in draft.inventory.hosts.values():
        if not any(group in host.groups for group in _CLUSTER_GROUPS):
            continue
        slip, near = dns_slip(host.name), dns_like(host.name)
        if slip:
            hint = f"did you mean '{near}'?" if not dns_slip(near) else "choose another name"
        elif len(host.name) > MAX_NODE_NAME:
            slip = f"it has {len(host.name)} characters, {MAX_NODE_NAME} are the most"
            hint = "leave the domain out, and give the host its address by ansible_host"
        if slip:
            reason = f"{said(host.name)} cannot be a node's name: {slip}"
            yield Problem(*draft.inventory.origin(host.name), reason, hint)
