"""What cannot change once a cluster runs: it is kept with the cluster's state and held against the spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from provisioner.errors import InputError, Problem
from provisioner.inventory.model import Inventory
from provisioner.pki.cluster import ClusterState, Fixed
from provisioner.playbook.facts import Facts
from provisioner.resources.model import Owned
from provisioner.spec.model import ClusterSpec, Network

_PLACES: Mapping[str, tuple[str, ...]] = {
    "pod_cidrs": ("network", "pod_cidrs"),
    "service_cidrs": ("network", "service_cidrs"),
    "node_cidr_mask": ("network", "node_cidr_mask"),
    "node_cidr_mask_ipv6": ("network", "node_cidr_mask_ipv6"),
    "domain": ("dns", "domain"),
    "existing": ("existing",),
    "plugin": ("network", "plugin"),
    "backend": ("network",),
    "ipam": ("network", "cilium"),
    "services": ("network", "cilium"),
    "install": ("network",),
}
_AGAIN = {
    ("calico", "vxlan"): "have VXLAN or VXLANCrossSubnet in all pools, and no bgp options",
    ("calico", "none"): "write policy_only: true again",
    ("calico", "bird"): "have a pool without VXLAN, or bgp options, as before",
}
"""What makes a backend that has no key of its own."""
_WORDS = {("calico", "vxlan"): "VXLAN alone", ("calico", "none"): "policies alone", ("calico", "bird"): "BGP"}
_WIRE_KEYS = {
    "flannel": "port, port_ipv6, vni, gbp and mode of network.flannel",
    "calico": "vxlanPort, vxlanVNI and wireguardListeningPort of network.calico.felix",
    "cilium": "network.cilium.tunnel_port",
}
_OF_PLUGINS = ("backend", "wire", "wireguard_ipv4", "wireguard_ipv6", "pools", "install", "ipam", "services")
_API_SERVER = "file:/etc/systemd/system/kube-apiserver.service"
_TO_BGP, _TO_ROUTERS, _FROM_BGP = "vxlan to bird", "vxlan to bird outside", "bird to vxlan"
"""Where pods are reached by VXLAN afterwards, and BGP comes or goes (Calico 3.28, node/pkg/health,
checkBIRDReady)."""
_REASONS = {
    "pod_cidrs": "nodes keep the part of it that they were given",
    "service_cidrs": "services keep their addresses, the cluster's DNS service among them",
    "existing": "its services are its builder's, and the other way round",
    "plugin": "pods keep the addresses and the links that the other one gave them",
    **dict.fromkeys(
        ("backend", "wire", "wireguard_ipv4", "wireguard_ipv6"),
        "nodes that have changed already and those that have not do not reach each other's pods",
    ),
    "ipam": "pods have addresses of the parts that nodes were given so",
    "services": "connections of pods are translated by the one, and the other does not know of them",
    "pools": "nodes have blocks of it, and pods their addresses",
    _TO_BGP: "agents wait for sessions before they are ready, are changed one after the other, and those of the others "
    "do not speak BGP yet",
    _TO_ROUTERS: "no way is known from the one to the other while pods run",
    _FROM_BGP: "nodes end their sessions one after the other, and who has learned by them where pods are forgets it",
    "install": "the operator would make a second set of agents beside the first, which nothing takes away",
    "domain": "pods have it in their resolv.conf, and tokens are issued in its name",
}


def fixed_of(spec: ClusterSpec) -> Fixed:
    """The spec's values of what is fixed."""
    network = spec.network
    existing: Fixed = {"existing": spec.existing.preset} if spec.existing else {}
    cilium: Fixed = {}
    if network.plugin == "cilium":
        services = "kube-proxy" if network.kube_proxy else "cilium"
        cilium = {"ipam": network.cilium.ipam, "services": services}
        if network.cilium.ipam == "cluster-pool":
            cilium = {**cilium, "pools": list(network.cilium.pools)}
    calico: Fixed = {}
    if network.plugin == "calico":
        pools = [
            f"{each.name} of {each.cidr} in blocks of /{each.block_size}" for each in network.calico.pools
        ]
        calico = {"install": network.calico.install, "pools": pools}
    return {
        **existing,
        **calico,
        "pod_cidrs": list(network.pod_cidrs),
        "service_cidrs": list(network.service_cidrs),
        "node_cidr_mask": network.node_cidr_mask,
        "node_cidr_mask_ipv6": network.node_cidr_mask_ipv6,
        "domain": spec.dns.domain,
        "plugin": network.plugin,
        "backend": network.backend,
        **wire_of(network),
        **cilium,
    }


