"""Tuning that could not be: links found in no way or in two, settings that others make, tunnels that there are not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.spec.draft import Draft, Unusable
from provisioner.spec.kernelnames import TUNED, check_value, dotted
from provisioner.spec.tuning import CHECKSUM
from provisioner.spec.values import RefusedError

_OURS = (
    "net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables",
    "vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops", "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes", "net.ipv6.conf.all.forwarding",
)  # fmt: skip
"""What every node has (playbooks/nodes.yaml); the one of IPv6 where pods have addresses of it."""
_FORWARDING = re.compile(r"net\.ipv[46]\.conf\.[^.]+\.forwarding")
"""The same by other names: ip_forward is conf.all.forwarding, and sets it for every link (networking/ip-sysctl)."""
_GROUPS = ("channels", "rings", "offloads")


def links_are_found_in_one_way(draft: Draft) -> Iterator[Problem]:
    links = draft.get("tuning", "links", default=[])
    if isinstance(links, Unusable):
        return
    for index, link in enumerate(links):
        path = ("tuning", "links", index)
        if any(path == bad[:3] for bad in draft.bad):
            continue
        ways = [name for name in ("name", "driver") if name in link]
        if len(ways) != 1:
            reason = "a link is found by its name or by its driver" + (", not by both" if ways else "")
            yield draft.problem(path, reason, "such as name: eth0")
        if not any(link.get(each) for each in _GROUPS):
            yield draft.problem(path, "nothing is set on it", f"one of {', '.join(_GROUPS)}")


def links_are_named_once(draft: Draft) -> Iterator[Problem]:
    """Of two entries for one link the last would hold, where both say the same of it."""
    links = draft.get("tuning", "links")
    seen: set[tuple[str, str]] = set()
    for index, link in enumerate(links if isinstance(links, list) else ()):
        for way in ("name", "driver"):
            path = ("tuning", "links", index, way)
            chosen = link.get(way) if isinstance(link, dict) and path not in draft.bad else None
            if not isinstance(chosen, str):
                continue
            if (way, chosen) in seen:
                reason = f"{way}: an entry for {chosen} is there already"
                yield draft.problem(path, reason, "say all of it in one entry")
            seen.add((way, chosen))


def settings_are_nobody_elses(draft: Draft) -> Iterator[Problem]:
    settings = draft.get("tuning", "sysctls", default={})
    if isinstance(settings, Unusable):
        return
    for written in settings:
        name = dotted(written)
        if name.startswith("net.ipv6.") and all(
            each.network.version == 4 for each in draft.networks("pod_cidrs")
        ):
            continue
        path = ("tuning", "sysctls", written)
        if path in draft.bad:
            continue
        if name in _OURS or _FORWARDING.fullmatch(name):
            reason = f"{written}: every node has this setting as Kubernetes needs it"
            yield draft.problem(path, reason, "leave it out", key=True)
        elif not name.startswith(TUNED):
            reason = (
                f"{written}: tuning is of the network, of memory and of files, and this changes the machine"
            )
            yield draft.problem(path, reason, f"they begin with {', '.join(TUNED)}", key=True)


def settings_take_their_values(draft: Draft) -> Iterator[Problem]:
    settings = draft.get("tuning", "sysctls", default={})
    if isinstance(settings, Unusable):
        return
    for name, value in settings.items():
        path = ("tuning", "sysctls", name)
        if path in draft.bad:
            continue
        try:
            check_value(dotted(name), value)
        except RefusedError as refused:
            yield draft.problem(path, refused.reason, refused.hint)


def settings_are_said_once(draft: Draft) -> Iterator[Problem]:
    """Of two spellings of one setting the last would hold."""
    settings = draft.get("tuning", "sysctls", default={})
    if isinstance(settings, Unusable):
        return
    first: dict[str, str] = {}
    for name in settings:
        other = first.setdefault(dotted(name), name)
        if other != name and ("tuning", "sysctls", name) not in draft.bad:
            reason = f"{name}: it is the same setting as {other}"
            yield draft.problem(("tuning", "sysctls", name), reason, "leave one of them out", key=True)


def checksums_are_of_a_tunnel(draft: Draft) -> Iterator[Problem]:
    written = draft.get("tuning", "vxlan_checksum_offload")
    if written not in CHECKSUM or _vxlan(draft):
        return
    reason = "vxlan_checksum_offload: no packets go through VXLAN here"
    yield draft.problem(("tuning", "vxlan_checksum_offload"), reason, "leave it out", key=True)


def _vxlan(draft: Draft) -> bool:
    """Also where that is not known, because what decides it is wrong."""
    plugin = draft.get("network", "plugin", default="flannel")
    if plugin == "cilium":
        chosen = (
            draft.get("network", "cilium", name, default=default)
            for name, default in (("routing_mode", "tunnel"), ("tunnel_protocol", "vxlan"))
        )
        return all(isinstance(word, Unusable) or word in ("tunnel", "vxlan") for word in chosen)
    if plugin != "calico":
        backend = draft.get("network", "flannel", "backend", default="vxlan")
        return isinstance(backend, Unusable) or backend == "vxlan"
    calico = draft.get("network", "calico", default={})
    if isinstance(calico, Unusable):
        return True
    if calico.get("policy_only") is True:
        return False
    default = calico.get("encapsulation", "VXLAN")
    pools = calico.get("pools") or [{}]
    words = [pool.get("encapsulation", default) if isinstance(pool, dict) else default for pool in pools]
    return any(str(word).startswith("VXLAN") for word in words)
