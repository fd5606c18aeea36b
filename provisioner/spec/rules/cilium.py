"""Cilium's modes and pools, held against the rest of the spec (Cilium 1.16, docs, network/concepts)."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.spec.draft import Draft, Unusable
from provisioner.spec.model import Network
from provisioner.spec.validation import Path
from provisioner.spec.values import IPNetwork, cidr

_AT: Path = ("network", "cilium")
_OPTIONS = {
    "tunnel_protocol": ("routing_mode", "tunnel"),
    "tunnel_port": ("routing_mode", "tunnel"),
    "native_routing_cidrs": ("routing_mode", "native"),
    "auto_direct_node_routes": ("routing_mode", "native"),
    "pools": ("ipam", "cluster-pool"),
}
"""By the name of an option, the key and its value that it belongs to."""
_DEFAULTS = {"routing_mode": "tunnel", "ipam": "cluster-pool"}


def options_belong_to_the_mode(draft: Draft) -> Iterator[Problem]:
    for name, (key, wanted) in _OPTIONS.items() if _chosen(draft) else ():
        mode = draft.get(*_AT, key, default=_DEFAULTS[key])
        value = draft.get(*_AT, name)
        if value is None or mode == wanted or isinstance(value, Unusable) or isinstance(mode, Unusable):
            continue
        reason = f"{name}: it is of {key} {wanted}, this is {mode}"
        yield draft.problem((*_AT, name), reason, f"leave it out, or set {key}: {wanted}", key=True)


def there_is_ipv4(draft: Draft) -> Iterator[Problem]:
    """Tunnels are IPv4's outside (docs, network/concepts/routing), and agents answer their probes there."""
    pods = draft.networks("pod_cidrs") if _chosen(draft) else []
    if pods and all(each.network.version == 6 for each in pods):
        reason = f"pods have IPv6 alone ({pods[0].network}), and Cilium is installed with IPv4 or both"
        yield draft.problem(pods[0].path, reason, "add an IPv4 CIDR, or use calico")


def pools_are_of_the_pods(draft: Draft) -> Iterator[Problem]:
    """In the pod CIDRs, which are apart from services, hosts and the VIP: so are the pools, then."""
    whole = [placed.network for placed in draft.networks("pod_cidrs")]
    seen: list[IPNetwork] = []
    for path, pool in _cidrs(draft, "pools"):
        if whole and not any(_within(pool, each) for each in whole):
            listed = ", ".join(map(str, whole))
            reason = f"pools: {pool} lies outside the pod CIDRs {listed}"
            yield draft.problem(path, reason, "widen network.pod_cidrs, or choose a part of them")
        for other in seen:
            if pool.version == other.version and pool.overlaps(other):
                yield draft.problem(path, f"pools: {pool} overlaps {other}", "choose another")
        seen.append(pool)


def pools_hold_all_nodes(draft: Draft) -> Iterator[Problem]:
    """Each node takes a subnet of a pool of each family."""
    pools, nodes = [pool for _, pool in _cidrs(draft, "pools")], len(draft.nodes())
    for placed in draft.networks("pod_cidrs") if pools else ():
        own = [each for each in pools if each.version == placed.network.version]
        name = "node_cidr_mask" if placed.network.version == 4 else "node_cidr_mask_ipv6"
        mask = draft.get("network", name, default=getattr(Network, name))
        if not own:
            reason = f"pools: none of them is in {placed.network}"
            yield draft.problem((*_AT, "pools"), reason, "add one, or take that pod CIDR out")
        elif not isinstance(mask, Unusable):
            room = sum(1 << (mask - each.prefixlen) for each in own if each.prefixlen <= mask)
            if room < nodes:
                listed = " and ".join(map(str, own))
                reason = f"pools: {listed} has room for {room} nodes (/{mask} each), there are {nodes}"
                yield draft.problem((*_AT, "pools"), reason, f"add or widen pools, or raise {name}")


def native_routes_lead_to_all_pods(draft: Draft) -> Iterator[Problem]:
    """What goes to pods elsewhere would get the node's address, and policies would take it for the node's."""
    written = list(_cidrs(draft, "native_routing_cidrs"))
    seen: dict[int, IPNetwork] = {}
    for path, network in written:
        if network.version in seen:
            reason = f"native_routing_cidrs: {network} is a second one of IPv{network.version}"
            yield draft.problem(path, reason, "one for each IP family")
        seen.setdefault(network.version, network)
    for placed in draft.networks("pod_cidrs") if written else ():
        if not any(_within(placed.network, each) for each in seen.values()):
            reason = f"native_routing_cidrs: none holds the pod CIDR {placed.network}"
            yield draft.problem((*_AT, "native_routing_cidrs"), reason, f"did you mean '{placed.network}'?")


def hubble_is_whole(draft: Draft) -> Iterator[Problem]:
    at = (*_AT, "hubble")
    enabled, relay = draft.get(*at, "enabled"), draft.get(*at, "relay", default=False)
    if draft.get(*at, "ui") is True and relay is False:
        yield draft.problem((*at, "ui"), "ui: it asks Hubble's relay, and there is none", "set relay: true")
    if enabled is False and relay is True:
        reason = "enabled: the relay collects what agents remember, and they would remember nothing"
        yield draft.problem((*at, "enabled"), reason, "leave it out, or set relay: false")


def the_proxy_is_somebody(draft: Draft) -> Iterator[Problem]:
    """What is said of kube-proxy where there is none would be read by nobody."""
    if not _chosen(draft) or draft.get(*_AT, "kube_proxy_replacement") is not True:
        return
    if draft.get("tuning", "conntrack_max") is not None:
        reason = (
            "conntrack_max: kube-proxy sets it, and with network.cilium.kube_proxy_replacement there is none"
        )
        hint = "leave it out: Cilium tracks connections by itself"
        yield draft.problem(("tuning", "conntrack_max"), reason, hint, key=True)
    if draft.get("proxy") is not None:
        reason = "proxy: with network.cilium.kube_proxy_replacement there is no kube-proxy"
        yield draft.problem(
            ("proxy",), reason, "leave it out, or set kube_proxy_replacement: false", key=True
        )


def _chosen(draft: Draft) -> bool:
    return bool(draft.get("network", "plugin", default=Network.plugin) == "cilium")


def _cidrs(draft: Draft, name: str) -> Iterator[tuple[Path, IPNetwork]]:
    """Those that are written, and right by themselves."""
    written = draft.get(*_AT, name) if _chosen(draft) else None
    for index, text in enumerate(written if isinstance(written, list) else ()):
        if (*_AT, name, index) not in draft.bad:
            yield (*_AT, name, index), cidr(text)


def _within(network: IPNetwork, whole: IPNetwork) -> bool:
    return network.version == whole.version and network.subnet_of(whole)  # type: ignore[arg-type]  # one version
