"""Images of one archive or folder, whichever of the forms it has."""

from __future__ import annotations

from collections.abc import Sequence

from provisioner.bundle.ingest import dockerarchive, ocilayout
from provisioner.bundle.ingest.documents import read_bytes
from provisioner.bundle.ingest.images import TakenImage
from provisioner.bundle.ingest.layers import Intake
from provisioner.bundle.ingest.tree import Tree
from provisioner.bundle.oci import digest_of


def has_images(tree: Tree) -> bool:
    """Whether it is an archive of images, or a layout of them."""
    return dockerarchive.is_docker_archive(tree) or ocilayout.is_layout(tree)


def take_images(tree: Tree, platforms: Sequence[str], intake: Intake) -> list[TakenImage]:
    """Bring them into the store. An archive that is of both forms is read as a layout, which has the publisher's
    manifests, with the names that docker gives. Raises ProvisionError naming the member that is not as it should be."""
    saved = dockerarchive.listed(tree, intake) if dockerarchive.is_docker_archive(tree) else []
    taken: list[TakenImage] = []
    if ocilayout.is_layout(tree):
        tags: dict[str, list[str]] = {}
        for each in saved:
            digest = digest_of(read_bytes(tree, each.config, intake.limits))
            tags.setdefault(digest, []).extend(each.tags)
        taken += ocilayout.take(tree, platforms, intake, tags)
        known = {image.image_id for image in taken}
        saved = [
            each for each in saved if digest_of(read_bytes(tree, each.config, intake.limits)) not in known
        ]
    taken += dockerarchive.take(saved, tree, platforms, intake)
    return taken
