"""The pod network that a spec asks for: its upstream manifest, what is made of it, and what has to run then."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from provisioner.engine.patched import Patched
from provisioner.network import calico, calicoagent, canal, cilium, flannel, tigera
from provisioner.network.patches import Edit, explained, images_of, parse_manifest
from provisioner.spec.model import ClusterSpec

Object = dict[str, Any]

_DAEMONS = {
    "flannel": flannel.DAEMONS,
    "calico": calicoagent.DAEMONS,
    "canal": canal.DAEMONS,
    "cilium": cilium.DAEMONS,
}
_OBJECTS = {"flannel": flannel.objects, "calico": calico.objects, "cilium": cilium.objects}
_EDITS = {"flannel": flannel.edits, "calico": calico.edits, "cilium": cilium.edits}


def artifact_of(spec: ClusterSpec) -> str:
    """The name in the bundle of the upstream manifest that the spec's plug-in wants."""
    network = spec.network
    if network.plugin == "calico":
        return tigera.ARTIFACT if network.calico.operated else calico.artifact_of(spec)
    if network.plugin == "cilium":
        return cilium.artifact_of(spec)
    return canal.ARTIFACT if network.plugin == "canal" else flannel.ARTIFACT


class PodNetwork:
    """`read` gives the text of an artifact of the bundle. Manifests are read when they are first needed. `operated`: an
    operator makes of one object what else a manifest has."""

    def __init__(self, spec: ClusterSpec, read: Callable[[str], str]) -> None:
        self._spec, self._read, self._plugin = spec, read, spec.network.plugin
        self._canal = self._plugin == "canal"
        self.operated = self._plugin == "calico" and spec.network.calico.operated

    @property
    def artifact(self) -> str:
        """The upstream manifest's name in the bundle."""
        return artifact_of(self._spec)

    @property
    def daemons(self) -> str:
        """The key of the DaemonSet that has to run on every node."""
        return tigera.DAEMONS if self.operated else _DAEMONS[self._plugin]

    @cached_property
    def upstream(self) -> list[Object]:
        """The objects of the upstream manifest. Raises ProvisionError when it is none."""
        found = self._parsed(self.artifact)
        if self.operated and all(each["kind"] != "CustomResourceDefinition" for each in found):
            return [*self._parsed(tigera.DEFINITIONS), *found]
        return found

    @cached_property
    def _release(self) -> list[Object]:
        return self._parsed(tigera.RELEASE)

    @cached_property
    def _flannel(self) -> list[Object]:
        return self._parsed(flannel.ARTIFACT)

    @property
    def images(self) -> list[str]:
        """The image references that nodes will pull, upstream's: those of the manifest, and those that an operator
        names to nodes. Raises ProvisionError where nobody knows them."""
        if self.operated:
            return sorted(tigera.pulled(self._spec.network.calico, self.upstream, self._release))
        if self._canal:
            return sorted(set(canal.own_images(self.upstream, self._flannel).values()))
        return sorted(images_of(self.upstream))

    def objects(self, image: Callable[[str], str]) -> list[Object]:
        """What is to be applied. `image` gives the private registry's reference of an upstream one. Raises
        ProvisionError where the manifest lacks what is to be changed."""
        if self.operated:
            return tigera.objects(self._spec, self.upstream, self._release, image)
        if self._canal:
            return canal.objects(self._spec, self.upstream, self._flannel, image)
        return _OBJECTS[self._plugin](self._spec, self.upstream, image)

    def patched(self, image: Callable[[str], str]) -> list[Patched]:
        """What is changed in the upstream manifest for that, and why. Raises ProvisionError, as `objects` does."""
        return explained(self.upstream, self._edits(image), self.artifact, self._plugin)

    def _edits(self, image: Callable[[str], str]) -> list[Edit]:
        if self.operated:
            return tigera.edits(self.upstream, image)
        if self._canal:
            return canal.edits(self._spec, self.upstream, self._flannel, image)
        return _EDITS[self._plugin](self._spec, self.upstream, image)

    def _parsed(self, artifact: str) -> list[Object]:
        return parse_manifest(self._read(artifact), artifact)
