"""Media types, descriptors and manifests of the OCI image specification 1.1."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
EMPTY = "application/vnd.oci.empty.v1+json"
FILE = "application/octet-stream"
ARTIFACT = "application/vnd.provision.artifact.v1"
PACKAGES = "application/vnd.provision.packages.v1"
DEB = "application/vnd.debian.binary-package"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

REF_NAME = "org.opencontainers.image.ref.name"
TITLE = "org.opencontainers.image.title"
VERSION = "org.opencontainers.image.version"
SOURCE = "org.opencontainers.image.source"
COMPONENT = "provision.component"
ORIGIN = "provision.source"
MODULE = "provision.module"
DISTRIBUTION = "provision.distribution"
PACKAGE = "provision.package"
NEEDS = "provision.needs"
IMAGES = "provision.images"

EMPTY_CONFIG = b"{}"


def digest_of(data: bytes) -> str:
    """The digest of `data` as OCI writes it: `sha256:` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encode(document: object) -> bytes:
    """JSON whose bytes, and so whose digest, depend on the meaning only."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True)
class Descriptor:
    """A reference to a blob. `size` is in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    artifact_type: str = ""

    def document(self) -> dict[str, Any]:
        result: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            result["annotations"] = dict(self.annotations)
        if self.platform:
            system, _, architecture = self.platform.partition("/")
            result["platform"] = {"os": system, "architecture": architecture}
        if self.artifact_type:
            result["artifactType"] = self.artifact_type
        return result

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Descriptor:
        """Raises KeyError, TypeError or ValueError when `document` is no descriptor."""
        platform = document.get("platform") or {}
        digest = str(document["digest"])
        algorithm, _, hexadecimal = digest.partition(":")
        if algorithm != "sha256" or len(hexadecimal) != 64 or set(hexadecimal) - set("0123456789abcdef"):
            raise ValueError(f"{digest!r} is no sha256 digest")
        return cls(
            media_type=str(document["mediaType"]),
            digest=digest,
            size=int(document["size"]),
            annotations=dict(document.get("annotations") or {}),
            platform=f"{platform['os']}/{platform['architecture']}" if platform else "",
            artifact_type=str(document.get("artifactType", "")),
        )


def manifest(
    config: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str], artifact_type: str = ""
) -> bytes:
    """An image manifest; with `artifact_type` the manifest of an artifact that is no image."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.document(),
        "layers": [layer.document() for layer in layers],
        "annotations": dict(annotations),
    }
    if artifact_type:
        document["artifactType"] = artifact_type
    return encode(document)


def image_config(platform: str, diff_ids: Sequence[str], run: Mapping[str, Any]) -> bytes:
    """`run` is the `config` member (Entrypoint, Env, User, Labels …); `diff_ids` name the uncompressed
    layers.
    """
    system, _, architecture = platform.partition("/")
    return encode(
        {
            "architecture": architecture,
            "os": system,
            "config": dict(run),
            "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
            # No time of creation: two builds of the same content are the same image.
            "history": [{"created_by": "provision bundle build"} for _ in diff_ids],
        }
    )
