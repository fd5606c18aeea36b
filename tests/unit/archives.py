"""Archives of images as docker, podman and skopeo write them, made for tests."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def packed(members: Mapping[str, bytes | tarfile.TarInfo], form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive of files, or of members as they are given."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def layer(text: str) -> bytes:
    return packed({f"etc/{text}": text.encode() * 100})


@dataclass(frozen=True)
class Made:
    """An image of uncompressed `layers`."""

    layers: tuple[bytes, ...]
    tags: tuple[str, ...] | None = ("calico/node:v3.28.1",)
    architecture: str = "amd64"
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> bytes:
        rootfs = {"type": "layers", "diff_ids": [digest(each) for each in self.layers]}
        config = {"architecture": self.architecture, "os": "linux", "rootfs": rootfs, **self.more}
        # As docker writes it, not as this tool would.
        return json.dumps(config, indent=1).encode()

    @property
    def image_id(self) -> str:
        return digest(self.config)


def old_docker(*images: Made) -> dict[str, bytes | tarfile.TarInfo]:
    """Before Docker 25: ID/layer.tar; a layer that another image has is a link to that one's."""
    members: dict[str, bytes | tarfile.TarInfo] = {}
    listed, seen = [], dict[str, str]()
    for each in images:
        names = []
        for number, content in enumerate(each.layers):
            folder = digest(each.image_id.encode() + bytes([number]))[7:]
            name = f"{folder}/layer.tar"
            if digest(content) in seen:
                members[name] = link(name, f"../{seen[digest(content)]}")
            else:
                members[name] = content
                seen[digest(content)] = name
            members[f"{folder}/VERSION"] = b"1.0"
            names.append(name)
        config = f"{each.image_id[7:]}.json"
        members[config] = each.config
        tags = None if each.tags is None else list(each.tags)
        listed.append({"Config": config, "RepoTags": tags, "Layers": names})
    members["manifest.json"] = json.dumps(listed).encode()
    members["repositories"] = b"{}"
    return members


def descriptor(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def blob(data: bytes) -> str:
    return "blobs/" + digest(data).replace(":", "/")


def oci_image(image: Made, form: str = "") -> tuple[dict[str, bytes], bytes]:
    """Blobs, and the manifest among them. `form` is gzip, zstd or "" (not compressed)."""
    from provisioner.bundle.ingest.zstd import library as zstd

    pack: dict[str, Callable[[bytes], bytes]] = {
        "gzip": lambda data: gzip.compress(data, mtime=0),
        "zstd": zstd.compress,
        "": bytes,
    }
    layers = [pack[form](each) for each in image.layers]
    kind = LAYER + (f"+{form}" if form else "")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, image.config),
            "layers": [descriptor(kind, each) for each in layers],
        },
        indent=3,
    ).encode()
    return {blob(each): each for each in (image.config, manifest, *layers)}, manifest


def layout(blobs: Mapping[str, bytes], entries: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries)}
    return {
        **blobs,
        "index.json": json.dumps(index).encode(),
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
    }


def named_layout(
    image: Made, form: str = "gzip", name: str = "docker.io/calico/node:v3.28.1"
) -> dict[str, bytes]:
    blobs, manifest = oci_image(image, form)
    notes = {"org.opencontainers.image.ref.name": name}
    return layout(blobs, [descriptor(MANIFEST, manifest, annotations=notes)])


def new_docker(*images: Made) -> dict[str, bytes]:
    """From Docker 25 on: an OCI layout with uncompressed layers, and docker's own list."""
    blobs: dict[str, bytes] = {}
    entries, listed = [], []
    for each in images:
        more, manifest = oci_image(each)
        blobs |= more
        for tag in each.tags or ("",):
            notes = {"io.containerd.image.name": f"docker.io/{tag}"} if tag else {}
            entries.append(descriptor(MANIFEST, manifest, annotations=notes))
        tags = None if each.tags is None else list(each.tags)
        names = [blob(content) for content in each.layers]
        listed.append({"Config": blob(each.config), "RepoTags": tags, "Layers": names})
    return {**layout(blobs, entries), "manifest.json": json.dumps(listed).encode()}


def written(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The files below a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
