"""A small bundle shaped as real ones are, and tars that nobody should trust."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from provisioner.bundle import catalogue, oci, publish, write
from provisioner.bundle.archive import Entry, write_archive
from provisioner.bundle.publish import Layer
from provisioner.bundle.store import Finished, Store
from provisioner.bundle.tarread import BLOCK

COMPONENTS = {component.name: component for component in catalogue.load()}
PAUSE = "registry.k8s.io/pause:3.10"


def artifact(store: Store, name: str, content: bytes) -> Finished:
    with store.workspace() as workspace:
        (workspace / "file").write_bytes(content)
        return publish.artifact(COMPONENTS[name], workspace / "file", "module", store)


def image(store: Store, name: str, *contents: bytes) -> Finished:
    layers = []
    with store.workspace() as workspace:
        for content in contents:
            diff_id = write_archive([Entry("/program", data=content)], workspace / "layer")
            layers.append(Layer(store.add_file(workspace / "layer", oci.LAYER), diff_id))
        return publish.image(COMPONENTS[name], layers, "module", store)


def small_bundle(root: Path, kubelet: bytes = b"kubelet") -> Path:
    """Artifacts, and images that share a layer, in `root`/bundle."""
    store, noise = Store(root / "store"), random.Random(7)  # noqa: S311  # the same in every run
    shared = noise.randbytes(3000)
    parts = [
        artifact(store, "kubelet", kubelet),
        artifact(store, "etcd", noise.randbytes(5000)),
        image(store, "pause", shared),
        image(store, "coredns", shared, noise.randbytes(9000)),
    ]
    write.write_bundle(parts, store, root / "bundle")
    return root / "bundle"


def header(
    name: str | bytes, size: int | bytes = 0, kind: bytes = b"0", link: str = "", prefix: str = ""
) -> bytes:
    """One of a tar, with the checksum that it has to have, whatever else is wrong with it."""
    written = size if isinstance(size, bytes) else b"%011o\0" % size
    block = bytearray(BLOCK)
    block[:100] = (name if isinstance(name, bytes) else name.encode()).ljust(100, b"\0")
    block[100:124] = b"0000644\0" + b"0000000\0" * 2
    block[124:136] = written
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[157:257] = link.encode().ljust(100, b"\0")
    block[257:265] = b"ustar\x0000"
    block[345:500] = prefix.encode().ljust(155, b"\0")
    return summed(bytes(block))


def summed(block: bytes) -> bytes:
    """The header with the checksum of its bytes."""
    blank = block[:148] + b" " * 8 + block[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def member(name: str, content: bytes) -> bytes:
    return header(name, len(content)) + content + bytes(-len(content) % BLOCK)


def tar(*parts: bytes, end: bytes = bytes(2 * BLOCK)) -> bytes:
    return b"".join(parts) + end


def members_of(packed: bytes) -> Sequence[tuple[int, int]]:
    """Where each header of a whole tar is, and how long its content."""
    found, at = [], 0
    while packed[at : at + BLOCK].strip(b"\0"):
        size = int(packed[at + 124 : at + 135], 8)
        found.append((at, size))
        at += BLOCK + size + -size % BLOCK
    return found
