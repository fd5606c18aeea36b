"""The pods that work for plug-ins on nodes: by which labels they are found, and what they install.

Facts: the manifests of the plug-ins' DaemonSets; Calico 3.28, cni-plugin/pkg/install (its kubeconfig is written when
calico-node's pod starts, and while it runs).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from provisioner.kube.cnicluster import ClusterNode, Pod
from provisioner.kube.cniread import Configuration

_AGENTS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "flannel": (frozenset({"flannel"}), frozenset({"flannel"})),
    "calico": (
        frozenset({"calico-node", "canal"}),
        frozenset({
            "calico", "calico-ipam", "host-local", "loopback", "portmap", "bandwidth", "tuning", "flannel"
        }),
    ),
    "cilium-cni": (frozenset({"cilium"}), frozenset({"cilium-cni", "loopback"})),
    "multus": (frozenset({"multus"}), frozenset({"multus", "multus-shim", "passthru"})),
    "multus-shim": (frozenset({"multus"}), frozenset({"multus", "multus-shim", "passthru"})),
}  # fmt: skip
"""By the plug-in that a configuration names: labels (app or k8s-app) of the DaemonSet's pods that work for it on a
node, and the files that they put among the plug-ins when they start."""
OWN_FILES = frozenset({
    "flannel", "calico", "calico-ipam", "cilium-cni", "multus", "multus-shim", "passthru"
})  # fmt: skip
"""Files that only those pods have; all others are among the CNI project's own."""
_ACCESS = re.compile(
    r'plugin type="(?P<kind>[^"]+)".*(unauthorized|connection refused|x509|ClusterInformation|i/o timeout)',
    re.IGNORECASE,
)


def agents_on(node: ClusterNode | None, labels: frozenset[str]) -> list[Pod]:
    """The pods of DaemonSets on a node that have one of these labels."""
    pods = node.pods if node else ()
    return [each for each in pods if each.owner == "DaemonSet" and labels & set(each.labels)]


def labels_of(configuration: Configuration | None, file: str = "") -> frozenset[str]:
    """Of the agents of a configuration's plug-ins; only of those that install `file`, where one is named."""
    found = [_AGENTS[each] for each in (configuration.types if configuration else ()) if each in _AGENTS]
    return frozenset[str]().union(*(labels for labels, files in found if not file or file in files))


def installer_of(configuration: Configuration | None, node: ClusterNode | None, file: str) -> Pod | None:
    """The pod that puts a plug-in's file on the node when it starts."""
    return next(iter(agents_on(node, labels_of(configuration, file))), None)


def access_giver_of(reason: str, node: ClusterNode | None) -> Pod | None:
    """The pod that gives a plug-in its access to the API server or to itself, where `reason` is that it has none."""
    found = _ACCESS.search(reason)
    labels = _AGENTS[found["kind"]][0] if found and found["kind"] in _AGENTS else frozenset[str]()
    return next(iter(agents_on(node, labels)), None)
