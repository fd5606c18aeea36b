"""What would go wrong on the way from one plug-in to another, found before anything is changed."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence

from provisioner.action.migration.change import AT_ONCE, Change
from provisioner.engine.events import Emit, Note
from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.inventory.words import some
from provisioner.kube.kubectl import KUBECTL
from provisioner.kube.marks import ask
from provisioner.kube.workloads import Reading, read_workloads
from provisioner.network.record import ALONE
from provisioner.network.ways import way_of
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Runner
from provisioner.spec.model import Network

_BLOCKS = "ipamblocks.crd.projectcalico.org"
_LINKS = {
    "flannel": ("flannel",),
    "calico": ("vxlan.calico", "wireguard.cali"),
    "cilium": ("cilium_",),
}
"""How the names begin of links by which nodes bring pods' IPv4 packets to each other."""
_DEEPEST = 8
"""A part of the pod CIDRs that is proposed is at least 1/256 of them."""
Part = ipaddress.IPv4Network | ipaddress.IPv6Network


def check(change: Change, facts: Mapping[str, Facts], plane: Runner, emit: Emit) -> None:
    """Raises ProvisionError, and InputError where the inventory has to change. What is to be known, but no reason to
    refuse it, is emitted. Inside one plug-in `within` checks; once the former network is being taken away there is no
    way but on."""
    if change.begun and change.migration.phase == ALONE:
        return
    reading = read_workloads(plane)
    _check_nodes(change, reading)
    if change.within:
        return
    _check_kinds(change)
    _check_ports(change)
    _check_cilium(change, emit)
    _check_filters(change, facts, emit)
    if change.fresh:
        check_static(reading)
    if pools_of(change.new.network):
        _check_pools(change, reading)
    else:
        _check_homes(change, reading)
        _check_blocks(change, reading, plane)


def _check_nodes(change: Change, reading: Reading) -> None:
    """On a node that is not the inventory's nothing is changed: its pods would stay in the former network."""
    unknown = sorted(reading.homes.keys() - {name for name, node in change.new.nodes.items() if node.node})
    if unknown:
        raise ProvisionError(
            f"the cluster has nodes that the inventory does not have: {some(unknown)}",
            "name them under 'kube_node'; where one is gone for good, `kubectl delete node`",
        )


def _check_kinds(change: Change) -> None:
    for network in (change.old.network, change.new.network):
        if network.plugin == "calico" and network.calico.policy_only:
            raise ProvisionError(
                "calico with policy_only: true brings pods no packets: there is no network to migrate to or from",
                "choose calico with pools, or flannel",
            )
        if network.plugin == "calico" and network.calico.operated:
            raise ProvisionError(
                "network.calico.install: what Calico's operator makes is not migrated to or from",
                "choose install: manifest",
            )


def _check_ports(change: Change) -> None:
    """Two links of the kernel's do not listen at one port, but for VXLAN of different VNIs."""
    old, new = _tunnels(change.old.network), _tunnels(change.new.network)
    for port in sorted(old.keys() & new.keys()):
        if old[port] == new[port] or not (old[port].startswith("VNI") and new[port].startswith("VNI")):
            raise ProvisionError(
                f"{change.old.network.plugin} and {change.new.network.plugin} both want UDP port {port} for their "
                "tunnels, and for a while both are there",
                f"give {change.new.network.plugin} another port ({_port_key(change.new.network)})",
            )


def _tunnels(network: Network) -> dict[int, str]:
    """What listens, by port."""
    if network.carrier == "flannel":
        vni = f"VNI {network.flannel.vni}" if network.flannel.backend == "vxlan" else network.flannel.backend
    elif network.plugin == "calico":
        vni = f"VNI {network.calico.vxlan_vni}"
    else:
        vni = "cilium"
    ports = {port for version in (4, 6) for port in way_of(network, version).udp if port}
    found = dict.fromkeys(ports, vni)
    if network.plugin == "calico" and network.calico.wireguard:
        found |= {network.calico.wireguard_port(version): "wireguard" for version in (4, 6)}
    return found


def _port_key(network: Network) -> str:
    if network.plugin == "cilium":
        return "network.cilium.tunnel_port"
    if network.carrier == "flannel":
        return "network.flannel.port"
    return "vxlanPort or wireguardListeningPort of network.calico.felix"


