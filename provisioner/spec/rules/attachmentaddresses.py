"""Addresses of the networks beside the cluster's own (plugins 1.9, plugins/ipam)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from provisioner.errors import Problem
from provisioner.spec.attachments import Range
from provisioner.spec.buildattachments import build_range
from provisioner.spec.draft import Draft
from provisioner.spec.rules.attachments import AT, meet, written_attachments
from provisioner.spec.validation import Path
from provisioner.spec.values import address, cidr, is_address

_KEYS: Mapping[str, tuple[str, ...]] = {
    "host-local": ("ranges", "routes"),
    "static": ("addresses", "routes"),
    "dhcp": (),
    "none": (),
}
_CIDRS = ("pod_cidrs", "service_cidrs")


def keys_belong_to_the_ipam(draft: Draft) -> Iterator[Problem]:
    for index, each in written_attachments(draft):
        ipam: Mapping[str, Any] = each.get("ipam", {"type": "none"})
        at = (*AT, index, "ipam")
        for key in ("ranges", "addresses", "routes"):
            if key in ipam and key not in _KEYS[ipam["type"]]:
                right = next(kind for kind, keys in _KEYS.items() if key in keys)
                reason = f"{key}: the ipam {ipam['type']} has none"
                yield draft.problem((*at, key), reason, f"leave it out, or use {right}", key=True)
        if ipam["type"] == "host-local" and "ranges" not in ipam:
            yield draft.problem(at, "the ipam host-local has no ranges", "add them")
        if each["type"] == "ipvlan":
            yield from _of_ipvlan(draft, each, at)


def _of_ipvlan(draft: Draft, each: Mapping[str, Any], at: Path) -> Iterator[Problem]:
    """Pods share the link's hardware address, by which DHCP servers tell clients apart (plugins, main/ipvlan)."""
    kind = each.get("ipam", {"type": "none"})["type"]
    if kind == "none":
        reason = f"the attachment {each['name']} of type ipvlan has no ipam, without which the plug-in fails"
        yield draft.problem(at if "ipam" in each else at[:-1], reason, "add one: host-local or static")
    elif kind == "dhcp":
        reason = "type: with ipvlan all pods have one hardware address, by which DHCP tells clients apart"
        yield draft.problem((*at, "type"), reason, "use host-local or static, or the type macvlan")


def ranges_are_whole(draft: Draft) -> Iterator[Problem]:
    for path, _, written in _ranges(draft):
        network = cidr(written["subnet"])
        if network.num_addresses < 4:
            reason = f"subnet: {network} has no addresses to give"
            yield draft.problem((*path, "subnet"), reason, "host-local wants four or more")
            continue
        inside = True
        for key in ("start", "end", "gateway"):
            if key in written and address(written[key]) not in network:
                inside = False
                reason = f"{key}: {written[key]} is outside the subnet {network}"
                yield draft.problem((*path, key), reason, "choose an address in it")
        if inside and int(build_range(written).first) > int(build_range(written).last):
            key = "end" if "end" in written else "start"
            yield draft.problem((*path, key), f"{key}: the range ends before it starts", "swap start and end")


def ranges_are_apart(draft: Draft) -> Iterator[Problem]:
    """From what the cluster itself has, from its hosts, and from each other where two networks share a link."""
    seen: list[tuple[Mapping[str, Any], Range]] = []
    for path, attachment, written in _ranges(draft):
        if not _whole(written):
            continue
        own = build_range(written)
        yield from _of_cluster(draft, path, own)
        yield from _of_hosts(draft, path, own)
        for other, theirs in seen:
            if own.meets(theirs) and _one_wire(attachment, other):
                whose = "another range of it" if other is attachment else f"a range of {other['name']}"
                reason = f"subnet: {own.first} to {own.last} meets {whose} ({theirs.first} to {theirs.last})"
                yield draft.problem((*path, "subnet"), reason, "give each its own part (start, end)")
                break
        seen.append((attachment, own))


def _of_cluster(draft: Draft, path: Path, own: Range) -> Iterator[Problem]:
    whole = cidr(own.subnet)
    for placed in (each for name in _CIDRS for each in draft.networks(name)):
        if placed.network.version == whole.version and placed.network.overlaps(whole):
            reason = f"subnet: {whole} overlaps the {placed.use} {placed.network}"
            yield draft.problem((*path, "subnet"), reason, "choose a network that the cluster does not use")


def _of_hosts(draft: Draft, path: Path, own: Range) -> Iterator[Problem]:
    owners = [(host.name, draft.address_of(host)) for host in draft.inventory.hosts.values()]
    endpoint = draft.get("endpoint", "host")
    if isinstance(endpoint, str) and is_address(endpoint):
        owners.append(("the endpoint", address(endpoint)))
    inside = [f"{name} ({known})" for name, known in owners if known is not None and own.gives(known)]
    if inside:
        named = ", ".join(inside[:3]) + (f" and {len(inside) - 3} more" if len(inside) > 3 else "")
        reason = f"subnet: pods would get addresses of hosts: {named}"
        yield draft.problem((*path, "subnet"), reason, "narrow it with start and end")


def _one_wire(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether pods of both can meet: host-local counts each network's addresses by itself."""
    if one is other:
        return True
    links = {(each.get("master"), each.get("bridge"), each.get("vlan")) for each in (one, other)}
    return len(links) == 1 and next(iter(links))[:2] != (None, None) and meet(one, other)


def routes_leave_the_cluster_alone(draft: Draft) -> Iterator[Problem]:
    """What goes to pods and services would go to the other network."""
    for index, each in written_attachments(draft):
        for number, route in enumerate(each.get("ipam", {}).get("routes", ())):
            at, to = (*AT, index, "ipam", "routes", number), cidr(route["to"])
            for placed in (known for name in _CIDRS for known in draft.networks(name)):
                if placed.network.version == to.version and placed.network.overlaps(to):
                    reason = f"to: {to} overlaps the {placed.use} {placed.network}"
                    yield draft.problem((*at, "to"), reason, "route only what lies beyond the network")
            if "via" in route and address(route["via"]).version != to.version:
                reason = f"via: {route['via']} is of another family than {to}"
                yield draft.problem((*at, "via"), reason, f"an IPv{to.version} address")


def gateways_are_on_the_link(draft: Draft) -> Iterator[Problem]:
    for index, each in written_attachments(draft):
        for number, static in enumerate(each.get("ipam", {}).get("addresses", ())):
            network = ipaddress.ip_interface(static["address"]).network
            if "gateway" in static and address(static["gateway"]) not in network:
                reason = f"gateway: {static['gateway']} is outside {network}"
                at = (*AT, index, "ipam", "addresses", number, "gateway")
                yield draft.problem(at, reason, "choose an address in it")


def _ranges(draft: Draft) -> Iterator[tuple[Path, Mapping[str, Any], Mapping[str, str]]]:
    """Place, attachment and what is written."""
    for index, each in written_attachments(draft):
        for number, written in enumerate(each.get("ipam", {}).get("ranges", ())):
            yield (*AT, index, "ipam", "ranges", number), each, written


def _whole(written: Mapping[str, str]) -> bool:
    network = cidr(written["subnet"])
    bounds = (address(written[key]) for key in ("start", "end", "gateway") if key in written)
    return network.num_addresses >= 4 and all(each in network for each in bounds)
