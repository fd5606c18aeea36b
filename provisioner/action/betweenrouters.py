"""Routers outside the cluster with which nodes are to have BGP sessions: whether they can be called.

Which port: nodes call a peer at 179, whatever their own is (Calico docs, reference/resources/bgppeer, peerIP).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from provisioner.action.flows import Packet
from provisioner.action.losses import LOST, OPEN, Unknown
from provisioner.engine.events import Note
from provisioner.inventory.words import some
from provisioner.spec.calico import BGPPeer
from provisioner.spec.model import ClusterSpec
from provisioner.spec.selectors import Labels, chooses

_PORT = 179
_HINT = "let it through on the way, and have the router know these nodes as its neighbours; else it has no session"


def routers_of(spec: ClusterSpec) -> dict[str, str]:
    """Their addresses by what they are called here, which is no host's name."""
    return {_name(peer): peer.address for peer in _outside(spec) if peer.address}


def calls_of(spec: ClusterSpec, nodes: Collection[str]) -> list[Packet]:
    """One from each of the `nodes` to each router that it has a session with."""
    return [
        Packet("tcp", _PORT, name, _name(peer))
        for peer in _outside(spec)
        for name in nodes
        if spec.nodes[name].node and _chosen(spec, name, peer)
    ]


def silent(found: Mapping[Packet, str | Unknown], routers: Collection[str]) -> Iterator[Note]:
    """A warning for each router that does not answer: it may speak to known neighbours alone, once they are set up."""
    lost: dict[tuple[str, str], list[str]] = {}
    for packet, said in found.items():
        if packet.receiver in routers and isinstance(said, str) and said != OPEN:
            lost.setdefault((packet.receiver, said), []).append(packet.sender)
    for (router, said), senders in lost.items():
        how = "no answer" if said == LOST else said
        yield Note(
            level="warning", message=f"{router} is not reached from {some(senders)}: {how}", hint=_HINT
        )


def _outside(spec: ClusterSpec) -> Iterator[BGPPeer]:
    if spec.network.plugin == "calico":
        yield from (peer for peer in spec.network.calico.bgp.peers if peer.address)


def _name(peer: BGPPeer) -> str:
    return f"TCP {_PORT} of the BGP peer {peer.name} ({peer.address})"


def _chosen(spec: ClusterSpec, name: str, peer: BGPPeer) -> bool:
    known = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", **spec.nodes[name].labels}
    return chooses(peer.nodes, Labels(known, lambda key: "/" in key)) is not False
