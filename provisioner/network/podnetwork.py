"""The pod network that a spec asks for: its upstream manifest, what is made of it, and what has to run then."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from provisioner.engine.patched import Patched
from provisioner.network import calico, cilium, flannel
from provisioner.network.patches import explained, images_of, parse_manifest
from provisioner.spec.model import ClusterSpec

Object = dict[str, Any]

_DAEMONS = {"flannel": flannel.DAEMONS, "calico": calico.DAEMONS, "cilium": cilium.DAEMONS}
_OBJECTS = {"flannel": flannel.objects, "calico": calico.objects, "cilium": cilium.objects}
_EDITS = {"flannel": flannel.edits, "calico": calico.edits, "cilium": cilium.edits}


def artifact_of(spec: ClusterSpec) -> str:
    """The name in the bundle of the upstream manifest that the spec's plug-in wants."""
    if spec.network.plugin == "calico":
        return calico.artifact_of(spec)
    return cilium.artifact_of(spec) if spec.network.plugin == "cilium" else flannel.ARTIFACT


class PodNetwork:
    """`read` gives the text of an artifact of the bundle. Manifests are read when they are first needed."""

    def __init__(self, spec: ClusterSpec, read: Callable[[str], str]) -> None:
        self._spec, self._read, self._plugin = spec, read, spec.network.plugin

    @property
    def artifact(self) -> str:
        """The upstream manifest's name in the bundle."""
        return artifact_of(self._spec)

    @property
    def daemons(self) -> str:
        """The key of the DaemonSet that has to run on every node."""
        return _DAEMONS[self._plugin]

    @cached_property
    def upstream(self) -> list[Object]:
        """The objects of the upstream manifest. Raises ProvisionError when it is none."""
        return parse_manifest(self._read(self.artifact), self.artifact)

    @property
    def images(self) -> list[str]:
        """The image references that the upstream manifest names."""
        return sorted(images_of(self.upstream))

    def objects(self, image: Callable[[str], str]) -> list[Object]:
        """What is to be applied. `image` gives the private registry's reference of an upstream one. Raises
        ProvisionError where the manifest lacks what is to be changed."""
        return _OBJECTS[self._plugin](self._spec, self.upstream, image)

    def patched(self, image: Callable[[str], str]) -> list[Patched]:
        """What is changed in the upstream manifest for that, and why. Raises ProvisionError, as `objects` does."""
        edits = _EDITS[self._plugin](self._spec, self.upstream, image)
        return explained(self.upstream, edits, self.artifact, self._plugin)
