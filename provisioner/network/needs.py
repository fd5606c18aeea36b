"""What a plug-in and its mode need of hosts, kernels and the wire between nodes; known before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from provisioner.network.combinations import Version, kernel_for, kernel_with
from provisioner.network.ways import way_of
from provisioner.spec.calico import BGPPeer
from provisioner.spec.model import ClusterSpec, Network
from provisioner.spec.selectors import chooses, labels_of


@dataclass(frozen=True)
class Needs:
    """`modules` of the kernel, of at least the version `kernel`, which the mode wants, and the plug-in's release where
    that is given (that of a bundle is judged by network.combinations); `udp` and `tcp` ports of every node, and IP
    `protocols` by name, that the others send to. `adjacent`: IP versions over which each node is in the others' subnet,
    because none is asked to route; by such a version `told` has the nodes of whose pods a router knows, which need not
    be on the others' link. `apart` says what to do where they are not. `architectures`: those that there is a program
    for; any when there are none. `what` asks for it, in words.
    """

    what: str
    modules: tuple[str, ...] = ()
    kernel: tuple[int, int] = (0, 0)
    udp: tuple[int, ...] = ()
    tcp: tuple[int, ...] = ()
    protocols: tuple[str, ...] = ()
    adjacent: tuple[int, ...] = ()
    apart: str = ""
    architectures: tuple[str, ...] = ()
    told: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def on_link(self, node: str, version: int) -> bool:
        """Whether the others send to its pods as to a neighbour."""
        return version in self.adjacent and node not in self.told.get(version, ())


def needs_of(spec: ClusterSpec) -> Needs:
    """Of the cluster's network."""
    nodes = {name for name, node in spec.nodes.items() if node.node}
    found = network_needs(spec.network, len(nodes))
    if spec.network.plugin != "calico":
        return found
    told = {version: told_of(spec, version) for version in _plain(spec.network)}
    adjacent = tuple(version for version in told if told[version] < nodes)
    return replace(found, adjacent=adjacent, told={each: told[each] for each in adjacent if told[each]})


def told_of(spec: ClusterSpec, version: int) -> frozenset[str]:
    """Nodes that have, or may have, a session over the IP version with a router, which learns of their pods so. All,
    where one that reflects routes has it."""
    bgp = spec.network.calico.bgp
    peers = [each for each in bgp.peers if _is_router(each, version)]
    nodes = {name: node.labels for name, node in spec.nodes.items() if node.node}
    if spec.existing:  # nobody knows their labels
        return frozenset(nodes if peers else ())
    known = {name: labels_of(name, own, bgp.route_reflectors) for name, own in nodes.items()}
    found = frozenset(
        name
        for name, labels in known.items()
        if any(chooses(each.nodes, labels) is not False for each in peers)
    )
    return frozenset(nodes) if found & {*bgp.route_reflectors} else found


def _is_router(peer: BGPPeer, version: int) -> bool:
    return peer.address is not None and (":" in peer.address) is (version == 6)


def _plain(network: Network) -> tuple[int, ...]:
    """IP versions of pods' packets that go as they are. A router between nodes has to be told of the pods, by a session
    with it, or knows of them by itself."""
    return tuple(
        version
        for version in _versions(network)
        if way_of(network, version).plain and not network.calico.policy_only
    )


def network_needs(
    network: Network, nodes: int, releases: Mapping[str, Version] = MappingProxyType({})
) -> Needs:
    """Of a network for so many nodes, by plug-ins of these `releases`."""
    if network.plugin == "cilium":
        found = _cilium(network)
    else:
        found = _calico(network, nodes) if network.plugin == "calico" else _flannel(network)
    feature = kernel_with("wireguard").version if "wireguard" in found.modules else (0, 0)
    plugins = ("flannel", "calico") if network.plugin == "canal" else (network.plugin,)
    return replace(
        found, kernel=max(feature, *(kernel_for(each, releases.get(each)).version for each in plugins))
    )


