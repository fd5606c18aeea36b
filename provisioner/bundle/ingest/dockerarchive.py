"""Archives of `docker save`, `podman save` and skopeo's docker-archive: a manifest.json, and what it names.

Before Docker 25 a layer is at ID/layer.tar, or there is a link to that of another image; from then on configs and
layers are blobs of an OCI layout in the same archive (moby, image/tarexport/save.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from provisioner.bundle import oci
from provisioner.bundle.ingest import documents, images
from provisioner.bundle.ingest.images import TakenImage
from provisioner.bundle.ingest.layers import Intake, Wanted, take_layer
from provisioner.bundle.ingest.limits import refusal
from provisioner.bundle.ingest.tree import Tree
from provisioner.errors import ProvisionError

MANIFEST = "manifest.json"
_HEX = re.compile(r"([0-9a-f]{64})(?:\.json)?")


@dataclass(frozen=True)
class Saved:
    """An image as manifest.json lists it."""

    config: str
    layers: tuple[str, ...]
    tags: tuple[str, ...]


def listed(tree: Tree, intake: Intake) -> list[Saved]:
    """Raises ProvisionError when the list is not as it has to be."""
    raw = documents.parse(documents.read_bytes(tree, MANIFEST, intake.limits), MANIFEST)
    if not isinstance(raw, list) or not raw:
        raise refusal(MANIFEST, "is no list of images")
    return [_saved(each, f"[{number}]") for number, each in enumerate(raw)]


def _saved(value: object, where: str) -> Saved:
    raw = documents.mapping(value, MANIFEST, where)
    layers = documents.texts(raw.get("Layers"), MANIFEST, f"{where}.Layers")
    tags = documents.texts(raw.get("RepoTags"), MANIFEST, f"{where}.RepoTags")
    config = documents.text(raw.get("Config"), MANIFEST, f"{where}.Config")
    return Saved(config, tuple(layers), tuple(tags))


def take(
    saved: Sequence[Saved], tree: Tree, platforms: Sequence[str], intake: Intake
) -> Iterator[TakenImage]:
    """Bring the listed images into the store, once for each of their names. Raises ProvisionError naming the member
    that is not as it is said to be."""
    for each in saved:
        data = documents.read_bytes(tree, each.config, intake.limits)
        config = images.read_config(data, each.config)
        said = _HEX.fullmatch(PurePosixPath(each.config).name)
        if said and f"sha256:{said[1]}" != config.digest:
            raise refusal(each.config, f"has {config.digest}, not what its name says")
        images.check_count(config, each.layers, MANIFEST)
        if not images.fits(config, platforms, ", ".join(each.tags) or config.digest, intake):
            continue
        names = images.named(each.tags, config.digest, MANIFEST, intake)
        pairs = zip(each.layers, config.diff_ids, strict=True)
        layers = [take_layer(Wanted(name, diff_id), tree, intake) for name, diff_id in pairs]
        yield from finished(names, config, layers, intake)


def finished(
    names: Sequence[str], config: images.Config, layers: Sequence[oci.Descriptor], intake: Intake
) -> Iterator[TakenImage]:
    """The image with a manifest of our own, under each of its names."""
    store = intake.store
    blob = store.add_bytes(config.data, oci.CONFIG)
    manifest = store.add_bytes(oci.manifest(blob, layers, {}), oci.MANIFEST)
    for name in names:
        yield TakenImage(name, config.digest, config.platform, manifest, (blob, *layers))


def is_docker_archive(tree: Tree) -> bool:
    """Whether there is a list of images as docker writes it."""
    try:
        return tree.size(MANIFEST) > 0
    except ProvisionError:
        return False
