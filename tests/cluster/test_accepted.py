"""Every version of an upstream manifest at hand, in every mode that it has, is accepted by a real API server."""

from __future__ import annotations

import base64
import gzip
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lab_cluster import ADMIN, LabCluster

from provisioner.bundle.layout import Bundle, default_bundle_path
from provisioner.kube.objects import object_key
from provisioner.network import multus
from provisioner.network.podnetwork import PodNetwork
from provisioner.pki.cluster import new_state
from provisioner.pki.hubble import hubble_secrets
from provisioner.spec.attachments import (
    MODES,
    Attachment,
    Ipam,
    Multus,
    Range,
    Route,
    StaticAddress,
)
from provisioner.spec.calico import BGP, BGPPeer, Calico, IPPool, Operator
from provisioner.spec.cilium import Cilium, Hubble
from provisioner.spec.load import load_cluster
from provisioner.spec.model import ClusterSpec, Flannel, Network, Taint
from provisioner.spec.networkpods import ContainerPart, NetworkPods
from provisioner.spec.versions import PLUGINS

LAB = Path(__file__).parents[2] / "inventories" / "lab.yaml"
POD = "10.244.0.0/16"
FLANNEL = {
    "vxlan": Flannel(),
    "DirectRouting": Flannel(direct_routing=True, gbp=True, learning=True, vni=7, mtu=1400),
    "host-gw": Flannel("host-gw", can_reach="192.0.2.1"),
    "wireguard": Flannel("wireguard", mode="auto", keepalive=25, interface_regex="^eth"),
    "ipip": Flannel("ipip", direct_routing=True, interface="eth0"),
    "udp": Flannel("udp"),
}
CALICO = {
    **{each: Calico(pools=(IPPool("pods", POD, each),)) for each in ("VXLAN", "VXLANCrossSubnet")},
    **{each: Calico(pools=(IPPool("pods", POD, each),)) for each in ("IPIP", "IPIPCrossSubnet", "None")},
    "Typha": Calico(pools=(IPPool("pods", POD),), typha=True),
    "policy only": Calico(policy_only=True, mtu=1400, felix={"logSeverityScreen": "Warning"}),
    "WireGuard": Calico(pools=(IPPool("pods", POD),), wireguard=True, mtu=1390),
    "route reflectors": Calico(
        pools=(IPPool("pods", POD, "None"),),
        bgp=BGP(
            route_reflectors=("cp1", "worker1"),
            peers=(BGPPeer("rack", address="192.0.2.1", as_number=64513),),
            service_cluster_ips=("10.96.0.0/16",),
        ),
    ),
    "several pools": Calico(
        pools=(
            IPPool("a", "10.244.0.0/17", block_size=28, node_selector="rack == 'a'"),
            IPPool("b", "10.244.128.0/17", "VXLANCrossSubnet", nat_outgoing=False, disable_bgp_export=True),
        ),
        felix={"logSeverityScreen": "Warning"},
        env={"FELIX_IPTABLESREFRESHINTERVAL": "60"},
    ),
    "operator": Calico(install="operator", pools=(IPPool("pods", POD),)),
    "operator, all of it": Calico(
        install="operator",
        pools=(
            IPPool("a", "10.244.0.0/17", "IPIPCrossSubnet", block_size=28, node_selector="rack == 'a'"),
            IPPool("b", "10.244.128.0/17", "None", nat_outgoing=False, disable_bgp_export=True),
        ),
        mtu=1390,
        autodetection="cidr=10.0.0.0/8",
        wireguard=True,
        bgp=BGP(route_reflectors=("cp1", "worker1")),
        operator=Operator(True, True, True, {"controlPlaneReplicas": 2}),
    ),
}
CILIUM = {
    "vxlan": Cilium(),
    "geneve": Cilium(tunnel_protocol="geneve", tunnel_port=7000, mtu=1400, wireguard=True),
    "native": Cilium("native", devices=("eth0", "eth+"), config={"enable-bpf-masquerade": "true"}),
    "routed": Cilium("native", auto_direct_node_routes=False, native_routing_cidrs=("10.0.0.0/8",)),
    "IPAM kubernetes": Cilium(ipam="kubernetes"),
    "several pools": Cilium(pools=("10.244.0.0/17", "10.244.192.0/18")),
    "without kube-proxy": Cilium(kube_proxy_replacement=True, hubble=Hubble(enabled=True)),
    "Hubble relay": Cilium(hubble=Hubble(enabled=True, relay=True)),
    "Hubble UI": Cilium(kube_proxy_replacement=True, hubble=Hubble(enabled=True, relay=True, ui=True)),
}