def _check_cilium(change: Change, emit: Emit) -> None:
    if "cilium" not in (change.old.network.plugin, change.new.network.plugin):
        return
    if not change.all_at_once:
        raise ProvisionError(
            "cilium does not move node by node: its agents set all other plug-ins' configurations aside at once",
            f"say --strategy {AT_ONCE}",
        )
    emit(Note(level="warning", message="a migration to or from cilium has not been run by this project"))


def _check_filters(change: Change, facts: Mapping[str, Facts], emit: Emit) -> None:
    """While both networks are there, packets to a pod may come by one and the answers go by the other."""
    if change.all_at_once:
        return
    nodes = {
        name: each for name, each in facts.items() if name in change.new.nodes and change.new.nodes[name].node
    }
    strict = {name: links for name, each in nodes.items() if (links := _strict(change, name, each))}
    if strict:
        lines = [
            f"{name}: rp_filter is strict on {', '.join(links)}" for name, links in sorted(strict.items())
        ]
        links = sorted({each for found in strict.values() for each in found})
        settings = " ".join(f"net/ipv4/conf/{each}/rp_filter=2" for each in ("default", *links))
        raise ProvisionError(
            "\n".join([*lines, "what pods of one network answer those of the other would be dropped there"]),
            f"`sysctl -w {settings}` on these hosts until the migration has ended, or say --strategy {AT_ONCE}",
        )
    every = sorted(name for name, each in nodes.items() if "lo" in each.strict_links)
    if every:
        emit(
            Note(
                level="warning",
                message=f"rp_filter is strict on {', '.join(every)} for links that are still to come, by `all` or "
                "`default`: answers between pods of both networks may be dropped",
                hint="sysctl -w net/ipv4/conf/default/rp_filter=2, which the larger value of `all` goes before",
            )
        )


def _strict(change: Change, name: str, facts: Facts) -> list[str]:
    """Links of either network, and the node's own where one of them sends packets as they are."""
    old, new = change.old.network, change.new.network
    begins = (*_LINKS[old.carrier], *_LINKS[new.carrier])
    found = [each for each in facts.strict_links if each.startswith(begins)]
    if way_of(old, 4).plain != way_of(new, 4).plain:
        address = change.new.nodes[name].address
        found += [
            link
            for link, written in facts.addresses.items()
            if link in facts.strict_links and address in {each.partition("/")[0] for each in written}
        ]
    return sorted(set(found))


def pools_of(network: Network) -> dict[str, Part]:
    """Where pods get addresses, by name; nothing where each node has a part of its own from kube-controller-manager."""
    if network.plugin == "calico":
        return {each.name: ipaddress.ip_network(each.cidr) for each in network.calico.pools}
    if network.plugin == "cilium" and network.cilium.ipam == "cluster-pool":
        return {each: ipaddress.ip_network(each) for each in network.cilium.pools}
    return {}


def check_static(reading: Reading) -> None:
    """Raises ProvisionError for pods that nobody but a kubelet makes anew, and that would keep the former network."""
    named = [f"{each.namespace}/{each.name}" for each in reading.static if each.addresses]
    if named:
        raise ProvisionError(
            f"static pods are in the pod network, and no API makes them anew: {', '.join(named)}",
            "take their files out of their nodes' staticPodPath until the migration has ended, or give them "
            "hostNetwork: true",
        )


def _check_pools(change: Change, reading: Reading) -> None:
    """Two would give out the same addresses, and whose a pod's is could not be told."""
    old, new = change.old.network, change.new.network
    given = [*pools_of(old).items()] or [
        (name, part) for name, parts in sorted(reading.homes.items()) for part in parts
    ]
    problems = []
    for index, (name, pool) in enumerate(pools_of(new).items()):
        met = [f"{who} ({part})" * (who != str(part)) or who for who, part in given if _meet(pool, part)]
        if met:
            place = change.target.inventory.origin(None, "cluster", "network", new.plugin, "pools", index)
            reason = f"pools: {pool} meets what {old.plugin} gives out: {some(met)}"
            free = _free(new.pod_cidrs, [part for _, part in given], pool.version)
            written = f"{{name: {name}, cidr: {free}}}" if new.plugin == "calico" else free
            hint = f"write pools: [{written}]" if free else "no half or smaller part of the pod CIDRs is free"
            problems.append(Problem(*place, reason, hint))
    if problems:
        raise InputError(problems)


