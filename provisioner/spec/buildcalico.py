"""The section `network.calico` with its defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from provisioner.spec.calico import BGP, BGPPeer, Calico, IPPool, Operator
from provisioner.spec.values import cidr

_OF_POOLS = ("encapsulation", "block_size", "block_size_ipv6", "nat_outgoing")
"""Keys of the section that hold for all pools."""


def build_calico(written: Mapping[str, Any], pod_cidrs: Sequence[str]) -> Calico:
    """Without pools of its own each of the `pod_cidrs` is one."""
    given = {key: value for key, value in written.items() if key not in (*_OF_POOLS, "pools", "bgp")}
    for name in ("felix", "env"):
        if name in given:
            given[name] = MappingProxyType(dict(given[name]))
    if "operator" in given:
        given["operator"] = _operator(given["operator"])
    pools = written.get("pools") or [
        {"name": "pods" if ":" not in each else "pods-ipv6", "cidr": each} for each in pod_cidrs
    ]
    own = () if written.get("policy_only") else tuple(_pool(each, written) for each in pools)
    return Calico(pools=own, bgp=_bgp(written.get("bgp", {})), **given)


def _operator(written: Mapping[str, Any]) -> Operator:
    further = MappingProxyType(dict(written.get("installation", {})))
    return Operator(**{**written, "installation": further})


def _pool(written: Mapping[str, Any], section: Mapping[str, Any]) -> IPPool:
    network = cidr(written["cidr"])
    ipv6 = network.version == 6
    size = section.get("block_size_ipv6", 122) if ipv6 else section.get("block_size", 26)
    # An IPv6 pool has addresses that the world may reach, so that they go out as they are (Calico's default, too).
    nat = section.get("nat_outgoing", not ipv6)
    whole = {
        "encapsulation": section.get("encapsulation", IPPool.encapsulation),
        "block_size": size,
        "nat_outgoing": nat,
        **written,
    }
    return IPPool(**{**whole, "cidr": str(network)})


def _bgp(written: Mapping[str, Any]) -> BGP:
    peers = tuple(BGPPeer(**each) for each in written.get("peers", ()))
    given: dict[str, Any] = {
        name: tuple(map(str, value)) if isinstance(value, list) else value
        for name, value in written.items()
        if name != "peers"
    }
    return BGP(**given, peers=peers)
