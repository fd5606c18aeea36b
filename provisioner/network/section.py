"""The section `network` of a spec for a choice: what an inventory says already stays, as far as it is of any mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provisioner.network.advicetable import Choice
from provisioner.network.site import Site
from provisioner.spec.buildcalico import build_calico
from provisioner.spec.calico import Calico
from provisioner.spec.cilium import build_cilium
from provisioner.spec.model import Flannel, Network
from provisioner.spec.versions import PLUGINS

_KEPT: Mapping[str, tuple[str, ...]] = {
    "flannel": ("interface", "interface_regex", "can_reach"),
    "calico": ("block_size", "block_size_ipv6", "nat_outgoing", "pools", "autodetection", "typha", "felix", "env"),
}  # fmt: skip
"""What of a plug-in's own section holds in each of its modes."""
_VXLAN, _VXLAN6, _WIREGUARD, _WIREGUARD6, _IPIP = 50, 70, 60, 80, 20
"""Bytes that a packet grows by (Calico, docs, networking/configuring/mtu)."""
_ETHERNET = 1500
"""Bytes of a link of which nothing else is said."""


def section_of(choice: Choice, site: Site) -> dict[str, Any]:
    """The section, with the CIDRs first after the plug-in."""
    general = {key: value for key, value in site.written.items() if key not in ("plugin", *PLUGINS)}
    section: dict[str, Any] = {
        "plugin": choice.plugin,
        "pod_cidrs": list(site.pod_cidrs),
        "service_cidrs": list(site.service_cidrs),
        **general,
    }
    section[choice.plugin] = {**choice.section, **_kept(choice, site)}
    section[choice.plugin] |= _mtu(choice, network_of(section), site)
    return section


def to_fill_in(choice: Choice, section: Mapping[str, Any]) -> tuple[str, ...]:
    """What in the section nobody has given: the routers, unless the inventory has some."""
    made = choice.section.get("bgp", {}).get("peers")
    return choice.fill_in if section[choice.plugin].get("bgp", {}).get("peers") == made else ()


def network_of(section: Mapping[str, Any]) -> Network:
    """What the spec would be."""
    written = {key: value for key, value in section.items() if key not in PLUGINS}
    cidrs = {name: tuple(written[name]) for name in ("pod_cidrs", "service_cidrs")}
    flannel = Flannel(**section.get("flannel", {}))
    return Network(
        **(written | cidrs),
        flannel=flannel,
        calico=build_calico(section.get("calico", {}), cidrs["pod_cidrs"]),
        cilium=build_cilium(section.get("cilium", {}), cidrs["pod_cidrs"]),
    )


def _kept(choice: Choice, site: Site) -> dict[str, Any]:
    old = site.written.get(choice.plugin)
    if not isinstance(old, Mapping):
        return {}
    kept = {key: old[key] for key in _KEPT[choice.plugin] if key in old}
    if "bgp" in choice.traits and isinstance(old.get("bgp"), Mapping):
        kept["bgp"] = {**choice.section.get("bgp", {}), **old["bgp"]}
    if isinstance(kept.get("pools"), list):
        kept["pools"] = [
            {key: value for key, value in pool.items() if key != "encapsulation"} for pool in kept["pools"]
        ]
    return kept


def _mtu(choice: Choice, network: Network, site: Site) -> dict[str, int]:
    """Where the plug-in would not find it by itself: flannel looks at each host's own link alone, and with IPv6 pods is
    told (mtu.flannel_mtu); Calico passes over links whose names it does not know, and takes them to have 1460."""
    if not site.mtu:
        return {}
    if choice.plugin == "flannel":
        has = network.flannel.backend in ("vxlan", "wireguard")
        told = network.flannel.backend == "vxlan" and site.ipv6 == "yes" and site.mtu > _ETHERNET
        return {"mtu": site.mtu} if told or (site.mtus_differ and has) else {}
    if not site.odd_links and not site.mtus_differ:
        return {}
    return {"mtu": site.mtu - overhead(network.calico, ipv6=site.ipv6 == "yes")}


def overhead(calico: Calico, *, ipv6: bool) -> int:
    """Bytes that the widest of the encapsulations adds to a packet."""
    sizes = [0]
    if any(each.startswith("VXLAN") for each in calico.encapsulations):
        sizes.append(_VXLAN6 if ipv6 else _VXLAN)
    if any(each.startswith("IPIP") for each in calico.encapsulations):
        sizes.append(_IPIP)
    if calico.wireguard:
        sizes.append(_WIREGUARD6 if ipv6 else _WIREGUARD)
    return max(sizes)