def _free(cidrs: Sequence[str], parts: Sequence[Part], version: int) -> str:
    """The largest part of the pod CIDRs in which no node has one; the last, because nodes get theirs from the first."""
    for deep in range(1, _DEEPEST + 1):
        for whole in map(ipaddress.ip_network, cidrs):
            if whole.version == version and whole.prefixlen + deep <= whole.max_prefixlen:
                inside: list[Part] = [*whole.subnets(prefixlen_diff=deep)]
                for each in reversed(inside):
                    if not any(_meet(each, part) for part in parts):
                        return str(each)
    return ""


def _check_homes(change: Change, reading: Reading) -> None:
    """The new one gives out what kube-controller-manager gives nodes."""
    wholes = [ipaddress.ip_network(each) for each in change.new.network.pod_cidrs]
    nodes = {name for name, node in change.new.nodes.items() if node.node} | reading.homes.keys()
    faults = []
    for name in sorted(nodes):
        for whole in wholes:
            own = [each for each in reading.homes.get(name, ()) if each.version == whole.version]
            if not own:
                faults.append(f"{name} has no pod CIDR of IPv{whole.version}")
            faults += [
                f"{name} has the pod CIDR {each}, outside {whole}" for each in own if not _meet(each, whole)
            ]
    if faults:
        raise ProvisionError(
            f"{change.new.network.plugin} needs a pod CIDR on each node (spec.podCIDRs):\n"
            + "\n".join(faults),
            "kube-controller-manager gives them with --allocate-node-cidrs=true and --cluster-cidr, once to each node: "
            "a node that has another one has to join anew",
        )


def _check_blocks(change: Change, reading: Reading, plane: Runner) -> None:
    """Addresses that the old one has given out are in use until the last pod has moved."""
    old, new = change.old.network, change.new.network
    if not pools_of(old):
        raise ProvisionError(
            f"{old.plugin} and {new.plugin} give pods addresses of the same parts, and whose a pod's is cannot be told",
            "migrate to calico first, and from there",
        )
    met = _met(change, reading, plane)
    if met:
        pools = [
            f"{{name: before{'-ipv6' * (':' in each)}, cidr: {each}}}"
            for each in _free_parts(change, reading)
        ]
        raise ProvisionError(
            met,
            f"have plugin: calico with pools: [{', '.join(pools)}] first, `provision migrate` --to calico, and "
            f"--to {new.plugin} afterwards",
        )


def check_given_out(change: Change, plane: Runner) -> None:
    """As `check` does, where the old network is its builder's, and no migration can change its pools. Raises
    ProvisionError."""
    old, new = change.old.network, change.new.network
    if change.within or not pools_of(old) or pools_of(new):
        return
    reading = read_workloads(plane)
    if met := _met(change, reading, plane):
        free = " and ".join(_free_parts(change, reading)) or "a part of the network without nodes' pod CIDRs"
        raise ProvisionError(
            met,
            f"{old.plugin} is as its builder has installed it: give it a second pool there ({free}), disable the one "
            "that it has, make all pods anew, delete the former pool, and say in the inventory what the pools are then",
        )


def _met(change: Change, reading: Reading, plane: Runner) -> str:
    """What the old one has given out of what the new one would; "" for nothing."""
    old, new = change.old.network, change.new.network
    blocks = _blocks(plane) if old.plugin == "calico" else map(str, pools_of(old).values())
    met = [
        f"{block} with {name}'s {part}"
        for block in blocks
        for name, parts in sorted(reading.homes.items())
        for part in parts
        if _meet(ipaddress.ip_network(block), part)
    ]
    if not met:
        return ""
    return f"what {old.plugin} has given out meets the pod CIDRs of nodes, of which {new.plugin} would: {some(met)}"


def _free_parts(change: Change, reading: Reading) -> list[str]:
    cidrs, homes = change.new.network.pod_cidrs, [part for parts in reading.homes.values() for part in parts]
    versions = sorted({ipaddress.ip_network(each).version for each in cidrs})
    return [part for version in versions if (part := _free(cidrs, homes, version))]


def _blocks(plane: Runner) -> Iterator[str]:
    """Where Calico has not come so far there are none."""
    script = f"""set -e
there=$({KUBECTL} get crd {_BLOCKS} --ignore-not-found -o name)
[ -z "$there" ] || {KUBECTL} get {_BLOCKS} -o jsonpath='{{.items[*].spec.cidr}}'
"""
    yield from ask(plane, script).decode(errors="replace").split()


def _meet(one: Part, other: Part) -> bool:
    return one.version == other.version and one.overlaps(other)
