"""Where each image of a set goes in a registry: told before the first byte moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from provisioner.errors import InputError, Problem, ProvisionError
from provisioner.registry.client import PushableImage
from provisioner.registry.index import Index, combined
from provisioner.registry.names import place, upstream


class NamedImage(PushableImage, Protocol):
    """`bundle.layout.Image` is one. `reference` is the upstream name with its tag, `platform` as linux/amd64."""

    @property
    def reference(self) -> str: ...
    @property
    def platform(self) -> str: ...


@dataclass(frozen=True)
class Placed:
    """`image` is an index where the set has several platforms. `reference` is the upstream's whole name."""

    reference: str
    repository: str
    tag: str
    image: PushableImage | Index

    @property
    def where(self) -> str:
        return f"{self.repository}:{self.tag}"


def placed(images: Sequence[NamedImage], project: str) -> list[Placed]:
    """Raises InputError with every name that cannot be, or that two different images would share."""
    problems: list[Problem] = []
    places: dict[tuple[str, str], dict[str, list[NamedImage]]] = {}
    for image in images:
        try:
            where = place(image.reference, project)
        except ProvisionError as fault:
            problems.append(Problem(image.reference, 0, 0, fault.reason, fault.hint))
            continue
        name, _, tag = image.reference.rpartition(":")
        places.setdefault(where, {}).setdefault(f"{upstream(name)}:{tag}", []).append(image)
    result = []
    for (repository, tag), by_name in places.items():
        together = {name: _together(same) for name, same in by_name.items()}
        if len({image.digest for image in together.values()}) > 1:
            reason = f"different images would both be {repository}:{tag}: {' and '.join(sorted(together))}"
            problems.append(
                Problem(repository, 0, 0, reason, "push them apart, --image NAME, to projects of their own")
            )
        name, whole = min(together.items())
        result.append(Placed(name, repository, tag, whole))
    if problems:
        raise InputError(problems)
    return result


def _together(images: Sequence[NamedImage]) -> PushableImage | Index:
    platforms = {image.platform: image for image in images}
    return images[0] if len({image.digest for image in images}) == 1 else combined(platforms)
