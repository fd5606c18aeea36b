"""flannel's back ends: which options they have, and which IP families (flannel 0.28, Documentation/backends.md)."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network

from provisioner.errors import Problem
from provisioner.spec.draft import Draft, Unusable
from provisioner.spec.model import Flannel
from provisioner.spec.versions import BACKENDS

_OPTIONS = {
    "vni": ("vxlan",),
    "gbp": ("vxlan",),
    "learning": ("vxlan",),
    "direct_routing": ("vxlan", "ipip"),
    "port": ("vxlan", "wireguard", "udp"),
    "port_ipv6": ("wireguard",),
    "mode": ("wireguard",),
    "keepalive": ("wireguard",),
    "mtu": ("vxlan", "wireguard"),
}
"""By the name of an option, the back ends that have it. For all others flannel takes the link's MTU."""
_IPV6 = ("vxlan", "host-gw", "wireguard")
_PRIVATE = ip_network("fc00::/7")
"""What flannel takes for that (pkg/ip, IP6.IsPrivate)."""
_LINKS = ("interface", "interface_regex", "can_reach")


def options_belong_to_the_backend(draft: Draft) -> Iterator[Problem]:
    backend = _backend(draft)
    for name, backends in _OPTIONS.items():
        if not _given(draft, name) or backend in (*backends, None):
            continue
        reason = f"{name}: the back end {backend} has no such option"
        yield draft.problem(
            ("network", "flannel", name),
            reason,
            f"leave it out; it is one of {' and '.join(backends)}",
            key=True,
        )


def one_way_to_find_the_link(draft: Draft) -> Iterator[Problem]:
    given = [name for name in _LINKS if _given(draft, name)]
    for name in given[1:]:
        reason = f"{name}: flannel's link is found by {given[0]} already"
        yield draft.problem(("network", "flannel", name), reason, "leave one of them out", key=True)


def the_backend_has_the_families(draft: Draft) -> Iterator[Problem]:
    backend = _backend(draft)
    if backend is None or backend in _IPV6:
        return
    for placed in draft.networks("pod_cidrs"):
        if placed.network.version == 6:
            reason = f"flannel's back end {backend} carries IPv4 alone, {placed.network} is IPv6"
            yield draft.problem(placed.path, reason, f"use {', '.join(_IPV6[:-1])} or {_IPV6[-1]}")


def one_tunnel_has_one_port_and_its_family(draft: Draft) -> Iterator[Problem]:
    """Of WireGuard: only the mode separate has two, and a peer without an address of the mode's family is called
    nowhere."""
    mode = draft.get("network", "flannel", "mode", default=Flannel.mode)
    if _backend(draft) != "wireguard" or mode == "separate" or isinstance(mode, Unusable):
        return
    if _given(draft, "port_ipv6"):
        reason = f"port_ipv6: with mode: {mode} there is one tunnel for both families, at one port"
        hint = "say it with port, or use mode: separate"
        yield draft.problem(("network", "flannel", "port_ipv6"), reason, hint, key=True)
    pods = draft.networks("pod_cidrs")
    if pods and mode in ("ipv4", "ipv6") and all(f"ipv{each.network.version}" != mode for each in pods):
        reason = f"mode: {mode}: there is no pod CIDR of that family, and so no node's address of it"
        yield draft.problem(("network", "flannel", "mode"), reason, "use separate")
    if pods and mode == "auto" and all(each.network.version == 6 for each in pods):
        yield from _called_nowhere(draft)


def _called_nowhere(draft: Draft) -> Iterator[Problem]:
    """In the mode auto a node with a private IPv6 address is called by IPv4 (selectMode), also where it has none."""
    for host in draft.nodes():
        known = draft.address_of(host)
        if known is not None and known.version == 6 and known in _PRIVATE:
            reason = f"mode: auto: there flannel goes by IPv4 to {host.name}, whose IPv6 address {known} is private"
            yield draft.problem(("network", "flannel", "mode"), reason, "use ipv6, or separate")
            return


def _given(draft: Draft, name: str) -> bool:
    """It is written, and not wrong by itself."""
    value = draft.get("network", "flannel", name)
    return value is not None and not isinstance(value, Unusable)


def _backend(draft: Draft) -> str | None:
    """None where that is wrong."""
    if draft.get("network", "plugin", default="flannel") not in ("flannel", "canal"):
        return None
    backend = draft.get("network", "flannel", "backend", default=Flannel.backend)
    return backend if backend in BACKENDS else None