CANAL = {
    "vxlan": (Flannel(), Calico(felix={"logSeverityScreen": "Warning"})),
    "host-gw": (
        Flannel("host-gw", interface="eth0"),
        Calico(mtu=1500, env={"FELIX_IPTABLESREFRESHINTERVAL": "90"}),
    ),
}
_LIMITED = ContainerPart({"cpu": "100m"}, {"memory": "900Mi"})
_PROBED = replace(_LIMITED, liveness={"timeout": 20, "failures": 6}, readiness={"period": 30})
_INFRA = (Taint("dedicated", "infra", "NoExecute"),)
OWN_PODS = {
    "flannel": NetworkPods(_INFRA, {"kube-flannel": _LIMITED}),
    "calico": NetworkPods(_INFRA, {"calico-node": _PROBED}),
    "canal": NetworkPods(_INFRA, {"calico-node": _PROBED}),
    "cilium": NetworkPods(_INFRA, {"cilium-agent": _PROBED}),
}
"""By plug-in: settings of its own pods."""
TWO = (POD, "fd00:244::/56")
_SIX = IPPool("six", TWO[1], block_size=122, nat_outgoing=False)
TWO_FAMILIES: dict[str, dict[str, Any]] = {
    "flannel vxlan": {"flannel": Flannel()},
    "calico VXLAN": {"calico": Calico(pools=(IPPool("pods", POD), _SIX))},
    "calico operator": {"calico": Calico(install="operator", pools=(IPPool("pods", POD), _SIX))},
    "canal vxlan": {},
}
"""By plug-in and mode: with pods that have an address of each."""
_FILES = {"kube-flannel": "kube-flannel.yml", "tigera-operator-crds": "operator-crds.yaml"}
"""Of upstream, where they are not named as in the bundle."""
EARLY = ("CustomResourceDefinition", "Namespace")
"""What a dry run does not make, and without which it refuses what comes behind."""
RANGES = (Range("198.51.100.0/24", "198.51.100.10", "198.51.100.99", "198.51.100.1"), Range("fd00:51::/64"))
HOST_LOCAL = Ipam("host-local", RANGES, routes=(Route("203.0.113.0/24", "198.51.100.1"),))
STATIC = Ipam("static", addresses=(StaticAddress("198.51.100.5/24", "198.51.100.1"),))
ATTACHMENTS = {
    **{
        f"macvlan {mode}": Attachment(mode, "macvlan", master="eth1", mode=mode, mtu=1400, ipam=HOST_LOCAL)
        for mode in MODES["macvlan"]
    },
    **{
        f"ipvlan {mode}": Attachment(mode, "ipvlan", "kube-system", master="eth1", mode=mode, ipam=STATIC)
        for mode in MODES["ipvlan"]
    },
    "bridge": Attachment("b", "bridge", bridge="br1", is_gateway=True, masquerade=True, ipam=HOST_LOCAL),
    "bridge with a VLAN": Attachment("v", "bridge", bridge="br1", vlan=20, ipam=Ipam("dhcp")),
    "host-device": Attachment("d", "host-device", device="eth2"),
    "SR-IOV": Attachment("s", "sriov", resource="intel.com/sriov_net", vlan=30, ipam=Ipam("static")),
}


def manifests() -> Iterator[tuple[str, str, Path | None]]:
    """Version, plug-in, and where its manifests lie; None for the bundle's."""
    yield from (("bundle", plugin, None) for plugin in PLUGINS)
    root = os.environ.get("PROVISION_UPSTREAM")
    for folder in sorted(Path(root).glob("*")) if root else ():
        plugin = folder.name.partition("-")[0]
        if plugin in PLUGINS:
            yield folder.name, plugin, folder
        if plugin == "calico":
            yield folder.name, "canal", folder


def read(folder: Path | None, name: str) -> str:
    if folder is None or not (folder / _FILES.get(name, f"{name}.yaml")).exists():
        return Bundle.open(default_bundle_path()).artifact(name).path.read_text()
    return (folder / _FILES.get(name, f"{name}.yaml")).read_text()


def specs(plugin: str) -> Iterator[tuple[str, ClusterSpec]]:
    spec = load_cluster(LAB)[1]
    network = replace(spec.network, plugin=plugin)
    modes: dict[str, Network] = {}
    if plugin == "flannel":
        modes = {name: replace(network, flannel=each) for name, each in FLANNEL.items()}
    elif plugin == "calico":
        modes = {name: replace(network, calico=each) for name, each in CALICO.items()}
    elif plugin == "cilium":
        modes = {name: replace(network, cilium=each) for name, each in CILIUM.items()}
    else:
        modes = {name: replace(network, flannel=one, calico=other) for name, (one, other) in CANAL.items()}
    modes["its own pods"] = replace(next(iter(modes.values())), pods=OWN_PODS[plugin])
    for name, options in TWO_FAMILIES.items():
        if name.partition(" ")[0] == plugin:
            modes[name] = replace(network, pod_cidrs=TWO, **options)
    yield from ((name, replace(spec, network=each)) for name, each in modes.items())