def _cilium(network: Network) -> Needs:
    """Cilium 1.16, docs, operations/system_requirements. It masquerades by iptables and ipset, and mounts the file
    system bpf by itself; its checks of health do with TCP alone."""
    cilium = network.cilium
    tunnel = (cilium.tunnel_protocol,) if cilium.tunnelled else ()
    wireguard = ("wireguard",) if cilium.wireguard else ()
    parts = [cilium.backend, *(["WireGuard"] if cilium.wireguard else [])]
    parts += ["without kube-proxy"] if cilium.kube_proxy_replacement else []
    return Needs(
        f"Cilium ({', '.join(parts)})",
        modules=("cls_bpf", "sch_ingress", "ip_set", "ip_set_hash_ip", "xt_set", *tunnel, *wireguard),
        udp=(*((cilium.udp_port,) if tunnel else ()), *((51871,) if wireguard else ())),
        tcp=(4240, *((4244,) if cilium.hubble.relay else ())),
        adjacent=_versions(network) if not cilium.tunnelled and cilium.auto_direct_node_routes else (),
        apart="use routing_mode: tunnel, or auto_direct_node_routes: false where routers know the way to pods",
        architectures=("amd64", "arm64"),
    )


def _calico(network: Network, nodes: int) -> Needs:
    """Calico 3.28, docs, getting-started/kubernetes/requirements."""
    calico = network.calico
    vxlan, ipip = (any(each.startswith(kind) for each in calico.encapsulations) for kind in ("VXLAN", "IPIP"))
    tunnels = tuple(calico.wireguard_port(version) for version in _versions(network))
    names = (("vxlan", vxlan), ("ipip", ipip), ("wireguard", calico.wireguard))
    bgp, typha = calico.backend == "bird", calico.with_typha(nodes)
    modes = ", ".join(sorted(calico.encapsulations)) or "policies alone"
    return Needs(
        f"Calico ({modes}{', WireGuard' * calico.wireguard})",
        modules=tuple(name for name, wanted in names if wanted),
        udp=(*((calico.vxlan_port,) if vxlan else ()), *(tunnels if calico.wireguard else ())),
        tcp=(*((calico.bgp.listen_port,) if bgp else ()), *((5473,) if typha else ())),
        protocols=("ipip",) if ipip else (),
        adjacent=tuple(
            version
            for version in _plain(network)
            if not any(_is_router(each, version) for each in calico.bgp.peers)
        ),
        apart="use VXLANCrossSubnet, or name the router among network.calico.bgp.peers",
    )


def _flannel(network: Network) -> Needs:
    """flannel 0.28, Documentation/backends.md; its proxy for the back end udp is assembled for amd64 alone."""
    flannel = network.flannel
    what = f"flannel's back end {flannel.backend}"
    if flannel.backend == "vxlan":
        return Needs(what, modules=("vxlan",), udp=(flannel.udp_port,))
    if flannel.backend == "host-gw":
        return Needs(
            what,
            adjacent=_versions(network),
            apart="use vxlan, with direct_routing where some nodes share a subnet",
        )
    if flannel.backend == "wireguard":
        return Needs(what, modules=("wireguard",), udp=_wireguard_ports(network))
    if flannel.backend == "ipip":
        return Needs(what, modules=("ipip",), protocols=("ipip",))
    return Needs(what, modules=("tun",), udp=(flannel.udp_port,), architectures=("amd64",))


def _wireguard_ports(network: Network) -> tuple[int, ...]:
    """In the mode separate each IP family has a tunnel of its own."""
    flannel = network.flannel
    if flannel.mode != "separate":
        return (flannel.udp_port,)
    ports = {4: flannel.udp_port, 6: flannel.port_ipv6}
    return tuple(ports[version] for version in _versions(network))


def _versions(network: Network) -> tuple[int, ...]:
    """Of IP, that pods have."""
    return tuple(sorted({6 if ":" in cidr else 4 for cidr in network.pod_cidrs}))


def links_of(spec: ClusterSpec) -> tuple[str, ...]:
    """Links of hosts that networks beside the pods' own are on."""
    named = (each.link for each in spec.network.attachments)
    return tuple(sorted({each for each in named if each is not None}))


def modules_of_attachments(spec: ClusterSpec) -> tuple[str, ...]:
    """What those need of the kernel."""
    return tuple(sorted({each.module for each in spec.network.attachments if each.module is not None}))
