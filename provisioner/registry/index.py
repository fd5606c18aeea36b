"""Images of several platforms as one: an index of the OCI image specification 1.1."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.registry.client import PushableImage

INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True)
class Index:
    digest: str
    manifest: bytes
    children: tuple[PushableImage, ...]
    media_type: str = INDEX


def combined(children: Mapping[str, PushableImage]) -> Index:
    """Of images by platform (linux/arm64, linux/arm/v7); the same images give the same bytes."""
    platforms = sorted(children)
    entries = [_entry(platform, children[platform]) for platform in platforms]
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}
    manifest = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    return Index(digest, manifest, tuple(children[platform] for platform in platforms))


def _entry(platform: str, image: PushableImage) -> dict[str, object]:
    names = ("os", "architecture", "variant")
    return {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": len(image.manifest),
        "platform": dict(zip(names, platform.split("/"), strict=False)),
    }
