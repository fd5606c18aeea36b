"""flannel: its upstream manifest, patched for the spec.

Facts: flannel 0.28, Documentation/kube-flannel.yml and backends.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from provisioner.kube.manifest import digest_of_text
from provisioner.network.images import image_edits
from provisioner.network.mtu import flannel_mtu
from provisioner.network.patches import Edit, patch
from provisioner.network.pod_template import Container
from provisioner.network.podsettings import pod_edits
from provisioner.spec.model import ClusterSpec

ARTIFACT = "kube-flannel"
CONFIG = "ConfigMap kube-flannel/kube-flannel-cfg"
DAEMONS = "DaemonSet kube-flannel/kube-flannel-ds"


def net_conf(spec: ClusterSpec) -> str:
    """net-conf.json. The backend's type is always written: without it flannel means udp (parseBackendType)."""
    conf: dict[str, Any] = {"EnableNFTables": spec.proxy.mode == "nftables", "Backend": _backend(spec)}
    for cidr in spec.network.pod_cidrs:
        conf["IPv6Network" if ":" in cidr else "Network"] = cidr
    conf["EnableIPv4"] = "Network" in conf
    if "IPv6Network" in conf:
        conf["EnableIPv6"] = True
    return json.dumps(conf, indent=2, sort_keys=True)


def _backend(spec: ClusterSpec) -> dict[str, Any]:
    """Only what the back end has (flannel 0.28, pkg/backend). What is as without it is left out, so that older ones,
    which know less, are told no more than they know."""
    flannel = spec.network.flannel
    said: dict[str, Any] = {"Type": flannel.backend}
    if flannel.backend == "vxlan":
        said |= {"VNI": flannel.vni, "Port": flannel.udp_port}
        said |= {"GBP": True} if flannel.gbp else {}
        said |= {"Learning": True} if flannel.learning else {}
    if flannel.backend == "wireguard":
        said |= {"ListenPort": flannel.udp_port, "ListenPortV6": flannel.udp_port_ipv6, "Mode": flannel.mode}
        said |= {"PersistentKeepaliveInterval": flannel.keepalive} if flannel.keepalive else {}
    if flannel.backend == "udp":
        said["Port"] = flannel.udp_port
    if flannel.direct_routing:
        said["DirectRouting"] = True
    if (mtu := flannel_mtu(spec)) is not None:
        said["MTU"] = mtu
    return said


def objects(
    spec: ClusterSpec, upstream: Sequence[dict[str, Any]], image: Callable[[str], str]
) -> list[dict[str, Any]]:
    """The objects to apply, made of those of the upstream manifest. `image` gives the private registry's reference of
    an upstream one."""
    return patch(upstream, edits(spec, upstream, image), ARTIFACT)


def edits(spec: ClusterSpec, upstream: Sequence[dict[str, Any]], image: Callable[[str], str]) -> list[Edit]:
    """What is changed in them, and why."""
    conf = net_conf(spec)
    return [
        Edit(CONFIG, ("data", "net-conf.json"), conf, "pod CIDRs and backend of the spec"),
        Edit(
            DAEMONS,
            ("spec", "template", "metadata", "annotations"),
            {"provision.dev/config": digest_of_text(conf)},
            "a new configuration rolls the pods",
            new=True,
        ),
        *image_edits(upstream, image),
        *_agent_edits(upstream, spec),
        *pod_edits(spec, upstream),
    ]


def _agent_edits(upstream: Sequence[dict[str, Any]], spec: ClusterSpec) -> Iterator[Edit]:
    """How the agent finds its link, and gets at the device that it needs."""
    agent = Container.of(upstream, DAEMONS, "kube-flannel")
    yield from link_edits(spec, agent, "args")
    if spec.network.flannel.backend == "udp":
        why = "the back end udp opens /dev/net/tun, which containers have only with the host's devices"
        yield Edit(DAEMONS, (*agent.path, "securityContext", "privileged"), True, why, new=True)


def goes_by_node_address(spec: ClusterSpec) -> bool:
    """Whether flanneld is told the node's address to find its link by. Of two families that has to be the IPv4 one."""
    flannel = spec.network.flannel
    said = flannel.interface or flannel.interface_regex or flannel.can_reach
    six_first = any(":" in each.address for each in spec.nodes.values())
    return not said and not (len(spec.network.pod_cidrs) == 2 and six_first)


def link_edits(spec: ClusterSpec, agent: Container, words: str) -> Iterator[Edit]:
    """By which flanneld finds its link. `words` is where its arguments stand. Without a word of the spec it is that of
    the node's address, by which the others know it: flanneld itself takes that of the default route, which may be there
    for something else, and with two families wants such a route of both (pkg/ipmatch/match.go)."""
    flannel = spec.network.flannel
    said = {
        "iface": flannel.interface,
        "iface-regex": flannel.interface_regex,
        "iface-can-reach": flannel.can_reach,
    }
    flags = [f"--{flag}={value}" for flag, value in said.items() if value is not None]
    for flag in flags:
        yield Edit(agent.target, (*agent.path, words, "+"), flag, "the link of the spec")
    if not goes_by_node_address(spec):
        return
    why = "the link that has the node's address"
    yield from agent.env_of_pod("HOST_IP", "status.hostIP", why)
    yield Edit(agent.target, (*agent.path, words, "+"), "--iface=$(HOST_IP)", why)
