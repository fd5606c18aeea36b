"""Canal: flannel brings packets from node to node, Calico gives pods their links and enforces policies.

Facts: Calico 3.26 to 3.32, manifests/canal.yaml; docs, getting-started/kubernetes/flannel. Calico is there for policies
only (CALICO_NETWORKING_BACKEND none): pods get addresses of their node's pod CIDR, and there are no pools.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.manifest import digest_of_text
from provisioner.network.calicoagent import agent_edits
from provisioner.network.calicoresources import felix_objects
from provisioner.network.cniconfig import MTU, node_ranges, with_plugin
from provisioner.network.flannel import link_edits, net_conf
from provisioner.network.images import image_edits
from provisioner.network.mtu import given_mtu
from provisioner.network.patches import Edit, images_of, patch
from provisioner.network.pod_template import Container
from provisioner.network.podsettings import pod_edits
from provisioner.spec.model import ClusterSpec

ARTIFACT = "canal"
CONFIG = "ConfigMap kube-system/canal-config"
DAEMONS = "DaemonSet kube-system/canal"
_FLANNEL = "/flannel"
"""What the name of flannel's image ends in."""
Object = dict[str, Any]


def own_images(upstream: Sequence[Object], flannel: Sequence[Object]) -> dict[str, str]:
    """The images of the manifest by what stands there: flannel's is that of flannel's own manifest, which is newer."""
    newer = _flannel_of(flannel)
    return {each: newer if _is_flannel(each) else each for each in images_of(upstream)}


def objects(
    spec: ClusterSpec, upstream: Sequence[Object], flannel: Sequence[Object], image: Callable[[str], str]
) -> list[Object]:
    """The objects to apply. `flannel` is flannel's own manifest, `image` gives the private registry's reference of an
    upstream one. Raises ProvisionError where the manifest lacks what is to be changed."""
    made = patch(upstream, edits(spec, upstream, flannel, image), ARTIFACT)
    late = [each for each in made if each["kind"] in ("DaemonSet", "Deployment")]
    own = felix_objects(spec.network.calico, upstream, ARTIFACT)
    return [*(each for each in made if each not in late), *own, *late]


def edits(
    spec: ClusterSpec, upstream: Sequence[Object], flannel: Sequence[Object], image: Callable[[str], str]
) -> list[Edit]:
    """What is changed in the manifest, and why. Raises ProvisionError where it lacks a container."""
    taken = own_images(upstream, flannel)
    return [
        *image_edits(upstream, lambda reference: image(taken[reference])),
        *_config(spec, upstream),
        *_agents(spec, upstream),
        *pod_edits(spec, upstream),
    ]


def _config(spec: ClusterSpec, upstream: Sequence[Object]) -> Iterator[Edit]:
    mtu, conf = given_mtu(spec), net_conf(spec)
    yield Edit(CONFIG, ("data", "net-conf.json"), conf, "pod CIDRs and backend of the spec")
    yield Edit(
        CONFIG, ("data", "veth_mtu"), str(mtu), "the MTU of pods: Felix does not look at flannel's tunnel"
    )
    digested = [conf, str(mtu)]
    if spec.network.ipv6:
        ranges = node_ranges(spec.network.pod_cidrs)
        cni = with_plugin(upstream, ARTIFACT, lambda plugin: {**plugin, "ipam": ranges}).replace(
            MTU, str(mtu)
        )
        yield Edit(CONFIG, ("data", "cni_network_config"), cni, "pods have an address of each family")
        digested.append(cni)
    annotation = {"provision.dev/config": digest_of_text(json.dumps(digested))}
    path = ("spec", "template", "metadata", "annotations")
    yield Edit(DAEMONS, path, annotation, "a new configuration rolls the pods", new=True)


def _agents(spec: ClusterSpec, upstream: Sequence[Object]) -> Iterator[Edit]:
    node = Container.of(upstream, DAEMONS, "calico-node")
    yield from node.env("NO_DEFAULT_POOLS", "true", "nodes take pods' addresses from their pod CIDRs")
    yield from agent_edits(spec, upstream, DAEMONS)
    agent = Container.of(upstream, DAEMONS, "kube-flannel")
    yield from link_edits(spec, agent, "command")


def _is_flannel(reference: str) -> bool:
    return reference.partition("@")[0].rpartition(":")[0].endswith(_FLANNEL)


def _flannel_of(flannel: Sequence[Object]) -> str:
    for reference in images_of(flannel):
        if _is_flannel(reference):
            return reference
    raise ProvisionError("flannel's own manifest names no image of flannel")
