"""Writes a bundle: links the blobs out of the store, brings them to the disk, and replaces the index last."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from provisioner.bundle import oci
from provisioner.bundle.contents import INDEX, LAYOUT, SIGNATURE
from provisioner.bundle.oci import Descriptor
from provisioner.bundle.seal import sealed
from provisioner.bundle.store import Finished, Store, sync, write_atomically
from provisioner.engine.events import Emit, Note, silent

_LAYOUT = oci.encode({"imageLayoutVersion": "1.0.0"})
# ioctl of Linux (linux/fs.h): share the blocks of another file, copied when one of the two is written.
_FICLONE = 0x40049409


def index_of(finished: Sequence[Finished]) -> bytes:
    return sealed(
        {
            "schemaVersion": 2,
            "mediaType": oci.INDEX,
            "manifests": [part.entry.document() for part in finished],
        }
    )


def write_bundle(finished: Sequence[Finished], store: Store, target: Path, emit: Emit = silent) -> None:
    """Make `target` the bundle of the finished components.

    What it already has of them is kept, the rest removed.
    """
    blobs = {blob.digest: blob for part in finished for blob in part.blobs}
    directory = target / "blobs" / "sha256"
    directory.mkdir(parents=True, exist_ok=True)
    written = [_place(blob, store, target) for blob in blobs.values()]
    if any(written):
        sync(directory)
    _write(target / LAYOUT, _LAYOUT)
    index = index_of(finished)
    if not (target / INDEX).exists() or (target / INDEX).read_bytes() != index:
        _unsign(target, emit)
    _write(target / INDEX, index)
    for file in directory.iterdir():
        if f"sha256:{file.name}" not in blobs:
            file.unlink()


def _unsign(target: Path, emit: Emit) -> None:
    """A signature there is of what the bundle had before."""
    signature = target / SIGNATURE
    if signature.exists():
        signature.unlink()
        emit(Note(message=f"{signature} was of what {target} had before, and is gone", hint="sign it anew"))


def point(link: Path, target: Path) -> None:
    """Make the symbolic link `link` lead to `target`, its sibling, at once."""
    if link.is_symlink() and str(link.readlink()) == target.name:
        return
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target.name)
    fresh.replace(link)


def _write(path: Path, data: bytes) -> None:
    if not path.exists() or path.read_bytes() != data:
        write_atomically(path, data)


def _place(blob: Descriptor, store: Store, target: Path) -> bool:
    """Bring one blob into the bundle. False when it was there."""
    algorithm, _, hexadecimal = blob.digest.partition(":")
    place = target / "blobs" / algorithm / hexadecimal
    if place.exists() and place.stat().st_size == blob.size:
        return False
    place.unlink(missing_ok=True)
    source = store.path(blob.digest)
    try:
        place.hardlink_to(source)
    except OSError:
        # Another file system, or one without links.
        fresh = place.with_name(f".{hexadecimal}")
        _copy(source, fresh)
        sync(fresh)
        fresh.replace(place)
    return True


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as written:
        try:
            fcntl.ioctl(written, _FICLONE, read.fileno())
        except OSError:
            shutil.copyfileobj(read, written, 1 << 20)
