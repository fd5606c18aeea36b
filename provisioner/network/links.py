"""The links that a pod network makes on nodes, by the patterns of their names."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.spec.model import ClusterSpec

_FLANNEL = ("flannel*", "cni0", "veth*")
_CILIUM = ("cilium*", "lxc*")
_CALICO = ("cali*", "tunl*", "vxlan.calico", "vxlan-v6.calico", "wireguard.cali", "wg-v6.cali")


def links_of(spec: ClusterSpec) -> tuple[str, ...]:
    """Of the plug-in and of kube-proxy; under canal pods' own are Calico's and tunnels flannel's (Calico docs,
    operations/troubleshoot: "Configure NetworkManager"; flannel 0.28, Documentation/troubleshooting.md; Cilium 1.16,
    pkg/defaults)."""
    return tuple(dict.fromkeys(_names(spec)))


def _names(spec: ClusterSpec) -> Iterator[str]:
    if spec.network.carrier == "flannel":
        yield from _FLANNEL
    if spec.network.plugin in ("calico", "canal"):
        yield from _CALICO
    if spec.network.plugin == "cilium":
        yield from _CILIUM
    if spec.proxy.mode == "ipvs":
        yield "kube-ipvs0"


def left_alone(*specs: ClusterSpec) -> str:
    """NetworkManager's list of devices that are not its own (NetworkManager.conf(5), unmanaged-devices)."""
    names = dict.fromkeys(name for spec in specs for name in links_of(spec))
    return ";".join(f"interface-name:{each}" for each in names)
