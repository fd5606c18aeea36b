"""What Calico could not do as asked: speak BGP where nothing needs it, or give every node a block of addresses."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.errors import Problem
from provisioner.spec.calico import BGP, IPPool
from provisioner.spec.draft import Draft, Unusable
from provisioner.spec.validation import Path
from provisioner.spec.values import IPNetwork, cidr

_AT = ("network", "calico")
_BLOCKS = {4: ("block_size", 26, 32), 6: ("block_size_ipv6", 122, 128)}
"""Of an IP family: the key, its default and its end."""
_ASKING = (
    "peers",
    "route_reflectors",
    "service_cluster_ips",
    "service_external_ips",
    "service_load_balancer_ips",
)
"""Keys for which BGP is spoken under any encapsulation (spec.calico.BGP.asked_for)."""


def bgp_is_spoken(draft: Draft) -> Iterator[Problem]:
    """Felix writes the routes of VXLAN: without anybody to tell of them BIRD does not run, and its settings would be
    read by nobody."""
    written = draft.get(*_AT, "bgp")
    if not isinstance(written, dict) or not by_vxlan_alone(draft):
        return
    for name in written:
        if name not in _ASKING and (*_AT, "bgp", name) not in draft.bad:
            reason = f"{name}: where all pools have VXLAN, and there are no peers, no node speaks BGP"
            hint = "leave it out, name bgp.peers or bgp.route_reflectors, or choose the encapsulation IPIP or None"
            yield draft.problem((*_AT, "bgp", name), reason, hint, key=True)


def cluster_ids_are_of_reflectors(draft: Draft) -> Iterator[Problem]:
    """It is the word by which route reflectors know their own (docs, reference/resources/node)."""
    at = (*_AT, "bgp", "cluster_id")
    bgp = draft.get(*_AT, "bgp", default={})
    if not isinstance(bgp, dict) or at in draft.bad or by_vxlan_alone(draft) or bgp.get("route_reflectors"):
        return
    if (
        bgp.get("cluster_id", BGP.cluster_id) != BGP.cluster_id
        and (*_AT, "bgp", "route_reflectors") not in draft.bad
    ):
        reason = "cluster_id: there are no route reflectors, whose word it is"
        yield draft.problem(at, reason, "leave it out, or name bgp.route_reflectors", key=True)


def announced_services_are_ours(draft: Draft) -> Iterator[Problem]:
    """Routers send the nodes whatever these announce: of other addresses that would be a hole."""
    services = [each.network for each in draft.networks("service_cidrs")]
    for at, network in _announced(draft, "service_cluster_ips"):
        if services and not any(_holds(each, network) for each in services):
            listed = " and ".join(map(str, services))
            reason = f"service_cluster_ips: {network} is no part of the service CIDR {listed}"
            yield draft.problem(at, reason, f"did you mean '{_of_family(services, network) or services[0]}'?")
    owners = [(host.name, draft.address_of(host)) for host in draft.inventory.hosts.values()]
    owners.append(("the endpoint", draft.virtual_address()))
    pods = draft.networks("pod_cidrs")
    for name in ("service_external_ips", "service_load_balancer_ips"):
        for at, network in _announced(draft, name):
            inside = [
                f"{owner} ({known})" for owner, known in owners if known is not None and known in network
            ]
            inside += [
                f"pods ({each.network})"
                for each in pods
                if _holds(network, each.network) or _holds(each.network, network)
            ]
            if inside:
                named = ", ".join(inside[:3]) + (f" and {len(inside) - 3} more" if len(inside) > 3 else "")
                reason = f"{name}: {network} is not of services alone: it has addresses of {named}"
                yield draft.problem(at, reason, "announce what services alone have")


def _announced(draft: Draft, name: str) -> Iterator[tuple[Path, IPNetwork]]:
    at = (*_AT, "bgp", name)
    written = draft.get(*at)
    for index, text in enumerate(written if isinstance(written, list) else ()):
        if (*at, index) not in draft.bad:
            yield (*at, index), cidr(text)


def _holds(whole: IPNetwork, part: IPNetwork) -> bool:
    return whole.version == part.version and part.subnet_of(whole)  # type: ignore[arg-type]  # one version


def _of_family(networks: list[IPNetwork], like: IPNetwork) -> IPNetwork | None:
    return next((each for each in networks if each.version == like.version), None)


def by_vxlan_alone(draft: Draft) -> bool:
    """False also where that is not known, because what decides it is wrong."""
    bgp, words = draft.get(*_AT, "bgp", default={}), encapsulations(draft)
    if not isinstance(bgp, dict) or any(bgp.get(name) for name in _ASKING):
        return False
    return bool(words) and all(word.startswith("VXLAN") for word in words)


def spoken(draft: Draft) -> bool:
    """Whether nodes speak BGP; True also where that is not known."""
    if draft.get("network", "plugin") != "calico" or policy_only(draft):
        return False
    return not by_vxlan_alone(draft)


def policy_only(draft: Draft) -> bool:
    """Calico is there for policies alone, and others' routers carry pods' packets."""
    return draft.get(*_AT, "policy_only") is True


def encapsulations(draft: Draft) -> list[str]:
    """Of Calico's pools; none where it is not Calico that carries packets, or where they are wrong."""
    if draft.get("network", "plugin") != "calico" or isinstance(draft.get(*_AT, default={}), Unusable):
        return []
    if policy_only(draft):
        return []
    pools = draft.get(*_AT, "pools") or [{}]
    default = draft.get(*_AT, "encapsulation", default=IPPool.encapsulation)
    if isinstance(pools, Unusable) or isinstance(default, Unusable):
        return []
    words = [each.get("encapsulation", default) if isinstance(each, dict) else default for each in pools]
    return [str(word) for word in words]


def pools_hold_all_nodes(draft: Draft) -> Iterator[Problem]:
    """A node's pods get their addresses from blocks of its own: whoever gets none borrows addresses of others' blocks,
    one by one, while there are some (docs, reference/architecture, IP address management)."""
    if draft.get("network", "plugin") != "calico" or policy_only(draft):
        return
    nodes = len(draft.nodes())
    for placed in draft.networks("pod_cidrs"):
        own = list(_blocks(draft, placed.network.version, placed.network))
        room = sum(1 << max(size - each.prefixlen, 0) for each, size in own)
        if not own or room >= nodes or any(each.prefixlen > size for each, size in own):
            continue
        name, _, most = _BLOCKS[placed.network.version]
        listed = " and ".join(f"{each} ({1 << (size - each.prefixlen)} of /{size})" for each, size in own)
        reason = f"{listed}: {room} blocks of addresses in all, there are {nodes} nodes, and each takes one or more"
        at: Path = (*_AT, "pools") if draft.get(*_AT, "pools") else placed.path
        yield draft.problem(
            at, reason, f"widen it, or raise {name} (up to {most}), which makes blocks smaller"
        )


def _blocks(draft: Draft, version: int, whole: IPNetwork) -> Iterator[tuple[IPNetwork, int]]:
    """The pools of an IP family, and the prefix length of their blocks; none where something of it is wrong."""
    name, default, _ = _BLOCKS[version]
    common = draft.get(*_AT, name, default=default)
    pools = draft.get(*_AT, "pools")
    if isinstance(common, Unusable) or isinstance(pools, Unusable):
        return
    if not pools:
        yield whole, common
        return
    if any(bad[: len(_AT) + 1] == (*_AT, "pools") for bad in draft.bad):
        return
    for each in pools:
        network = cidr(each["cidr"])
        if network.version == version:
            yield network, each.get("block_size", common)
