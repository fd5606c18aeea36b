"""Calico by its manifests, patched for the spec.

Facts: Calico 3.26 to 3.32, manifests/calico.yaml and calico-typha.yaml; docs, reference/configure-calico-node.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from provisioner.kube.manifest import digest_of_text
from provisioner.network import policyonly
from provisioner.network.calicoagent import CONFIG, DAEMONS, agent_edits, typha_edit
from provisioner.network.calicoresources import bgp_objects, felix_objects, pool_object
from provisioner.network.cniconfig import KEY, with_plugin
from provisioner.network.images import image_edits
from provisioner.network.patches import Edit, Path, patch
from provisioner.network.pod_template import Container
from provisioner.network.podsettings import pod_edits
from provisioner.spec.calico import Calico
from provisioner.spec.model import ClusterSpec


def artifact_of(spec: ClusterSpec) -> str:
    """The upstream manifest that has all the parts."""
    if spec.network.calico.policy_only:
        return policyonly.ARTIFACT
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
    if calico.policy_only:
        return [*policyonly.edits(spec, upstream, image), *pod_edits(spec, upstream)]
    cni = _cni(spec, upstream)
    found = [*_config(calico, cni), *_node(spec, upstream, cni), *image_edits(upstream, image)]
    if calico.with_typha(_nodes(spec)):
        found.append(typha_edit(_nodes(spec)))
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
    return with_plugin(
        upstream, artifact_of(spec), lambda plugin: {**plugin, "ipam": {**plugin["ipam"], **asked}}
    )


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
    yield from agent_edits(spec, upstream, DAEMONS)
    if calico.backend != "bird":
        for probe, word in (("livenessProbe", "-bird-live"), ("readinessProbe", "-bird-ready")):
            yield node.removed((probe, "exec", "command"), word, "without BGP there is no BIRD to ask")
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