def wire_of(network: Network) -> Fixed:
    """What both ends of a tunnel have to have in common beside the back end; nothing where there is no such thing."""
    if network.carrier == "cilium":
        port = network.cilium.udp_port
        return {"wire": f"UDP {port}"} if port else {}
    if network.carrier != "flannel":
        return _wires_of_calico(network)
    flannel = network.flannel
    if flannel.backend == "vxlan":
        return {"wire": f"UDP {flannel.udp_port}, VNI {flannel.vni}{', GBP' * flannel.gbp}"}
    if flannel.backend == "wireguard":
        both = f" and {flannel.port_ipv6}" if flannel.mode == "separate" and network.ipv6 else ""
        return {"wire": f"UDP {flannel.udp_port}{both}, mode {flannel.mode}"}
    return {"wire": f"UDP {flannel.udp_port}"} if flannel.udp_port else {}


def _wires_of_calico(network: Network) -> Fixed:
    """Apart, because WireGuard may go and come beside VXLAN: a node without it gets what is not encrypted. Felix takes
    its own port for that of all others (3.28, felix/wireguard)."""
    calico = network.calico
    vxlan: Fixed = {"wire": f"UDP {calico.vxlan_port}, VNI {calico.vxlan_vni}"}
    versions = sorted({6 if ":" in each.cidr else 4 for each in calico.pools})
    wireguard: Fixed = {
        f"wireguard_ipv{each}": f"UDP {calico.wireguard_port(each)}" for each in versions if calico.wireguard
    }
    tunnelled = any(each.startswith("VXLAN") for each in calico.encapsulations)
    return {**(vxlan if tunnelled else {}), **wireguard}


def moved_network(state: ClusterState, spec: ClusterSpec) -> ClusterState:
    """`state` with the spec's pod network for its own; what a migration does not change is as it was."""
    names = ("plugin", *_OF_PLUGINS)
    kept = {name: each for name, each in state.fixed.items() if name not in names}
    return replace(
        state, fixed={**kept, **{name: each for name, each in fixed_of(spec).items() if name in names}}
    )


def with_fixed(
    spec: ClusterSpec,
    state: ClusterState,
    facts: Mapping[str, Facts],
    owned: Mapping[str, Mapping[str, Owned]],
) -> ClusterState:
    """`state` with the spec's values as long as the cluster is known never to have run, else with those alone that it
    does not have (an older format's). `owned` is what the hosts remember, by host and resource id."""
    wanted = fixed_of(spec)
    if never_ran(spec, facts, owned):
        return replace(state, fixed=wanted)
    pools: Fixed = {"pools": [*dict.fromkeys(_pools(state.fixed) + _pools(wanted))]} if _pools(wanted) else {}
    # Calico's tunnels go at all nodes at once, by one object: then their port may be another when they come again. The
    # others' go with their back end, which is kept.
    kept = {name: each for name, each in state.fixed.items() if name in wanted or not name.startswith("wire")}
    return replace(state, fixed={**wanted, **kept, **pools})


def _pools(fixed: Fixed) -> list[str]:
    found = fixed.get("pools")
    return found if isinstance(found, list) else []


def never_ran(
    spec: ClusterSpec, facts: Mapping[str, Facts], owned: Mapping[str, Mapping[str, Owned]]
) -> bool:
    """Of all hosts that could know. An API server gives the first Service its address before any node is there, and
    is seen even where all nodes of a cluster have left the inventory."""
    nodes = {name for name, node in spec.nodes.items() if node.node}
    return (
        nodes <= facts.keys()
        and not any(each.kubelet_certificate for each in facts.values())
        and not any(_API_SERVER in each for each in owned.values())
    )


