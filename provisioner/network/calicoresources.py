"""Calico's own resources, as calicoctl stores them (docs, reference/resources)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from provisioner.kube.objects import object_key
from provisioner.network.crd import check_objects
from provisioner.spec.calico import BGP, REFLECTOR, REFLECTORS, BGPPeer, Calico, IPPool
from provisioner.spec.felixwords import variable_of
from provisioner.spec.model import Network

_CRD = "crd.projectcalico.org/v1"
_PROBED = ("healthHost", "healthPort")
Object = dict[str, Any]


def pool_object(pool: IPPool) -> Object:
    """As calicoctl stores it: with all defaults, because nobody fills them in here."""
    mode = "CrossSubnet" if pool.encapsulation.endswith("CrossSubnet") else "Always"
    return {
        "apiVersion": _CRD,
        "kind": "IPPool",
        "metadata": {"name": pool.name},
        "spec": {
            "cidr": pool.cidr,
            "blockSize": pool.block_size,
            "ipipMode": mode if pool.encapsulation.startswith("IPIP") else "Never",
            "vxlanMode": mode if pool.encapsulation.startswith("VXLAN") else "Never",
            "natOutgoing": pool.nat_outgoing,
            "nodeSelector": pool.node_selector,
            "allowedUses": ["Workload", "Tunnel"],
            **({"disableBGPExport": True} if pool.disable_bgp_export else {}),
        },
    }


def bgp_objects(calico: Calico) -> list[Object]:
    """Whether nodes have sessions with each other (nodeToNodeMeshEnabled) is not said here: that goes only once others
    are established."""
    bgp = calico.bgp
    if calico.backend != "bird":
        return []
    services = {
        "serviceClusterIPs": bgp.service_cluster_ips,
        "serviceExternalIPs": bgp.service_external_ips,
        "serviceLoadBalancerIPs": bgp.service_load_balancer_ips,
    }
    said: Object = {"asNumber": bgp.as_number}
    said |= {"listenPort": bgp.listen_port} if bgp.listen_port != BGP.listen_port else {}
    said |= {name: [{"cidr": each} for each in cidrs] for name, cidrs in services.items() if cidrs}
    meta = {"apiVersion": _CRD, "kind": "BGPConfiguration", "metadata": {"name": "default"}}
    return [{**meta, "spec": said}, *_peers(bgp)]


def bgp_keys(network: Network) -> frozenset[str]:
    """ "KIND NAME" of each that the spec makes, of kinds of which users make objects, too."""
    return (
        frozenset(map(object_key, bgp_objects(network.calico))) if network.plugin == "calico" else frozenset()
    )


def _peers(bgp: BGP) -> list[Object]:
    made = [_peer(each) for each in bgp.peers]
    if bgp.route_reflectors:
        selector = f"{REFLECTOR} == 'true'"
        made.append(_peer(BGPPeer(REFLECTORS, peers=selector)))
    return made


def _peer(peer: BGPPeer) -> Object:
    said: Object = {"nodeSelector": peer.nodes}
    if peer.peers is not None:
        said["peerSelector"] = peer.peers
    if peer.address is not None:
        said |= {"peerIP": peer.address, "asNumber": peer.as_number}
    return {"apiVersion": _CRD, "kind": "BGPPeer", "metadata": {"name": peer.name}, "spec": said}


_OF_AGENTS: Object = {"logSeverityScreen": "Info", "reportingInterval": "0s"}
"""What calico-node sets at its start where they are not (3.28, node/pkg/lifecycle/startup), and with that takes away
the object's labels, which its client keeps elsewhere: then it would be written anew by each run."""


def felix_objects(calico: Calico, upstream: Sequence[Object], source: str) -> list[Object]:
    """Raises ProvisionError for a field that this release has not, by its own definition.

    It is always there, and says that there is no WireGuard, too: what the spec no longer names goes as a field of an
    object that stays, beside those of others. Were the object left out, nodes would keep its last settings."""
    settings: Object = {"wireguardEnabled": False, **_OF_AGENTS, **calico.felix}
    for name, ipv6 in (("wireguardEnabled", False), ("wireguardEnabledV6", True)):
        if calico.wireguard and any((":" in pool.cidr) is ipv6 for pool in calico.pools):
            settings[name] = True
    meta = {"apiVersion": _CRD, "kind": "FelixConfiguration", "metadata": {"name": "default"}}
    made = [{**meta, "spec": settings}]
    check_objects(made, upstream, source, "network.calico.felix")
    return made


def beaten_variables(calico: Calico) -> set[str]:
    """Variables of calico-node for what the spec has Felix told: Felix takes a variable before its configuration
    (docs, reference/felix/configuration), so that the manifest's own must not be there. What env says stays."""
    return {variable_of(name) for name in calico.felix} - calico.env.keys() - probed_variables(calico).keys()


def probed_variables(calico: Calico) -> dict[str, str]:
    """Where calico-node's probes ask for Felix's health: they know that by variables alone (3.28, node/pkg/health), and
    would restart without end what answers elsewhere."""
    return {variable_of(name): str(calico.felix[name]) for name in _PROBED if name in calico.felix}
