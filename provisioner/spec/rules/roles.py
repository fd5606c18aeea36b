"""Which hosts a cluster needs."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.inventory.spelling import said
from provisioner.spec.draft import (
    CONTROL_PLANE,
    ETCD,
    LOAD_BALANCER,
    NODE,
    REGISTRY,
    Draft,
    Unusable,
    default_host,
)
from provisioner.spec.values import dns_like, dns_slip
from provisioner.spec.versions import KUBEADM

MAX_COMMON_NAME = 64
"""Characters of a certificate's common name (RFC 5280, ub-common-name)."""
MAX_NODE_NAME = MAX_COMMON_NAME - len("system:node:")
"""A kubelet is named so in its certificates. (Over 63 it would not be registered either, because the name is the value
of its label kubernetes.io/hostname: kubernetes/kubernetes#99156.)"""
_CLUSTER_GROUPS = (ETCD, CONTROL_PLANE, NODE)


def groups_are_filled(draft: Draft) -> Iterator[Problem]:
    """A control plane, etcd where it is ours to reach, at least one node, and one registry that is either a host or
    named."""
    if not draft.inventory.whole or not draft.inventory.hosts:
        return  # who is missing may be in what could not be read; and that there are no hosts at all is told already
    if not draft.group(CONTROL_PLANE):
        hint = f"name at least one host under '{CONTROL_PLANE}'"
        yield draft.group_problem(CONTROL_PLANE, "no control plane: the group has no hosts", hint)
    if not draft.group(ETCD) and draft.preset != KUBEADM:
        hint = "one, three or five; usually the control-plane hosts"
        yield draft.group_problem(ETCD, f"no etcd: the group '{ETCD}' has no hosts", hint)
    if not any(draft.is_node(host) for host in draft.inventory.hosts.values()):
        yield draft.group_problem(NODE, "no node: nothing could run pods", f"name hosts under '{NODE}'")
    registries = draft.group(REGISTRY)
    if len(registries) > 1:
        reason = f"the group '{REGISTRY}' has {len(registries)} hosts; one is used"
        yield draft.group_problem(REGISTRY, reason, "keep one")
    preload = draft.get("registry", "preload") is True
    if preload and registries:
        reason = "the nodes get their images over SSH (registry.preload), and there is a registry as well"
        yield draft.group_problem(REGISTRY, reason, "take out either")
    named = preload or draft.get("registry", "host") is not None or draft.get("existing") is not None
    if not registries and not named:
        hint = (
            f"name a host under '{REGISTRY}', or an existing registry in cluster.registry.host; without any:"
            " cluster.registry.preload: true"
        )
        yield draft.group_problem(REGISTRY, "no registry: nodes could pull no image", hint)
    balancers = draft.group(LOAD_BALANCER)
    if len(balancers) > 1 and draft.get("endpoint") is None:
        reason = f"there are {len(balancers)} load balancers and no endpoint"
        hint = "name the address or DNS name that they share in cluster.endpoint.host"
        yield draft.group_problem(LOAD_BALANCER, reason, hint)


def etcd_has_a_majority(draft: Draft) -> Iterator[Problem]:
    members = len(draft.group(ETCD)) if draft.inventory.whole else 0
    if draft.transition or draft.get("etcd", "allow_even", default=False) is not False:
        return
    if members and members % 2 == 0:
        fewer = "1 does" if members == 2 else f"{members - 1} do"
        reason = f"{members} etcd members tolerate no more failures than {fewer}"
        hint = f"use {members - 1} or {members + 1}; while one is replaced: cluster.etcd.allow_even: true"
        yield draft.group_problem(ETCD, reason, hint)


def nodes_are_nodes(draft: Draft) -> Iterator[Problem]:
    """`node: false` is for control-plane hosts that shall run no pods."""
    for host in draft.group(NODE):
        if draft.host_value(host.name, "node") is False:
            reason = f"{host.name} is in '{NODE}' and has 'node: false'"
            yield draft.host_problem(host.name, "node", reason, f"take it out of '{NODE}'")


def names_fit_kubernetes(draft: Draft) -> Iterator[Problem]:
    """A host's name becomes its node's name and a certificate's."""
    for host in draft.inventory.hosts.values():
        whose, most = ("node", MAX_NODE_NAME) if draft.is_node(host) else ("member", MAX_COMMON_NAME)
        slip, near = _slip(host.name, most), dns_like(host.name)
        if not slip or not any(group in host.groups for group in _CLUSTER_GROUPS):
            continue
        if _slip(near, most) or near in draft.inventory.hosts:
            hint = "choose a short one; the address goes into ansible_host"
        else:
            hint = f"did you mean '{near}'?"
        reason = f"{said(host.name)} cannot be a {whose}'s name: {slip}"
        yield Problem(*draft.inventory.origin(host.name), reason, hint)


def registry_fits_its_certificate(draft: Draft) -> Iterator[Problem]:
    written, cluster = draft.get("registry", "host"), draft.get("name")
    if not draft.group(REGISTRY) or not isinstance(cluster, str) or isinstance(written, Unusable):
        return
    host = default_host(cluster) if written is None else written
    if len(host) > MAX_COMMON_NAME:
        reason = (
            f"the registry's name {said(host)} has {len(host)} characters, {MAX_COMMON_NAME} are the most"
        )
        hint = "choose a shorter one" if written else "set a shorter one as cluster.registry.host"
        yield draft.problem(("registry", "host") if written else ("name",), reason, hint)


def _slip(name: str, most: int) -> str:
    """What is wrong with a node's name; "" for a right one."""
    return f"it has {len(name)} characters, {most} are the most" if len(name) > most else dns_slip(name)
