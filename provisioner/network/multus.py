"""multus by its manifests, thin or thick, patched for the spec.

Facts: multus-cni v4.3.0, deployments/, cmd/thin_entrypoint and pkg/server/config.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from provisioner.engine.patched import Patched
from provisioner.errors import ProvisionError
from provisioner.kube.manifest import digest_of_text
from provisioner.network.attachments import objects as definitions
from provisioner.network.images import image_edits
from provisioner.network.patches import Edit, explained, images_of, parse_manifest, patch
from provisioner.network.pod_template import Container
from provisioner.spec.attachments import DEFAULT_NETWORK
from provisioner.spec.model import ClusterSpec

ARTIFACTS: Mapping[str, str] = {"thin": "multus", "thick": "multus-thick"}
"""The upstream manifest by variant."""
MANIFEST = "multus"
"""The resource that has it (playbooks/network.yaml)."""
IMAGE = "ghcr.io/k8snetworkplumbingwg/multus-cni"
DAEMONS = "DaemonSet kube-system/kube-multus-ds"
CONFIG = "ConfigMap kube-system/multus-daemon-config"
_DAEMON_CONFIG = "daemon-config.json"
_PATHS = ("/opt/cni/bin", "/etc/cni/net.d")
"""Where the runtime of this tool's nodes has plug-ins and their configurations (templates/containerd)."""


class Attached:
    """The networks beside the pods' own: multus and what it reads, or nothing. `read` gives the text of an artifact of
    the bundle, `references` are its images. The manifest is read when it is first needed."""

    def __init__(self, spec: ClusterSpec, read: Callable[[str], str], references: Sequence[str]) -> None:
        self._spec, self._read, self._references = spec, read, references
        self.there = spec.network.multus is not None

    @property
    def daemons(self) -> list[str]:
        """The keys of the DaemonSets that have to run on every node."""
        return [DAEMONS] if self.there else []

    @cached_property
    def upstream(self) -> list[dict[str, Any]]:
        """The objects of the upstream manifest. Raises ProvisionError when it is none."""
        if not self.there:
            return []
        source = _source(self._spec)
        return parse_manifest(self._read(source), source)

    @property
    def images(self) -> list[str]:
        """The bundle's images that it takes."""
        return sorted({in_bundle(each, self._references) for each in images_of(self.upstream)})

    def objects(self, pullable: Callable[[str], str]) -> list[dict[str, Any]]:
        """What is to be applied. `pullable` gives the private registry's reference of the bundle's. Raises
        ProvisionError where the manifest lacks what is to be changed."""
        if not self.there:
            return []
        return objects(self._spec, self.upstream, lambda each: pullable(in_bundle(each, self._references)))

    def patched(self, pullable: Callable[[str], str]) -> list[Patched]:
        """What is changed in the upstream manifest for that, and why. Raises ProvisionError, as `objects` does."""
        if not self.there:
            return []
        found = edits(self._spec, self.upstream, lambda each: pullable(in_bundle(each, self._references)))
        return explained(self.upstream, found, _source(self._spec), MANIFEST)


def objects(
    spec: ClusterSpec, upstream: Sequence[dict[str, Any]], image: Callable[[str], str]
) -> list[dict[str, Any]]:
    """multus, and the definitions of the spec. `image` gives the private registry's reference of an upstream one.
    Raises ProvisionError where the manifest lacks what is to be changed."""
    source = _source(spec)
    _check_paths(upstream, source)
    return [*patch(upstream, edits(spec, upstream, image), source), *definitions(spec.network.attachments)]


def edits(spec: ClusterSpec, upstream: Sequence[dict[str, Any]], image: Callable[[str], str]) -> list[Edit]:
    """What is changed in the manifest, and why."""
    thin = _source(spec) == ARTIFACTS["thin"]
    return [*image_edits(upstream, image), *(_thin(upstream) if thin else _thick(spec, upstream))]


def _source(spec: ClusterSpec) -> str:
    return ARTIFACTS[spec.network.multus.variant if spec.network.multus else "thin"]


def _thin(upstream: Sequence[dict[str, Any]]) -> Iterator[Edit]:
    """The default network is the first file by name but its own, and nothing of others comes before it (playbooks/
    containerd.yaml)."""
    container = Container.of(upstream, DAEMONS, "kube-multus")
    why = "it follows its token and the default network's file, which it else copies once"
    yield Edit(DAEMONS, (*container.path, "args", "+"), "--cleanup-config-on-exit=true", why)


def _thick(spec: ClusterSpec, upstream: Sequence[dict[str, Any]]) -> Iterator[Edit]:
    config = _daemon_config(upstream)
    config["multusMasterCNI"] = DEFAULT_NETWORK[spec.network.plugin]
    text = json.dumps(config, indent=2, sort_keys=True)
    yield Edit(CONFIG, ("data", _DAEMON_CONFIG), text, "the default network is the plug-in of the spec")
    digest = {"provision.dev/config": digest_of_text(text)}
    path = ("spec", "template", "metadata", "annotations")
    yield Edit(DAEMONS, path, digest, "a new configuration rolls the pods", new=True)


def _daemon_config(upstream: Sequence[dict[str, Any]]) -> dict[str, Any]:
    for item in upstream:
        if item["kind"] == "ConfigMap" and _DAEMON_CONFIG in (item.get("data") or {}):
            loaded: dict[str, Any] = json.loads(item["data"][_DAEMON_CONFIG])
            return loaded
    raise ProvisionError(f"{ARTIFACTS['thick']} has no {CONFIG} with {_DAEMON_CONFIG}")


def _check_paths(upstream: Sequence[dict[str, Any]], source: str) -> None:
    """Raises ProvisionError for a manifest that is made for nodes which have the plug-ins elsewhere."""
    paths = {
        (volume.get("hostPath") or {}).get("path")
        for item in upstream
        if item["kind"] == "DaemonSet"
        for volume in item["spec"]["template"]["spec"].get("volumes") or []
    }
    missing = [each for each in _PATHS if each not in paths]
    if missing:
        raise ProvisionError(
            f"{source} mounts no {' and no '.join(missing)}, where the nodes' runtime looks",
            "take the manifest for containerd: multus-daemonset.yml or multus-daemonset-thick.yml",
        )


def in_bundle(upstream: str, references: Sequence[str]) -> str:
    """Which of the `references` stands for an image of the upstream manifest, whose tag (snapshot, snapshot-thick)
    floats: that of the same name and variant. Raises ProvisionError when there is none."""
    name, _, tag = upstream.rpartition(":")
    thick = tag.endswith("-thick")
    for each in references:
        known, _, version = each.rpartition(":")
        if known == name and (each == upstream or version.endswith("-thick") == thick):
            return each
    raise ProvisionError(f"the bundle has no image for {upstream}", "build it anew: provision bundle build")
