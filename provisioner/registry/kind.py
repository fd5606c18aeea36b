"""The module `image`: an image of the bundle in the private registry, compared by digest, pushed by the controller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from provisioner.engine.events import Emit
from provisioner.errors import ProvisionError
from provisioner.registry.client import PushableImage, PushResult, Registry
from provisioner.registry.harborproject import HarborProject
from provisioner.registry.names import place
from provisioner.registry.transport import RefusedError
from provisioner.resources.model import Absent, Change, Present, Resource, State, Unknown
from provisioner.resources.task import TaskCall


class ImageKind:
    """Present(digest of the manifest) of a repository's tag."""

    name = "image"

    def __init__(
        self,
        registry: Registry,
        project: str,
        find: Callable[[str], PushableImage],
        emit: Emit,
        harbor: HarborProject | None = None,
    ) -> None:
        """`find` gives the image of an upstream reference or raises ProvisionError. `harbor`: the registry is one."""
        self._registry = registry
        self._project = project
        self._find = find
        self._emit = emit
        self._harbor = harbor

    def build(self, task: TaskCall) -> Sequence[Resource]:
        task.check({"reference": str}, {})
        reference = str(task.args["reference"])
        try:
            place(reference, self._project)
            image = self._find(reference)
        except ProvisionError as fault:
            raise task.error(fault.reason, fault.hint, "reference") from None
        return [Resource("image", reference, Present({"digest": image.digest}), {"image": image})]

    def read(self, resources: Sequence[Resource]) -> Mapping[str, State]:
        states: dict[str, State] = {}
        if not self._registry.listens():
            return {each.id: Unknown("the registry does not answer") for each in resources}
        for each in resources:
            try:
                digest = self._registry.digest(*self._place(each))
            except ProvisionError as fault:
                return {other.id: Unknown(fault.reason) for other in resources}
            states[each.id] = Present({"digest": digest}) if digest else Absent()
        return states

    def carry_out(self, change: Change) -> str:
        name, tag = self._place(change.resource)
        result = self._push(change.resource.spec["image"], name, tag)
        skipped = result.skipped + result.mounted
        sent = f"{result.blobs_sent} blob{'s' * (result.blobs_sent != 1)} sent"
        return f"{sent} ({result.bytes_sent >> 20} MiB), {skipped} there already"

    def _push(self, image: PushableImage, name: str, tag: str) -> PushResult:
        if self._harbor is None:
            return self._registry.push(image, name, tag, self._emit)
        self._harbor.ensure()
        try:
            return self._registry.push(image, name, tag, self._emit)
        except RefusedError as refusal:
            raise self._harbor.explained(refusal) from refusal

    def ping(self) -> None:
        """Raises ProvisionError while the registry does not answer."""
        self._registry.ping()

    def _place(self, resource: Resource) -> tuple[str, str]:
        return place(resource.name, self._project)
