"""Networks beside the cluster's own: what belongs to which type, and who may share a link (plugins 1.9, plugins/main;
Linux, drivers/net/macvlan.c and ipvlan)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from provisioner.errors import Problem
from provisioner.inventory.words import hint_for
from provisioner.spec.attachments import MODES
from provisioner.spec.draft import Draft, Unusable

AT = ("network", "attachments")
_KEYS: Mapping[str, tuple[str, ...]] = {
    "macvlan": ("master", "mode", "mtu"),
    "ipvlan": ("master", "mode", "mtu"),
    "bridge": ("bridge", "is_gateway", "masquerade", "mtu", "vlan"),
    "host-device": ("device", "resource"),
    "sriov": ("resource", "vlan"),
}
_NEEDED: Mapping[str, str] = {
    "macvlan": "master",
    "ipvlan": "master",
    "bridge": "bridge",
    "sriov": "resource",
}
_OWN = tuple(dict.fromkeys(key for keys in _KEYS.values() for key in keys))
_OF_THE_PODS = ("cni0",)
"""flannel's bridge, which has the pods' own network."""


def written_attachments(draft: Draft) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Those that are right by themselves, with their places."""
    written = draft.get(*AT)
    for index, each in enumerate(written if isinstance(written, list) else ()):
        bad = any(path[: len(AT) + 1] == (*AT, index) for path in draft.bad)
        if isinstance(each, dict) and not bad:
            yield index, each


def the_network_is_ours(draft: Draft) -> Iterator[Problem]:
    """What others have built has its own plug-ins."""
    existing = draft.get("existing")
    if existing is None or isinstance(existing, Unusable):
        return
    for name in ("multus", "attachments"):
        if draft.get("network", name) is not None:
            reason = f"{name}: the cluster's network is its builder's"
            yield draft.problem(("network", name), reason, "leave it out", key=True)


def attachments_have_names(draft: Draft) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for index, each in written_attachments(draft):
        namespace = each.get("namespace", "default")
        if (namespace, each["name"]) in seen:
            reason = f"name: a second attachment {each['name']} in the namespace {namespace}"
            yield draft.problem((*AT, index, "name"), reason, "give it another name, or another namespace")
        seen.add((namespace, each["name"]))


def keys_belong_to_the_type(draft: Draft) -> Iterator[Problem]:
    for index, each in written_attachments(draft):
        kind, at = each["type"], (*AT, index)
        for key in _OWN:
            if key in each and key not in _KEYS[kind]:
                reason = f"{key}: the type {kind} has none"
                yield draft.problem((*at, key), reason, _instead(key, each), key=True)
        needed = _NEEDED.get(kind)
        meant = any(key in each and key not in _KEYS[kind] for key in ("master", "bridge", "device"))
        if needed and needed not in each and not meant:
            yield draft.problem(at, f"the attachment {each['name']} of type {kind} has no {needed}", "add it")
        elif kind == "host-device" and ("device" in each) == ("resource" in each):
            which = "both a device and a resource" if "device" in each else "neither a device nor a resource"
            yield draft.problem(at, f"the attachment {each['name']} names {which}", "name one of the two")


def _instead(key: str, each: Mapping[str, Any]) -> str:
    if key == "vlan" and "master" in each:
        return f"make the VLAN's own link the master, such as {str(each['master'])[:10]}.{each['vlan']}"
    wanted = _NEEDED.get(each["type"], "device")
    if key in ("master", "bridge", "device") and wanted not in each:
        return f"did you mean '{wanted}'?"
    return f"it has {', '.join(_KEYS[each['type']])}"


def modes_belong_to_the_type(draft: Draft) -> Iterator[Problem]:
    for index, each in written_attachments(draft):
        kind, mode = each["type"], each.get("mode")
        if mode is None or kind not in MODES or mode in MODES[kind]:
            continue
        others = [name for name, modes in MODES.items() if mode in modes]
        reason = f"mode: {kind} has no mode '{mode}'" + (f", which is {others[0]}'s" if others else "")
        yield draft.problem((*AT, index, "mode"), reason, hint_for(mode, MODES[kind]))


def links_bear_it(draft: Draft) -> Iterator[Problem]:
    """A link has one receiver of its frames: macvlan or ipvlan, and with passthru one macvlan alone; one that moves
    into a pod is nobody's below it."""
    before: list[Mapping[str, Any]] = []
    for index, each in written_attachments(draft):
        link = each.get("master") or each.get("device")
        if each.get("master") == "lo":
            reason = f"master: {each['type']} cannot be on the loopback link"
            yield draft.problem((*AT, index, "master"), reason, "name a link that leads to the network")
        if each.get("bridge") in _OF_THE_PODS:
            reason = f"bridge: {each['bridge']} is the bridge of the pods' own network"
            yield draft.problem((*AT, index, "bridge"), reason, "choose another name, such as br-storage")
        for other in before if link else ():
            if link == (other.get("master") or other.get("device")) and meet(each, other):
                why = _clash(each, other)
                if why:
                    key = "master" if "master" in each else "device"
                    reason = f"{key}: {link} is also {other['name']}'s, and {why}"
                    hint = "take another link, or put them on different nodes (nodes)"
                    yield draft.problem((*AT, index, key), reason, hint)
                    break
        before.append(each)


def _clash(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    kinds = {one["type"], other["type"]}
    if "host-device" in kinds:
        return "a link that moves into a pod is gone from the host"
    if kinds == {"macvlan", "ipvlan"}:
        return "a link carries macvlan or ipvlan, not both"
    if kinds == {"macvlan"} and "passthru" in (one.get("mode"), other.get("mode")):
        return "with passthru a link carries one macvlan alone"
    return ""


def meet(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both may be on one node."""
    left, right = one.get("nodes"), other.get("nodes")
    return left is None or right is None or bool(set(left) & set(right))


def attachments_are_on_nodes(draft: Draft) -> Iterator[Problem]:
    nodes = [host.name for host in draft.inventory.hosts.values() if draft.is_node(host)]
    for index, each in written_attachments(draft):
        for number, name in enumerate(each.get("nodes", ())):
            if name not in nodes:
                at = (*AT, index, "nodes", number)
                yield draft.problem(at, f"nodes: {name} is no node", hint_for(name, nodes))