def applied(cluster: LabCluster, objects: list[dict[str, Any]], words: str) -> None:
    script = f"{ADMIN} apply --server-side --force-conflicts --field-manager=test {words} -f - >/dev/null"
    part: list[dict[str, Any]] = []
    for number, each in enumerate(objects, 1):
        part.append(each)
        # One argument of a program may have 128 KiB (Linux, MAX_ARG_STRLEN); a single definition may have five times
        # that, and packed a tenth.
        if number == len(objects) or len(json.dumps([*part, objects[number]])) > 90_000:
            text = json.dumps({"apiVersion": "v1", "kind": "List", "items": part})
            packed = base64.b64encode(gzip.compress(text.encode())).decode()
            cluster.one("cp1", f"printf %s {packed} | base64 -d | gzip -d | {script}")
            part = []


def early(cluster: LabCluster, objects: list[dict[str, Any]]) -> list[str]:
    """Makes definitions and namespaces that are not there; returns them as kubectl's words."""
    named = {f"{each['kind'].lower()}/{each['metadata']['name']}": each for each in objects}
    there = cluster.kubectl("get crd,namespaces -o name").replace(".apiextensions.k8s.io", "").split()
    new = [name for name in named if name not in there]
    applied(cluster, [named[name] for name in new], "")
    defined = [name for name in new if name.startswith("customresourcedefinition/")]
    if defined:
        cluster.kubectl(f"wait --for=condition=Established --timeout=60s {' '.join(defined)} >/dev/null")
    return new


def private(image: str) -> str:
    """By digest, as from a bundle that has it."""
    name = image.partition("/")[2].rpartition(":")[0]
    return f"registry.lab.internal:5000/{name}@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("version", "plugin", "folder"),
    # Every run of the tests tries the bundle's: others' objects are held against their own definitions by unit tests.
    [pytest.param(*each, marks=() if each[2] is None else pytest.mark.soak) for each in manifests()],
    ids=lambda each: str(each) if isinstance(each, str) else "",
)
def test_accepted(cluster: LabCluster, version: str, plugin: str, folder: Path | None) -> None:
    first: dict[str, dict[str, Any]] = {}
    rest: dict[str, dict[str, Any]] = {}
    for mode, spec in specs(plugin):
        network = PodNetwork(spec, lambda name: read(folder, name))
        objects = hubble_secrets(new_state("lab")) if spec.network.cilium.hubble.relay else []
        objects += network.objects(private)
        assert any(each["kind"] not in EARLY for each in objects), f"{version}, {mode}"
        # Modes have most of their objects in common.
        for each in objects:
            (first if each["kind"] in EARLY else rest)[json.dumps(each, sort_keys=True)] = each
    made = early(cluster, [*first.values()])
    try:
        applied(cluster, [*rest.values()], "--dry-run=server")
    finally:
        if made:
            # The next version has some of the same names.
            cluster.kubectl(f"delete {' '.join(made)} --timeout=280s >/dev/null")


def multus_manifests() -> Iterator[Path]:
    """Each of them where there are some; the bundle may be without."""
    root = os.environ.get("PROVISION_UPSTREAM")
    for folder in sorted(Path(root).glob("multus-v*")) if root else ():
        yield from (folder / f"multus-daemonset{suffix}.yml" for suffix in ("", "-thick"))


@pytest.mark.upstream
@pytest.mark.parametrize("path", list(multus_manifests()), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_attachments_accepted(cluster: LabCluster, path: Path) -> None:
    """A dry run takes no object of a definition that is not there, so that is made, and taken away again."""
    spec = load_cluster(LAB)[1]
    variant = "thick" if path.stem.endswith("-thick") else "thin"
    network = replace(spec.network, multus=Multus(variant), attachments=tuple(ATTACHMENTS.values()))
    references = [f"{multus.IMAGE}:v1", f"{multus.IMAGE}:v1-thick"]
    attached = multus.Attached(replace(spec, network=network), lambda _: path.read_text(), references)
    objects = attached.objects(lambda image: f"registry.lab.internal:5000/{image.rpartition('/')[2]}")
    first = [each for each in objects if each["kind"] == "CustomResourceDefinition"]
    rest = [each for each in objects if each not in first]
    definitions = [each for each in rest if each["kind"] == "NetworkAttachmentDefinition"]
    assert len(definitions) == len(ATTACHMENTS)
    (key,) = map(object_key, first)
    crd = key.partition(" ")[2]
    try:
        applied(cluster, first, "")
        cluster.one("cp1", f"{ADMIN} wait --for=condition=Established --timeout=30s crd/{crd} >/dev/null")
        applied(cluster, rest, "--dry-run=server")
        applied(cluster, definitions, "")
        said = cluster.one("cp1", f"{ADMIN} get {crd} -A -o json")
        found = {each["metadata"]["name"]: each["spec"]["config"] for each in json.loads(said)["items"]}
        assert found == {each["metadata"]["name"]: each["spec"]["config"] for each in definitions}
    finally:
        cluster.one("cp1", f"{ADMIN} delete crd {crd} --ignore-not-found >/dev/null")
