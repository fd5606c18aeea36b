"""Calico's own names in its manifests, and what is changed in the agent calico-node of each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from provisioner.network.calicoresources import beaten_variables, probed_variables
from provisioner.network.patches import Edit
from provisioner.network.pod_template import Container
from provisioner.spec.calico import typha_replicas
from provisioner.spec.model import ClusterSpec

CONFIG = "ConfigMap kube-system/calico-config"
DAEMONS = "DaemonSet kube-system/calico-node"
TYPHA = "Deployment kube-system/calico-typha"
_OURS = ("bandwidth", "flannel", "host-local", "loopback", "portmap", "tuning")
"""CNI plug-ins that Calico's installer has beside its own (3.28, cni-plugin/Dockerfile)."""


def typha_edit(nodes: int) -> Edit:
    """As many of it as the rule says for so many nodes."""
    return Edit(TYPHA, ("spec", "replicas"), typha_replicas(nodes), f"Typha for {nodes} nodes")


def agent_edits(spec: ClusterSpec, upstream: Sequence[dict[str, Any]], daemons: str) -> Iterator[Edit]:
    """In the DaemonSet `daemons`: the pods' families, Felix as the spec has it, and whose CNI plug-ins these are."""
    node, calico = Container.of(upstream, daemons, "calico-node"), spec.network.calico
    yield from node.env("FELIX_IPV6SUPPORT", str(spec.network.ipv6).lower(), "the families of the pod CIDRs")
    for name, value in sorted(calico.env.items()):
        yield from node.env(name, value, "env of the spec")
    for name, value in probed_variables(calico).items():
        yield from node.env(name, value, "felix of the spec, which the probes would not know")
    yield from node.without(beaten_variables(calico), "felix of the spec, which it would beat")
    installer = Container.of(upstream, daemons, "install-cni", "initContainers")
    yield from installer.env(
        "SKIP_CNI_BINARIES", ",".join(_OURS), "nodes have these plug-ins, of another version"
    )
