"""Calico's pools, its nodes' addresses and BGP, held against the rest of the spec (docs, reference/resources)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from provisioner.errors import Problem
from provisioner.inventory.words import hint_for
from provisioner.spec.calico import AUTODETECTION, OF_POLICIES, REFLECTORS
from provisioner.spec.draft import LOAD_BALANCER, Draft, Unusable
from provisioner.spec.rules.calicoreach import policy_only, spoken
from provisioner.spec.values import IPNetwork, cidr, is_address
from provisioner.spec.versions import PLUGINS

_AT = ("network", "calico")
_SIZES = {4: (20, 32), 6: (116, 128)}
_BLOCKS = {4: ("block_size", 26), 6: ("block_size_ipv6", 122)}
"""The section's key for the size of blocks, and Calico's own size."""
_GUESSES = ("first-found", "interface", "skip-interface", "can-reach", "cidr")


def sections_belong_to_the_plugin(draft: Draft) -> Iterator[Problem]:
    """What is said of a plug-in that is not the chosen one would be read by nobody."""
    chosen = draft.get("network", "plugin", default="flannel")
    own = ("flannel", "calico") if chosen == "canal" else (chosen,)
    for name in PLUGINS:
        written = draft.get("network", name)
        if isinstance(chosen, str) and name not in own and isinstance(written, dict):
            reason = f"{name}: the plug-in is {chosen}"
            yield draft.problem(
                ("network", name), reason, f"leave it out, or set network.plugin: {name}", key=True
            )


def canal_has_flannel_carry(draft: Draft) -> Iterator[Problem]:
    """There Calico enforces policies, and has no network of its own."""
    written = draft.get(*_AT)
    if draft.get("network", "plugin") != "canal" or not isinstance(written, dict):
        return
    for name in written:
        if name not in OF_POLICIES:
            reason = (
                f"{name}: under canal flannel brings packets from node to node, and Calico has none of it"
            )
            hint = f"leave it out ({', '.join(OF_POLICIES)} are there), or set network.plugin: calico"
            yield draft.problem((*_AT, name), reason, hint, key=True)


def policies_alone_have_others_carry(draft: Draft) -> Iterator[Problem]:
    """What is said of Calico's own network would be read by nobody."""
    written = draft.get(*_AT)
    if draft.get("network", "plugin") != "calico" or not isinstance(written, dict) or not policy_only(draft):
        return
    for name in written:
        if name not in ("policy_only", *OF_POLICIES):
            reason = f"{name}: with policy_only others' routers carry pods' packets, and Calico enforces policies alone"
            hint = f"leave it out ({', '.join(OF_POLICIES)} are there), or policy_only"
            yield draft.problem((*_AT, name), reason, hint, key=True)


def pools_are_of_the_pods(draft: Draft) -> Iterator[Problem]:
    """Pools lie in the pod CIDRs, which kube-proxy and the controllers know, and share no address."""
    whole = [placed.network for placed in draft.networks("pod_cidrs")]
    seen: list[tuple[str, IPNetwork]] = []
    names: set[str] = set()
    for index, pool in _pools(draft):
        network = cidr(pool["cidr"])
        path = (*_AT, "pools", index, "cidr")
        if whole and not any(_within(network, each) for each in whole):
            listed = ", ".join(map(str, whole))
            yield draft.problem(
                path,
                f"cidr: {network} lies outside the pod CIDRs {listed}",
                "choose a part of them; before the first apply network.pod_cidrs can be widened, too",
            )
        for name, other in seen:
            if network.version == other.version and network.overlaps(other):
                yield draft.problem(
                    path, f"cidr: {network} overlaps {other} of the pool {name}", "choose another"
                )
        if pool["name"] in names:
            at = (*_AT, "pools", index, "name")
            yield draft.problem(at, f"name: a second pool {pool['name']}", "give it another name")
        names.add(pool["name"])
        seen.append((pool["name"], network))
        yield from _block(draft, index, pool, network)


def families_have_pools(draft: Draft) -> Iterator[Problem]:
    """Where pools are written, each family of the pods has one, and IPv6 no IPIP."""
    pools = [cidr(pool["cidr"]) for _, pool in _pools(draft)]
    for placed in draft.networks("pod_cidrs") if pools else ():
        if all(each.version != placed.network.version for each in pools):
            reason = f"pools: none of them is in {placed.network}"
            yield draft.problem((*_AT, "pools"), reason, "add one, or take that pod CIDR out")
    chosen = draft.get(*_AT, "encapsulation")
    for placed in draft.networks("pod_cidrs"):
        if placed.network.version == 6 and isinstance(chosen, str) and chosen.startswith("IPIP"):
            reason = f"encapsulation: {chosen} carries IPv4 alone, and there is the pod CIDR {placed.network}"
            yield draft.problem(
                (*_AT, "encapsulation"), reason, "use VXLAN, or pools with an encapsulation each"
            )


def nodes_find_their_own_address(draft: Draft) -> Iterator[Problem]:
    """A virtual address on a node is an address of its link: whoever looks at links may take it for the node's."""
    method = draft.get(*_AT, "autodetection", default=AUTODETECTION)
    vip = draft.virtual_address()
    if vip is None or not isinstance(method, str) or method.partition("=")[0] not in _GUESSES:
        return
    held = [host.name for host in draft.group(LOAD_BALANCER) if draft.is_node(host)]
    if held:
        reason = f"autodetection: {method} may find the virtual address {vip} on {held[0]}, which is a node"
        yield draft.problem((*_AT, "autodetection"), reason, f"use {AUTODETECTION}")


