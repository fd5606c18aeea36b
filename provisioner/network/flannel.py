"""flannel: its upstream manifest, patched for the spec.

Facts: flannel 0.28, Documentation/kube-flannel.yml and backends.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from provisioner.errors import ProvisionError
from provisioner.kube.manifest import digest_of_text
from provisioner.network.patches import Edit, images_of, parse_manifest, patch
from provisioner.spec.model import ClusterSpec

CONFIG = "ConfigMap kube-flannel/kube-flannel-cfg"
DAEMONS = "DaemonSet kube-flannel/kube-flannel-ds"
_POD = ("spec", "template", "spec")


def net_conf(spec: ClusterSpec) -> str:
    """net-conf.json. The backend's type is always written: without it flannel means udp (parseBackendType)."""
    flannel = spec.network.flannel
    backend: dict[str, Any] = {"Type": flannel.backend}
    if flannel.backend == "vxlan":
        backend |= {"VNI": flannel.vni, "Port": flannel.port}
    if flannel.mtu is not None:
        backend["MTU"] = flannel.mtu
    conf: dict[str, Any] = {"EnableNFTables": spec.proxy.mode == "nftables", "Backend": backend}
    for cidr in spec.network.pod_cidrs:
        conf["IPv6Network" if ":" in cidr else "Network"] = cidr
    conf["EnableIPv4"] = "Network" in conf
    if "IPv6Network" in conf:
        conf["EnableIPv6"] = True
    return json.dumps(conf, indent=2, sort_keys=True)


def images(manifest: str) -> list[str]:
    """The image references that the upstream manifest names."""
    return sorted(images_of(parse_manifest(manifest, "kube-flannel.yml")))


def objects(spec: ClusterSpec, manifest: str, image: Callable[[str], str]) -> list[dict[str, Any]]:
    """The objects to apply. `image` gives the private registry's reference of an upstream one."""
    source = "kube-flannel.yml"
    upstream = parse_manifest(manifest, source)
    conf = net_conf(spec)
    edits = [
        Edit(CONFIG, ("data", "net-conf.json"), conf, "pod CIDRs and backend of the spec"),
        Edit(
            DAEMONS,
            ("spec", "template", "metadata", "annotations"),
            {"provision.dev/config": digest_of_text(conf)},
            "a new configuration rolls the pods",
        ),
        *_image_edits(upstream, image),
        *_interface_edits(upstream, spec.network.flannel.interface),
    ]
    return patch(upstream, edits, source)


def _image_edits(upstream: Sequence[dict[str, Any]], image: Callable[[str], str]) -> list[Edit]:
    return [
        Edit(target, path, image(reference), "images come from the private registry, by digest")
        for reference, places in images_of(upstream).items()
        for target, path in places
    ]


def _interface_edits(upstream: Sequence[dict[str, Any]], interface: str | None) -> list[Edit]:
    if interface is None:
        return []
    for item in upstream:
        if item["kind"] == "DaemonSet":
            for index, container in enumerate(item["spec"]["template"]["spec"]["containers"]):
                if container["name"] == "kube-flannel":
                    path = (*_POD, "containers", index, "args", "+")
                    return [Edit(DAEMONS, path, f"--iface={interface}", "the interface of the spec")]
    raise ProvisionError("kube-flannel.yml has no container kube-flannel")
