"""Images out of archives: what is the same for all forms of them. An image's ID, the digest of its config, is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provisioner.bundle import oci
from provisioner.bundle.ingest import documents, names
from provisioner.bundle.ingest.layers import Intake
from provisioner.bundle.ingest.limits import refusal, shown
from provisioner.bundle.oci import Descriptor
from provisioner.engine.events import Note


@dataclass(frozen=True)
class Config:
    """`platform` as linux/amd64, with a variant where one is stated; `diff_ids` are digests of uncompressed layers."""

    digest: str
    data: bytes
    platform: str
    diff_ids: tuple[str, ...]


@dataclass(frozen=True)
class TakenImage:
    """An image that is complete in the store: `name` is `host/path:tag`, `blobs` are its config and layers.
    `published`: its manifest, and so its digest, is the one that it came with."""

    name: str
    image_id: str
    platform: str
    manifest: Descriptor
    blobs: tuple[Descriptor, ...]
    published: bool = False


def read_config(data: bytes, file: str) -> Config:
    """Raises ProvisionError, with `file`, when it is no config of an image."""
    raw = documents.mapping(documents.parse(data, file), file, "it")
    root = documents.mapping(raw.get("rootfs"), file, "rootfs")
    diff_ids = documents.texts(root.get("diff_ids"), file, "rootfs.diff_ids")
    system = documents.text(raw.get("os"), file, "os")
    architecture = documents.text(raw.get("architecture"), file, "architecture")
    variant = documents.text(raw.get("variant") or "", file, "variant")
    platform = "/".join(filter(None, (system, architecture, variant)))
    return Config(oci.digest_of(data), data, platform, tuple(diff_ids))


def check_count(config: Config, layers: Sequence[object], file: str) -> None:
    """Raises ProvisionError, with `file`, when the config has not as many layers as there are."""
    if len(config.diff_ids) != len(layers):
        reason = f"has {len(layers)} layers, its config {len(config.diff_ids)} (rootfs.diff_ids)"
        raise refusal(file, reason)


def fits(config: Config, platforms: Sequence[str], name: str, intake: Intake) -> bool:
    """Whether bundles are for the image's platform; said where they are not."""
    if config.platform in platforms:
        return True
    said = f"{intake.subject}: {shown(name)} is for {shown(config.platform)}, which bundles are not for; it is left out"
    intake.emit(Note(level="warning", message=said, hint="bundles are for " + ", ".join(platforms)))
    return False


def named(tags: Iterable[str], image_id: str, file: str, intake: Intake) -> list[str]:
    """The whole names of an image, in their order. One that has none is named by its ID, which is said."""
    found = [names.full_name(tag, file) for tag in tags]
    if found:
        return list(dict.fromkeys(found))
    name = names.without_name(image_id)
    hint = "give it one before it is saved: docker tag ID NAME:TAG"
    intake.emit(Note(message=f"{intake.subject}: an image without a name comes in as {name}", hint=hint))
    return [name]
