"""A bundle with nothing but images, written by hand: what each is called, its platform and its layers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from provisioner.bundle import oci
from provisioner.bundle.layout import Bundle
from provisioner.bundle.oci import Descriptor


def layout(path: Path, *images: tuple[str, str, Sequence[bytes]]) -> Bundle:
    """`images` are (reference, platform, layers)."""
    entries = [_image(path, *each).document() for each in images]
    (path / "oci-layout").write_bytes(oci.encode({"imageLayoutVersion": "1.0.0"}))
    (path / "index.json").write_bytes(
        oci.encode({"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries})
    )
    return Bundle.open(path)


def _image(path: Path, reference: str, platform: str, layers: Sequence[bytes]) -> Descriptor:
    digests = [oci.digest_of(layer) for layer in layers]
    config = _blob(path, oci.CONFIG, oci.image_config(platform, digests, {}))
    parts = [_blob(path, oci.LAYER, layer) for layer in layers]
    found = _blob(path, oci.MANIFEST, oci.manifest(config, parts, {}))
    return Descriptor(found.media_type, found.digest, found.size, {oci.REF_NAME: reference}, platform)


def _blob(path: Path, media_type: str, data: bytes) -> Descriptor:
    digest = oci.digest_of(data)
    file = path / "blobs" / "sha256" / digest.partition(":")[2]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return Descriptor(media_type, digest, len(data))
