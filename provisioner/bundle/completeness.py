"""Every image that a manifest of the bundle asks for must be in the bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

import yaml

from provisioner.bundle import oci
from provisioner.bundle.store import Finished, Store
from provisioner.errors import ProvisionError

# The custom resources of some network plug-ins are megabytes.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def images_of(manifest: bytes) -> frozenset[str]:
    """The references of all containers in a Kubernetes manifest of one or several documents."""
    return images_in(list(yaml.load_all(manifest, Loader=_Loader)))


def images_in(objects: Sequence[object]) -> frozenset[str]:
    """The references of all containers in these objects."""
    return frozenset(image for each in objects for image in _images(each))


def prove_complete(finished: Sequence[Finished], store: Store, without: Sequence[str] = ()) -> None:
    """Raises ProvisionError naming each image that a manifest asks for and the catalogue does not have, but for
    those `without` which it is known to be.
    """
    present = {part.entry.annotations[oci.REF_NAME] for part in finished}.union(without)
    missing = []
    for part in finished:
        if PurePath(part.entry.annotations[oci.TITLE]).suffix not in (".yml", ".yaml"):
            continue
        wanted = images_of(store.path(part.blobs[-1].digest).read_bytes())
        missing += [
            f"{part.entry.annotations[oci.TITLE]} asks for {image}" for image in sorted(wanted - present)
        ]
    if missing:
        raise ProvisionError(
            "\n".join(missing), "the catalogue needs these images, or other tags of those it has"
        )


def _images(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("containers", "initContainers") and isinstance(value, list):
                yield from (
                    str(each["image"]) for each in value if isinstance(each, dict) and "image" in each
                )
            else:
                yield from _images(value)
    elif isinstance(node, list):
        for item in node:
            yield from _images(item)
