"""Images for hosts without a registry: the bundle's, and such as are made from its programs; by `ctr images import`."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from by_ssh import Content, add

from provisioner.bundle import oci
from provisioner.bundle.archive import Entry, write_archive
from provisioner.bundle.layout import DEFAULT_PLATFORM, Artifact, BlobFile, Image
from provisioner.bundle.oci import Descriptor
from provisioner.bundle.store import hash_file

PAUSE = "registry.k8s.io/pause:3.10"
CONTAINERD = f"""version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = true
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/cni/bin"
"""
"""Of containerd before 2.0, on a host of a lab."""
IMPORT = "ctr -n k8s.io images import -"
_ENVIRONMENT = "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def around(program: Artifact, folder: Path, base: Image | None = None) -> Image:
    """An image with the program in /usr/local/bin, on the layers of `base`; its blobs are made in `folder`."""
    layer = folder / f"{program.name}.layer"
    diff_id = write_archive([Entry(f"/usr/local/bin/{program.name}", file=program.path)], layer)
    below = base.blobs[1:] if base else ()
    below_ids = json.loads(base.blobs[0].path.read_bytes())["rootfs"]["diff_ids"] if base else []
    config = folder / f"{program.name}.config"
    config.write_bytes(oci.image_config(DEFAULT_PLATFORM, [*below_ids, diff_id], {"Env": [_ENVIRONMENT]}))
    blobs = (_blob(config, oci.CONFIG), *below, _blob(layer, oci.LAYER))
    first, *layers = [Descriptor(each.media_type, each.digest, each.size) for each in blobs]
    manifest = oci.manifest(first, layers, {})
    return Image(program.name, program.version, oci.digest_of(manifest), manifest, oci.MANIFEST, blobs)


def pack(images: Mapping[str, Image], stream: IO[bytes]) -> None:
    """Writes the images, each under its name here, as IMPORT takes them: an OCI layout as tar."""
    with tarfile.open(fileobj=stream, mode="w|") as tar:
        add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add(tar, "index.json", oci.encode({"schemaVersion": 2, "manifests": _entries(images)}))
        manifests = {image.digest: image.manifest for image in images.values()}
        blobs = {blob.digest: blob.path for image in images.values() for blob in image.blobs}
        contents: dict[str, Content] = {**manifests, **blobs}
        for digest, content in contents.items():
            add(tar, f"blobs/{digest.replace(':', '/')}", content)


def _entries(images: Mapping[str, Image]) -> list[object]:
    return [
        Descriptor(
            image.media_type, image.digest, len(image.manifest), {"io.containerd.image.name": name}
        ).document()
        for name, image in images.items()
    ]


def _blob(path: Path, media_type: str) -> BlobFile:
    digest, size = hash_file(path)
    return BlobFile(digest, size, path, media_type)