def check_fixed(inventory: Inventory, spec: ClusterSpec, state: ClusterState) -> None:
    """Raises InputError at each value of the spec that is another one than the running cluster's."""
    problems = []
    # What a state says nothing of is as the spec has it; but who has built the cluster, every state says.
    ours: Fixed = {"existing": "none"}
    for name, wanted in {**ours, **fixed_of(spec)}.items():
        has = state.fixed.get(name, ours.get(name, wanted))
        if name == "pools":  # further ones may come
            has, wanted = [each for each in _pools(state.fixed) if each not in _pools(fixed_of(spec))], []
        if name in _OF_PLUGINS and state.fixed.get("plugin", spec.network.plugin) != spec.network.plugin:
            continue  # that is said of the plug-in
        if name == "wire" and state.fixed.get("backend", spec.network.backend) != spec.network.backend:
            continue  # that is said of the back end
        if has != wanted:
            keys = _place(name, spec)
            why = _REASONS.get(_change(name, spec, state), _REASONS["pod_cidrs"])
            said = _WORDS.get((spec.network.carrier, str(has)), "") if name == "backend" else ""
            runs = f"the cluster runs with {said or _said(has)}, and that cannot be changed: {why}"
            reason = f"{_label(name, keys[-1], spec)}: {runs}"
            hint = f"{_again(name, has, spec)}, or {_otherwise(name, has, spec, str(inventory.path))}"
            problems.append(Problem(*inventory.origin(None, "cluster", *keys), reason, hint))
    if problems:
        raise InputError(problems)


def _label(name: str, key: str, spec: ClusterSpec) -> str:
    """What a reader of the spec knows it by."""
    carrier = spec.network.carrier
    if name.startswith("wireguard"):
        return f"WireGuard's port over IPv{name[-1]}"
    if name == "wire":
        return f"{carrier if carrier == 'flannel' else carrier.capitalize()}'s tunnel"
    return key if name == "backend" else name


def _again(name: str, has: object, spec: ClusterSpec) -> str:
    """How the spec says what the cluster has."""
    carrier = spec.network.carrier
    if name == "backend" and (carrier, str(has)) in _AGAIN:
        return _AGAIN[carrier, str(has)]
    if name.startswith("wire"):
        return f"say so again ({_WIRE_KEYS[carrier]})"
    return f"write {_said(has)} again"


def _otherwise(name: str, has: object, spec: ClusterSpec, inventory: str) -> str:
    """How the cluster gets what the spec says."""
    network = spec.network
    calico = network.plugin == "calico" and not network.calico.operated and not network.calico.policy_only
    if network.plugin == "flannel":
        can = has == "calico" if name == "plugin" else name == "backend"
    else:
        can = calico and (
            name == "pools" or has in {"plugin": ["flannel"], "backend": ["vxlan", "bird"]}.get(name, [])
        )
    return f"`provision migrate {inventory} --to {network.plugin}`" if can else "build another cluster"


def _change(name: str, spec: ClusterSpec, state: ClusterState) -> str:
    """What the change of a fixed value is, among `_REASONS`."""
    change = f"{state.fixed.get(name)} to {spec.network.backend}"
    if name != "backend" or change not in (_TO_BGP, _FROM_BGP) or spec.network.carrier != "calico":
        return name
    calico = spec.network.calico
    if not all(each.startswith("VXLAN") for each in calico.encapsulations):
        return name
    inside = calico.bgp.meshed or calico.bgp.route_reflectors or any(each.peers for each in calico.bgp.peers)
    return change if inside or change == _FROM_BGP else _TO_ROUTERS


def _place(name: str, spec: ClusterSpec) -> tuple[str, ...]:
    """A backend is of the plug-in's section; Calico's comes of its encapsulation, or there is none."""
    if name == "pools" or name.startswith("wire"):
        return ("network", spec.network.carrier, *(["pools"] if name == "pools" else []))
    if name != "backend":
        return _PLACES[name]
    carrier, calico = spec.network.carrier, spec.network.calico
    by_bgp = calico.backend == "bird" and all(each.startswith("VXLAN") for each in calico.encapsulations)
    key = "policy_only" if calico.policy_only else "bgp" if by_bgp else "encapsulation"
    return ("network", carrier, key if carrier == "calico" else "backend")


def _said(value: object) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, list) else str(value)
