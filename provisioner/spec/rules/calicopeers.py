"""Routers that Calico's nodes have BGP sessions with: whether there can be one (docs, reference/resources/bgppeer)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from provisioner.errors import Problem
from provisioner.spec.draft import Draft
from provisioner.spec.rules.addresses import is_loopback, nobodys
from provisioner.spec.rules.calicochoices import node_labels
from provisioner.spec.selectors import chooses
from provisioner.spec.validation import Path
from provisioner.spec.values import IPAddress, address, is_address

_AT = ("network", "calico", "bgp", "peers")


def peers_are_routers(draft: Draft) -> Iterator[Problem]:
    """Others' machines, at an address of a family in which nodes speak BGP."""
    for path, peer, at in _routers(draft):
        reason, hint = _why_none(draft, at)
        if reason:
            yield draft.problem(
                (*path, "address"), f"address: {at}, of the peer {peer.get('name')}, {reason}", hint
            )


def peers_have_one_as_number(draft: Draft) -> Iterator[Problem]:
    """A session of a node goes to one router, which is of one autonomous system."""
    seen: list[tuple[Mapping[str, Any], IPAddress]] = []
    for path, peer, at in _routers(draft):
        number = peer.get("as_number")
        for other, its in seen:
            differ = its == at and number is not None and other.get("as_number") not in (None, number)
            if differ and (shared := _shared(draft, peer, other)):
                its_own = f"{other['as_number']} for the peer {other.get('name')}"
                reason = f"as_number: {number} of {at}, which is in {its_own}; both are of {shared}"
                hint = "leave one of them out, or choose other nodes for each"
                yield draft.problem((*path, "as_number"), reason, hint)
                break
        seen.append((peer, at))


def _routers(draft: Draft) -> Iterator[tuple[Path, Mapping[str, Any], IPAddress]]:
    """Those with an address that is one, and nothing in them that is wrong by itself."""
    written = draft.get(*_AT)
    for index, peer in enumerate(written if isinstance(written, list) else ()):
        path = (*_AT, index)
        if isinstance(peer, dict) and not any(bad[: len(path)] == path for bad in draft.bad):
            at = peer.get("address")
            if isinstance(at, str) and is_address(at):
                yield path, peer, address(at)


def _why_none(draft: Draft, at: IPAddress) -> tuple[str, str]:
    """Why there is no router, and what to do; "" where there may be one."""
    if slip := nobodys(at) or ("a loopback address" if is_loopback(at) else ""):
        return f"is {slip}", "write the router's own address"
    for placed in (*draft.networks("pod_cidrs"), *draft.networks("service_cidrs")):
        if at in placed.network:
            return f"lies in the {placed.use} {placed.network}", "write the router's own address"
    for host in draft.nodes():
        second = draft.host_value(host.name, "node_address_second")
        own = (
            draft.address_of(host),
            address(second) if isinstance(second, str) and is_address(second) else None,
        )
        if at in own:
            hint = "leave it out: nodes have sessions with each other by the mesh, by peers that choose nodes, or by"
            return f"is the node {host.name}'s own", f"{hint} route_reflectors"
    families = {placed.network.version for placed in draft.networks("pod_cidrs")}
    if families and at.version not in families:
        hint = f"add an IPv{at.version} CIDR to network.pod_cidrs, or write the router's IPv{10 - at.version} address"
        return f"is IPv{at.version}, in which nodes speak BGP only where pods have addresses of it", hint
    return "", ""


def _shared(draft: Draft, one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """A node that has both, for sure; "" without one."""
    nodes = node_labels(draft) or {}
    both = [str(each.get("nodes", "all()")) for each in (one, other)]
    return next(
        (name for name, labels in nodes.items() if all(chooses(each, labels) is True for each in both)),
        "the same nodes" if both[0] == both[1] else "",
    )
