"""Whom Calico's selectors choose: every node has a pool of each IP family, and a session that brings it routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from provisioner.errors import Problem
from provisioner.inventory.spelling import said
from provisioner.inventory.words import some
from provisioner.spec.draft import CONTROL_PLANE, Draft, Unusable
from provisioner.spec.model import CONTROL_PLANE_TAINT
from provisioner.spec.selectors import Labels, chooses, labels_of
from provisioner.spec.values import cidr

_AT = ("network", "calico")


def pools_choose_every_node(draft: Draft) -> Iterator[Problem]:
    """On a node that no pool is for, no pod gets an address."""
    pools, nodes = _whole(draft, "pools"), node_labels(draft)
    for placed in draft.networks("pod_cidrs") if pools and nodes else ():
        version = placed.network.version
        own = [each for each in pools if "cidr" in each and cidr(each["cidr"]).version == version]
        left = [
            name
            for name, labels in (nodes or {}).items()
            if own and all(chooses(each.get("node_selector", "all()"), labels) is False for each in own)
        ]
        if left:
            reason = f"pools: no IPv{version} pool's node_selector chooses {some(left, 4)}"
            hint = "add a pool for all others, or give the nodes a label by node_labels"
            yield draft.problem((*_AT, "pools"), reason, hint)


def peers_choose_every_node(draft: Draft) -> Iterator[Problem]:
    """Without the mesh a node with no peer learns of no other's pods. Route reflectors are everybody's."""
    bgp, nodes = draft.get(*_AT, "bgp", default={}), node_labels(draft)
    if isinstance(bgp, Unusable) or bgp.get("mesh") is not False or bgp.get("route_reflectors") or not nodes:
        return
    peers = _whole(draft, "bgp", "peers")
    left = [name for name in nodes if peers and not any(_has_session(name, each, nodes) for each in peers)]
    if left and len(nodes) > 1:
        reason = f"mesh: without it nobody tells {some(left, 4)} where pods are: no peer is theirs"
        hint = "choose all nodes among network.calico.bgp.peers, name route_reflectors, or leave the mesh on"
        yield draft.problem((*_AT, "bgp", "mesh"), reason, hint)


def peers_choose_somebody(draft: Draft) -> Iterator[Problem]:
    """A session that no node has brings nobody anything."""
    nodes = node_labels(draft)
    for index, peer in enumerate(_whole(draft, "bgp", "peers") if nodes else ()):
        for key in ("nodes", "peers"):
            if key in peer and all(chooses(peer[key], each) is False for each in (nodes or {}).values()):
                reason = f"{key}: of the peer {peer.get('name')} {said(peer[key])} chooses no node"
                hint = "give nodes such a label by node_labels, or leave the peer out"
                yield draft.problem((*_AT, "bgp", "peers", index, key), reason, hint)


def reflectors_take_the_mesh_s_place(draft: Draft) -> Iterator[Problem]:
    """A mesh that is asked for would not be there."""
    bgp = draft.get(*_AT, "bgp", default={})
    if not isinstance(bgp, Unusable) and bgp.get("mesh") is True and bgp.get("route_reflectors"):
        reason = "mesh: route_reflectors take its place, nodes have sessions with those alone"
        yield draft.problem((*_AT, "bgp", "mesh"), reason, "leave out mesh, or route_reflectors")


def _has_session(name: str, peer: Mapping[str, Any], nodes: Mapping[str, Labels]) -> bool:
    """Perhaps, at least: sessions among nodes are made on both sides (docs, networking/configuring/bgp)."""
    ours = {
        each for each, labels in nodes.items() if chooses(peer.get("nodes", "all()"), labels) is not False
    }
    if "address" in peer:
        return name in ours
    theirs = {each for each, labels in nodes.items() if chooses(peer["peers"], labels) is not False}
    return bool((name in ours and theirs - {name}) or (name in theirs and ours - {name}))


def node_labels(draft: Draft) -> dict[str, Labels] | None:
    """Of each node; None where some are wrong. Of a cluster that others have built no label is known."""
    common = draft.get("nodes", "labels", default={})
    written = draft.get(*_AT, "bgp", "route_reflectors", default=[])
    reflectors = written if isinstance(written, list) else ()
    found = {}
    for host in draft.nodes():
        own = draft.host_value(host.name, "node_labels", {})
        if isinstance(common, Unusable) or isinstance(own, Unusable):
            return None
        role = {CONTROL_PLANE_TAINT.key: ""} if CONTROL_PLANE in host.groups else {}
        found[host.name] = labels_of(host.name, {**role, **common, **own}, reflectors)
    return found if draft.get("existing") is None else None


def _whole(draft: Draft, *path: str) -> list[Mapping[str, Any]]:
    """The list; nothing where some of it is wrong."""
    written = draft.get(*_AT, *path, default=[])
    if isinstance(written, Unusable) or any(
        bad[: len(_AT) + len(path)] == (*_AT, *path) for bad in draft.bad
    ):
        return []
    whole = [each for each in written if "address" in each or "peers" in each or "cidr" in each]
    return whole if len(whole) == len(written) else []
