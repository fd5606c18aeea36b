"""Calico by its manifests, patched for the spec.

Facts: Calico 3.26 to 3.32, manifests/calico.yaml and calico-typha.yaml; docs, reference/configure-calico-node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from provisioner.kube.manifest import digest_of_text
from provisioner.network.calicoresources import (
    beaten_variables,
    bgp_objects,
    felix_objects,
    pool_object,
    probed_variables,
)
from provisioner.network.cniconfig import KEY, with_ipam
from provisioner.network.images import image_edits
from provisioner.network.patches import Edit, Path, patch
from provisioner.network.pod_template import Container
from provisioner.network.podsettings import pod_edits
from provisioner.spec.calico import Calico, typha_replicas
from provisioner.spec.model import ClusterSpec

CONFIG = "ConfigMap kube-system/calico-config"
DAEMONS = "DaemonSet kube-system/calico-node"
TYPHA = "Deployment kube-system/calico-typha"
OURS = ("bandwidth", "flannel", "host-local", "loopback", "portmap", "tuning")
"""CNI plug-ins that Calico's installer has beside its own (3.28, cni-plugin/Dockerfile)."""


def artifact_of(spec: ClusterSpec) -> str:
    """The upstream manifest that has all the parts."""
    return "calico-typha" if spec.network.calico.with_typha(_nodes(spec)) else "calico"


def objects(
    spec: ClusterSpec, upstream: Sequence[dict[str, Any]], image: Callable[[str], str]
) -> list[dict[str, Any]]:
    """The objects to apply. `image` gives the private registry's reference of an upstream one. Raises ProvisionError
    where the manifest lacks what is to be changed."""
    source, calico = artifact_of(spec), spec.network.calico
    own = [*map(pool_object, calico.pools), *felix_objects(calico, upstream, source), *bgp_objects(calico)]
    return _ordered(patch(upstream, edits(spec, upstream, image), source), own)


def edits(spec: ClusterSpec, upstream: Sequence[dict[str, Any]], image: Callable[[str], str]) -> list[Edit]:
    """What is changed in the manifest, and why. Raises ProvisionError where it lacks a container."""
    calico = spec.network.calico
    cni = _cni(spec, upstream)
    found = [*_config(calico, cni), *_node(spec, upstream, cni), *image_edits(upstream, image)]
    if calico.with_typha(_nodes(spec)):
        count = typha_replicas(_nodes(spec))
        found.append(Edit(TYPHA, ("spec", "replicas"), count, f"Typha for {_nodes(spec)} nodes"))
    return [*found, *pod_edits(spec, upstream)]


def _nodes(spec: ClusterSpec) -> int:
    return sum(node.node for node in spec.nodes.values())


def _ordered(upstream: list[dict[str, Any]], own: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pools before the agents that want an address of them."""
    kinds = ("DaemonSet", "Deployment")
    early = [each for each in upstream if each["kind"] not in kinds]
    return [*early, *own, *(each for each in upstream if each["kind"] in kinds)]


def _cni(spec: ClusterSpec, upstream: Sequence[dict[str, Any]]) -> str:
    """The CNI configuration that asks for an address of each family; "" where the manifest's own does, which leaves it
    to the plug-in: one of IPv4 (cni-plugin, pkg/ipamplugin)."""
    families = _families(spec)
    if families == {4}:
        return ""
    asked = {f"assign_ipv{version}": str(version in families).lower() for version in (4, 6)}
    return with_ipam(upstream, artifact_of(spec), lambda ipam: {**ipam, **asked})


def _families(spec: ClusterSpec) -> set[int]:
    return {6 if ":" in cidr else 4 for cidr in spec.network.pod_cidrs}


def _config(calico: Calico, cni: str) -> Iterator[Edit]:
    yield Edit(CONFIG, ("data", "calico_backend"), calico.backend, "who tells nodes of the others' routes")
    yield Edit(CONFIG, ("data", "veth_mtu"), str(calico.mtu), "the MTU of pods, 0: as the links leave it")
    if cni:
        yield Edit(CONFIG, ("data", KEY), cni, "pods have an address of each family of the pod CIDRs")


def _node(spec: ClusterSpec, upstream: Sequence[dict[str, Any]], cni: str) -> Iterator[Edit]:
    calico = spec.network.calico
    node = Container.of(upstream, DAEMONS, "calico-node")
    families = _families(spec)
    yield from node.env("NO_DEFAULT_POOLS", "true", "the pools are the spec's")
    for name in node.names:
        if name.startswith("CALICO_IPV") and name.endswith(("_IPIP", "_VXLAN")):
            yield from node.env(name, "Never", "it is about the default pool, which is not made")
    kind = ["k8s", *(["bgp"] if calico.backend == "bird" else [])]
    yield from node.env("CLUSTER_TYPE", ",".join(kind), "what the backend is")
    yield from _addresses(node, calico, families)
    yield from node.env("FELIX_IPV6SUPPORT", str(6 in families).lower(), "the families of the pod CIDRs")
    for name, value in sorted(calico.env.items()):
        yield from node.env(name, value, "env of the spec")
    for name, value in probed_variables(calico).items():
        yield from node.env(name, value, "felix of the spec, which the probes would not know")
    yield from node.without(beaten_variables(calico), "felix of the spec, which it would beat")
    if calico.backend != "bird":
        for probe, word in (("livenessProbe", "-bird-live"), ("readinessProbe", "-bird-ready")):
            yield node.removed((probe, "exec", "command"), word, "without BGP there is no BIRD to ask")
    installer = Container.of(upstream, DAEMONS, "install-cni", "initContainers")
    yield from installer.env(
        "SKIP_CNI_BINARIES", ",".join(OURS), "nodes have these plug-ins, of another version"
    )
    digest = digest_of_text(json.dumps([calico.backend, calico.mtu, *([cni] if cni else [])]))
    path: Path = ("spec", "template", "metadata", "annotations")
    yield Edit(
        DAEMONS, path, {"provision.dev/config": digest}, "a new configuration rolls the pods", new=True
    )


def _addresses(node: Container, calico: Calico, families: set[int]) -> Iterator[Edit]:
    for name, variable, version in (
        ("IP", "IP_AUTODETECTION_METHOD", 4),
        ("IP6", "IP6_AUTODETECTION_METHOD", 6),
    ):
        if version in families:
            yield from node.env(name, "autodetect", f"nodes have IPv{version} addresses")
            yield from node.env(variable, calico.method(version), "how a node finds its address")
        else:
            yield from node.env(name, "none", f"there are no IPv{version} pods")
