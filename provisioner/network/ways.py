"""What pods' packets go in from node to node, by IP family, where pods have both: known before anything is read."""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.spec.calico import Calico
from provisioner.spec.model import Flannel, Network


@dataclass(frozen=True)
class Way:
    """What nodes send each other over one IP family: to `udp` ports, in the IP `protocols` by name, to the ports `bgp`
    of sessions in it, and `plain`: pods' packets as they are. Nothing of these where the other family carries it."""

    udp: tuple[int, ...] = ()
    bgp: tuple[int, ...] = ()
    protocols: tuple[str, ...] = ()
    plain: bool = False


def way_of(network: Network, version: int) -> Way:
    """Over IPv4 or IPv6."""
    if network.plugin == "cilium":
        return _cilium(network, version)
    if network.plugin == "calico":
        pools = {each.encapsulation for each in network.calico.pools if (":" in each.cidr) is (version == 6)}
        return _calico(network.calico, pools, version)
    return _flannel(network.flannel, version)


def _flannel(flannel: Flannel, version: int) -> Way:
    """flannel 0.28, pkg/backend: vxlan has a device for each family, with one port; wireguard too, in the mode
    separate, with a port each. One for both goes by the family of the mode, and in the mode auto by IPv6 where the
    peer's IPv4 address is private and the IPv6 ones are global (wireguard_network.go, selectMode)."""
    if flannel.backend == "vxlan":
        return Way(udp=(flannel.udp_port,))
    if flannel.backend == "host-gw":
        return Way(plain=True)
    if flannel.backend == "wireguard":
        port = flannel.udp_port_ipv6 if version == 6 else flannel.udp_port
        return Way(udp=(port,)) if flannel.mode in ("separate", "auto", f"ipv{version}") else Way()
    if version == 6:
        return Way()
    return Way(protocols=("ipip",)) if flannel.backend == "ipip" else Way(udp=(flannel.udp_port,))


def _calico(calico: Calico, encapsulations: set[str], version: int) -> Way:
    """Calico 3.28: VXLAN (vxlan-v6.calico) and WireGuard have a device for each family; so has BIRD a process."""
    vxlan, ipip = (any(each.startswith(kind) for each in encapsulations) for kind in ("VXLAN", "IPIP"))
    routed = calico.backend == "bird" and f"IPv{version}" in calico.routed_families
    return Way(
        udp=(
            *((calico.vxlan_port,) if vxlan else ()),
            *((calico.wireguard_port(version),) if calico.wireguard else ()),
        ),
        bgp=(calico.bgp.listen_port,) if routed else (),
        protocols=("ipip",) if ipip else (),
        plain="None" in encapsulations or calico.policy_only,
    )


def _cilium(network: Network, version: int) -> Way:
    """Cilium 1.16: tunnels and WireGuard go by IPv4 where nodes have it, with packets of both families in them."""
    cilium = network.cilium
    tunnels = (
        *((cilium.udp_port,) if cilium.tunnelled else ()),
        *((51871,) if cilium.wireguard else ()),
    )
    return Way(udp=tunnels if version == 4 else (), plain=not tunnels)
