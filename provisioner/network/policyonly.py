"""Calico for policies alone: pods get addresses of their node's pod CIDR, and routers, or the cloud, that are not of
the cluster know the way to each.

Facts: Calico 3.28, manifests/calico-policy-only.yaml; node/filesystem/etc/rc.local (CALICO_MANAGE_CNI).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from provisioner.kube.manifest import digest_of_text
from provisioner.network.calicoagent import CONFIG, DAEMONS, agent_edits, typha_edit
from provisioner.network.cniconfig import KEY, node_ranges, with_plugin
from provisioner.network.images import image_edits
from provisioner.network.mtu import given_mtu
from provisioner.network.patches import Edit
from provisioner.network.pod_template import Container
from provisioner.spec.model import ClusterSpec

ARTIFACT = "calico-policy-only"
Object = dict[str, Any]
_ROLE = "ClusterRole calico-cni-plugin"
_READS_INFORMATION = {
    "apiGroups": ["crd.projectcalico.org"],
    "resources": ["clusterinformations"],
    "verbs": ["get"],
}
"""What calico.yaml lets it do, and this manifest does not."""


def edits(spec: ClusterSpec, upstream: Sequence[Object], image: Callable[[str], str]) -> list[Edit]:
    """What is changed in the manifest, and why. Raises ProvisionError where it lacks what is to be changed."""
    nodes = sum(node.node for node in spec.nodes.values())
    own = (*_links(spec, upstream), *_agents(spec, upstream), typha_edit(nodes))
    return [*image_edits(upstream, image), *own]


def _links(spec: ClusterSpec, upstream: Sequence[Object]) -> Iterator[Edit]:
    mtu, ranges = given_mtu(spec), node_ranges(spec.network.pod_cidrs)
    cni = with_plugin(upstream, ARTIFACT, lambda plugin: {**plugin, "mtu": mtu, "ipam": ranges})
    yield Edit(CONFIG, ("data", KEY), cni, "the MTU of pods, and an address of each family of the pod CIDRs")
    annotation = {"provision.dev/config": digest_of_text(cni)}
    path = ("spec", "template", "metadata", "annotations")
    yield Edit(DAEMONS, path, annotation, "a new configuration rolls the pods", new=True)


def _agents(spec: ClusterSpec, upstream: Sequence[Object]) -> Iterator[Edit]:
    node = Container.of(upstream, DAEMONS, "calico-node")
    yield from node.env("NO_DEFAULT_POOLS", "true", "nodes take pods' addresses from their pod CIDRs")
    yield from node.env("CALICO_MANAGE_CNI", "true", "the plug-in's token, which lasts a day, is renewed")
    why = "the plug-in, whose own account the renewed token is of, asks whether the datastore is ready"
    yield Edit(_ROLE, ("rules", "+"), _READS_INFORMATION, why)
    yield from agent_edits(spec, upstream, DAEMONS)