def methods_find_each_family(draft: Draft) -> Iterator[Problem]:
    """An address, or CIDRs, of one family find no node's address of the other."""
    method, _, value = str(draft.get(*_AT, "autodetection", default="")).partition("=")
    if method not in ("cidr", "can-reach") or (*_AT, "autodetection") in draft.bad:
        return
    given = {6 if ":" in each else 4 for each in value.split(",")}
    for placed in draft.networks("pod_cidrs"):
        version = placed.network.version
        if version not in given and (method == "cidr" or is_address(value)):
            reason = f"autodetection: {method}={value} finds no IPv{version} address, and pods are in {placed.network}"
            hint = (
                f"use {AUTODETECTION}"
                if method == "can-reach"
                else f"add an IPv{version} CIDR, or use {AUTODETECTION}"
            )
            yield draft.problem((*_AT, "autodetection"), reason, hint)


def peers_are_whole(draft: Draft) -> Iterator[Problem]:
    """And of two with one name the last would be the only one."""
    own = draft.get(*_AT, "bgp", "route_reflectors")
    names = {REFLECTORS} if isinstance(own, list) and own else set()
    for index, peer in _items(draft, "bgp", "peers"):
        at = (*_AT, "bgp", "peers", index)
        if peer.get("name") in names:
            yield draft.problem((*at, "name"), f"name: a second peer {peer['name']}", "give it another name")
        names.add(str(peer.get("name")))
        inside, outside = "peers" in peer, "address" in peer
        if inside == outside:
            which = "both" if inside else "neither"
            reason = f"the peer {peer.get('name')} is {which} an address and a choice of nodes"
            yield draft.problem(at, reason, "give it address and as_number, or peers")
        elif outside and "as_number" not in peer:
            yield draft.problem(at, f"the peer {peer.get('name')} has no as_number", "add it")


def reflectors_are_nodes(draft: Draft) -> Iterator[Problem]:
    """Never the mesh off without peers: then no node would know where another's pods are."""
    written = draft.get(*_AT, "bgp", "route_reflectors", default=[])
    nodes = [host.name for host in draft.inventory.hosts.values() if draft.is_node(host)]
    for index, name in enumerate(written if isinstance(written, list) else ()):
        if name not in nodes:
            at = (*_AT, "bgp", "route_reflectors", index)
            yield draft.problem(at, f"route_reflectors: {name} is no node", hint_for(str(name), nodes))
        elif name in written[:index]:
            at = (*_AT, "bgp", "route_reflectors", index)
            yield draft.problem(at, f"route_reflectors: {name} is named twice", "leave it out")
    mesh, peers = draft.get(*_AT, "bgp", "mesh"), draft.get(*_AT, "bgp", "peers")
    if mesh is False and spoken(draft) and not written and not peers:
        reason = "mesh: without it, and without peers or route reflectors, no node learns where pods are"
        yield draft.problem(
            (*_AT, "bgp", "mesh"), reason, "name route_reflectors or peers, or leave the mesh on"
        )
    if isinstance(written, list) and len(set(map(str, written))) == 1:
        reason = "route_reflectors: with one alone no node learns anything while it is away"
        yield draft.problem((*_AT, "bgp", "route_reflectors"), reason, "name two or more")


def _block(draft: Draft, index: int, pool: Mapping[str, Any], network: IPNetwork) -> Iterator[Problem]:
    at, own = (*_AT, "pools", index), pool.get("block_size")
    size = own or _section_size(draft, network.version)
    least, most = _SIZES[network.version]
    if own is not None and not least <= own <= most:
        reason = f"block_size: {own} is none of IPv{network.version}"
        yield draft.problem((*at, "block_size"), reason, f"{least} to {most}")
    elif size is not None and network.prefixlen > size:
        reason = f"cidr: {network} is smaller than one block (/{size})"
        yield draft.problem((*at, "cidr"), reason, "widen it, or narrow blocks")
    if network.version == 6 and str(pool.get("encapsulation", "")).startswith("IPIP"):
        yield draft.problem(
            (*at, "encapsulation"), "encapsulation: IPIP carries IPv4 alone", "use VXLAN or None"
        )


def blocks_fit_pod_cidrs(draft: Draft) -> Iterator[Problem]:
    """Without pools of its own each pod CIDR is one. Of one that holds no block nobody gets an address."""
    if draft.get("network", "plugin") != "calico" or draft.get(*_AT, "pools") or policy_only(draft):
        return
    for placed in draft.networks("pod_cidrs"):
        network = placed.network
        key, size = _BLOCKS[network.version][0], _section_size(draft, network.version)
        if size is not None and network.prefixlen > size:
            written = draft.get(*_AT, key) is not None
            reason = f"{key}: the pod CIDR {network} is smaller than one block (/{size})"
            hint = f"narrow blocks ({network.prefixlen} to {_SIZES[network.version][1]}), or widen network.pod_cidrs"
            yield draft.problem((*_AT, key) if written else placed.path, reason, hint)


def _section_size(draft: Draft, version: int) -> int | None:
    """Of blocks in pools that say nothing of it; None where what is written is wrong by itself."""
    key, usual = _BLOCKS[version]
    size = draft.get(*_AT, key, default=usual)
    return size if isinstance(size, int) and (*_AT, key) not in draft.bad else None


def _within(network: IPNetwork, whole: IPNetwork) -> bool:
    return network.version == whole.version and network.subnet_of(whole)  # type: ignore[arg-type]  # one version


def _pools(draft: Draft) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for index, pool in _items(draft, "pools"):
        bad = any(path[: len(_AT) + 2] == (*_AT, "pools", index) for path in draft.bad)
        if not bad and "cidr" in pool and "name" in pool:
            yield index, pool


def _items(draft: Draft, *path: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    written = draft.get(*_AT, *path)
    if written is None or isinstance(written, Unusable):
        return
    yield from ((index, each) for index, each in enumerate(written) if isinstance(each, dict))
