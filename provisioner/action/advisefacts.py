"""What an inventory's hosts tell of the place where a cluster is to be: one exec a host, and nothing is changed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from provisioner.action.advise import Known
from provisioner.action.advisereleases import releases_in
from provisioner.action.connect import connect_to
from provisioner.action.gather import gather_each
from provisioner.action.podnetwork import network_of
from provisioner.action.reach import all_reached
from provisioner.engine.advice import UNKNOWN, Advice
from provisioner.network import section
from provisioner.network.site import MODULES, version_of
from provisioner.playbook.facts import Facts
from provisioner.spec.goregexp import compiled
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Network

_CLOUDS = ("amazon", "google")
_AMBIGUOUS = ("", "microsoft")
"""Hyper-V is a site's own, or Azure's."""


def read_hosts(path: Path) -> Known:
    """Raises InputError for a wrong inventory, UnreachableError with all hosts that were not reached. What else a run
    needs of hosts, advice can do without."""
    inventory, spec = load_cluster(path)
    nodes = [name for name, node in spec.nodes.items() if node.node]
    with connect_to(inventory, nodes) as pool:
        firewall = spec.firewall != "ignore"
        facts = all_reached(gather_each(pool, nodes, MODULES, firewall=firewall, links=True))
    cluster: Mapping[str, Any] = inventory.variables["cluster"]
    return known_of(spec, cluster.get("network", {}), facts)


def known_of(spec: ClusterSpec, written: Mapping[str, Any], facts: Mapping[str, Facts]) -> Known:
    """Of the facts of all nodes. `written` is the section `network` as it stands in the inventory."""
    links = {name: _link(spec.nodes[name].address, each) for name, each in facts.items()}
    mtus = [facts[name].mtus[link] for name, link in links.items() if link in facts[name].mtus]
    whole = len(mtus) == len(facts)
    looked_at = compiled(spec.network.calico.mtu_links)
    odd = {links[name] for name, each in facts.items() if _odd(each, looked_at)}
    return Known(
        answers={
            "environment": _environment(facts),
            "nodes": str(len(facts)),
            "subnets": _subnets(spec, facts),
            "kernel": _oldest(facts),
            **({"policy": "yes"} if spec.network.policies else {}),
            **({"bgp": "yes"} if any(each.address for each in spec.network.calico.bgp.peers) else {}),
            "modules": ",".join(
                each for each in MODULES if all(each in one.modules for one in facts.values())
            )
            or "none",
        },
        else_={
            "architectures": frozenset(each.architecture for each in facts.values()),
            "releases": releases_in(spec.bundle),
            "proxy": spec.proxy.mode,
            "pod_cidrs": spec.network.pod_cidrs,
            "service_cidrs": spec.network.service_cidrs,
            "written": written,
            "mtu": min(mtus) if whole else 0,
            "mtus_differ": whole and len(set(mtus)) > 1,
            "odd_links": tuple(sorted(odd - {""})),
        },
        remarks=tuple(_remarks(spec, facts)),
        after=lambda advice: _about(advice, spec, running=any(each.mark for each in facts.values())),
    )


def _environment(facts: Mapping[str, Facts]) -> str:
    kinds = {each.virtual for each in facts.values()}
    if not kinds or kinds & set(_AMBIGUOUS):
        return UNKNOWN
    if kinds & set(_CLOUDS):
        return "cloud"
    return "metal" if kinds == {"none"} else "vm"


def _subnets(spec: ClusterSpec, facts: Mapping[str, Facts]) -> str:
    addresses = {name: ipaddress.ip_address(spec.nodes[name].address) for name in facts}
    networks = [network_of(addresses[name], each) for name, each in facts.items()]
    if any(each is None for each in networks):
        return UNKNOWN
    apart = any(address not in network for network in networks if network for address in addresses.values())
    return "several" if apart else "one"


def _oldest(facts: Mapping[str, Facts]) -> str:
    versions = [version_of(each.kernel) for each in facts.values()]
    known = [each for each in versions if each is not None]
    return ".".join(map(str, min(known))) if known and len(known) == len(versions) else UNKNOWN


def _link(address: str, facts: Facts) -> str:
    """The one that has the address; "" when none has."""
    own = ipaddress.ip_address(address)
    for link, written in facts.addresses.items():
        if any(ipaddress.ip_interface(each).ip == own for each in written):
            return link
    return ""


def _odd(facts: Facts, looked_at: re.Pattern[str]) -> bool:
    """Calico sees none of the links."""
    return bool(facts.mtus) and not any(map(looked_at.search, facts.mtus.keys() - {*facts.idle_links}))


def _remarks(spec: ClusterSpec, facts: Mapping[str, Facts]) -> Iterator[str]:
    oldest = version_of(_oldest(facts))
    behind = [name for name, each in facts.items() if version_of(each.kernel) == oldest]
    if oldest is not None and len(behind) < len(facts):
        yield f"the oldest kernel is that of {', '.join(behind)}"
    for module in MODULES:
        without = [name for name, each in facts.items() if module not in each.modules]
        if without and len(without) < len(facts):
            yield f"the kernel's module {module} is missing on {', '.join(without)} alone"
    walls: dict[str, list[str]] = {}
    for name, each in facts.items():
        if each.firewall:
            walls.setdefault(each.firewall, []).append(name)
    for wall, names in walls.items():
        opened = "opens" if spec.firewall == "manage" else "`cluster.firewall: manage` would open"
        yield f"{wall} is at work on {', '.join(names)}; {opened} what nodes need of each other"
    plain = [name for name, each in facts.items() if not each.root]
    if plain:
        yield f"not root on {', '.join(plain)}: whether a firewall is at work there is not known"
    if spec.existing is not None:
        yield "the cluster is one that others have built: its network is not installed by provision"


def _about(advice: Advice, spec: ClusterSpec, *, running: bool) -> Iterator[str]:
    network = section.network_of(advice.section)
    if _mode(network) == _mode(spec.network):
        yield "the inventory has this plug-in in this mode already"
    elif running and _fixed(network) != _fixed(spec.network):
        yield "a cluster runs there and keeps its plug-in and backend: `apply` refuses others; this is for a new one"
    elif running:
        yield "a cluster runs there: while its nodes change to another mode, pods of some may not reach others"


def _fixed(network: Network) -> tuple[str, str]:
    """As action.fixed has it."""
    return network.plugin, network.backend


def _mode(network: Network) -> tuple[object, ...]:
    if network.plugin == "flannel":
        return network.plugin, network.flannel.backend, network.flannel.direct_routing
    if network.plugin == "cilium":
        return network.plugin, network.backend, network.cilium.wireguard
    return (
        network.plugin,
        network.calico.encapsulations,
        network.calico.wireguard,
        bool(network.calico.bgp.peers),
    )
