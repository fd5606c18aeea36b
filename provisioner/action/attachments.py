"""Whether the hosts can bear the networks beside the pods' own: judged from facts, before anything changes."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from provisioner.engine.events import Emit, Note
from provisioner.errors import ProvisionError
from provisioner.inventory.words import nearest
from provisioner.playbook.facts import Facts
from provisioner.spec.attachments import Attachment
from provisioner.spec.model import ClusterSpec

_RECEIVES = ("macvlan", "ipvlan")
"""Types that take what comes in at their master."""


@dataclass(frozen=True)
class _Fault:
    host: str
    reason: str
    hint: str


def check_attachments(spec: ClusterSpec, facts: Mapping[str, Facts], emit: Emit) -> None:
    """Raises ProvisionError naming each node whose link is not there or cannot bear it, and addresses that hosts have
    already; says what has to come from elsewhere."""
    faults = [
        *(fault for name, each in _pairs(spec, facts) for fault in _of_node(spec, name, facts[name], each)),
        *_taken(spec, facts),
    ]
    if faults:
        reasons = dict.fromkeys(f"{each.host}: {each.reason}" for each in faults)
        raise ProvisionError("\n".join(reasons), "; ".join(dict.fromkeys(each.hint for each in faults)))
    for each in spec.network.attachments:
        for said, hint in _told(spec, facts, each):
            emit(Note(level="warning", message=f"attachment {each}: {said}", hint=hint))


def _pairs(spec: ClusterSpec, facts: Mapping[str, Facts]) -> Iterator[tuple[str, Attachment]]:
    """Each attachment with each node of the run that is to have it."""
    for each in spec.network.attachments:
        yield from ((name, each) for name in _nodes(spec, each) if name in facts)


def _nodes(spec: ClusterSpec, attachment: Attachment) -> Sequence[str]:
    return attachment.nodes or [name for name, node in spec.nodes.items() if node.node]


def _of_node(spec: ClusterSpec, name: str, facts: Facts, each: Attachment) -> Iterator[_Fault]:
    if each.module is not None and each.module not in facts.modules:
        reason = f"attachment {each} needs {each.module}, which the kernel {facts.kernel} has not"
        yield _Fault(name, reason, "install the kernel's extra modules, or choose another type")
    link = each.link
    if link is None:
        return
    if link not in facts.masters:
        if each.type in _RECEIVES:
            yield _Fault(name, f"attachment {each}: there is no link {link}", _instead(link, facts))
        return
    if each.type in _RECEIVES:
        yield from _of_master(name, each, facts.masters[link])
    elif each.type == "bridge" and "bridge" not in facts.masters[link]:
        yield _Fault(
            name, f"attachment {each}: {link} is there, and is no bridge", "choose another name for it"
        )
    elif each.type == "host-device" and link in _own_links(spec.nodes[name].address, facts):
        reason = f"attachment {each}: {link} is what the node itself is reached by, and would move into a pod"
        yield _Fault(name, reason, "name another link, or use the type macvlan")


def _of_master(name: str, each: Attachment, link: Sequence[str]) -> Iterator[_Fault]:
    """Whose frames are another's already (Linux: netdev_rx_handler_register, EBUSY), a station of a wireless network
    (one hardware address, IEEE 802.11), and more than goes through it (plugins, main/macvlan: loadConf)."""
    for said in link:
        word, _, value = said.partition(" ")
        if word == "part":
            reason = f"attachment {each}: {each.master} is {said}, which has all its frames"
            yield _Fault(name, reason, f"make {value.removeprefix('of ')} the master")
        elif said == "wireless" and each.type == "macvlan":
            reason = f"attachment {each}: {each.master} is wireless, where a host has one hardware address"
            yield _Fault(name, reason, "use the type ipvlan")
        elif word == "mtu" and each.mtu is not None and each.mtu > int(value):
            reason = f"attachment {each}: the MTU {each.mtu} is more than {each.master}'s, {value}"
            yield _Fault(name, reason, f"{value} at most, or raise the link's first")


def _instead(link: str, facts: Facts) -> str:
    there = sorted(each for each in facts.addresses if each != "lo")
    near = nearest(link, there)
    known = f"did you mean '{near}'?" if near else f"it has {', '.join(there)}"
    return f"{known}; where only some nodes have it, name those under nodes"


def _own_links(address: str, facts: Facts) -> set[str]:
    own = ipaddress.ip_address(address)
    having = {
        link
        for link, written in facts.addresses.items()
        if any(ipaddress.ip_interface(each).ip == own for each in written)
    }
    return having | {facts.default_link}


def _taken(spec: ClusterSpec, facts: Mapping[str, Facts]) -> Iterator[_Fault]:
    """Addresses beside those of the inventory, which the spec's rules know."""
    for each in spec.network.attachments:
        for name, known in facts.items():
            for link, written in known.addresses.items():
                for one in (ipaddress.ip_interface(address).ip for address in written):
                    if any(given.gives(one) for given in each.ipam.ranges):
                        reason = f"attachment {each}: pods would get {one}, which {link} has"
                        yield _Fault(name, reason, "narrow its ranges with start and end")


def _told(spec: ClusterSpec, facts: Mapping[str, Facts], each: Attachment) -> Iterator[tuple[str, str]]:
    nodes = _nodes(spec, each)
    if each.ipam.type == "host-local" and each.type != "bridge" and len(nodes) > 1:
        said = f"host-local counts on each node by itself: pods of its {len(nodes)} nodes may get one address"
        yield said, "use static or dhcp, or a definition a node (nodes, with ranges of its own)"
    if each.type == "sriov":
        said = f"nodes need the plug-in sriov and a device plug-in that offers {each.resource}; no bundle has them"
        yield said, "install sriov-cni and sriov-network-device-plugin"
    if each.ipam.type == "dhcp":
        yield (
            "it needs `/opt/cni/bin/dhcp daemon` on its nodes, which nothing here starts",
            "run it as a unit",
        )
    if each.type == "host-device" and each.device:
        gone = [name for name in nodes if name in facts and each.device not in facts[name].masters]
        if gone:
            said = f"{each.device} is not on {', '.join(gone)}: it is in a pod, or there is none"
            yield said, "name those nodes that have it under nodes"
