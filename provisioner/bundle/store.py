"""The build cache: blobs named by their content, and a record per finished component."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provisioner.bundle.oci import Descriptor, digest_of, encode
from provisioner.errors import LockedError

CHUNK = 1 << 20


def hash_file(path: Path) -> tuple[str, int]:
    """Digest (`sha256:…`) and size in bytes of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return f"sha256:{digest}", file.tell()


def sync(path: Path) -> None:
    """Bring a file or a directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` at once: a reader sees the old or the new content, also after a loss of power."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync(path.parent)


@dataclass(frozen=True)
class Finished:
    """A component that is complete in the store: its entry of the index and every blob below it, the
    manifest first.
    """

    entry: Descriptor
    blobs: tuple[Descriptor, ...]


@dataclass(frozen=True)
class Store:
    root: Path

    def path(self, digest: str) -> Path:
        algorithm, _, hexadecimal = digest.partition(":")
        return self.root / "blobs" / algorithm / hexadecimal

    def has(self, blob: Descriptor) -> bool:
        try:
            return self.path(blob.digest).stat().st_size == blob.size
        except FileNotFoundError:
            return False

    def add_bytes(self, data: bytes, media_type: str) -> Descriptor:
        blob = Descriptor(media_type, digest_of(data), len(data))
        if not self.has(blob):
            write_atomically(self.path(blob.digest), data)
        return blob

    def add_file(self, path: Path, media_type: str) -> Descriptor:
        """Take over the file at `path`, which must be on the store's file system (see `workspace`)."""
        digest, size = hash_file(path)
        blob = Descriptor(media_type, digest, size)
        if self.has(blob):
            path.unlink()
            return blob
        target = self.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.chmod(0o444)
        sync(path)
        path.replace(target)
        return blob

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A directory for one piece of work, gone afterwards."""
        parent = self.root / "work"
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent) as name:
            yield Path(name)

    def finished(self, key: str) -> Finished | None:
        """The component with this recipe, or None if it was never finished or a blob of it is gone."""
        try:
            document = json.loads((self.root / "components" / f"{key}.json").read_bytes())
            blobs = tuple(Descriptor.parse(blob) for blob in document["blobs"])
            result = Finished(Descriptor.parse(document["entry"]), blobs)
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return None
        return result if all(self.has(blob) for blob in result.blobs) else None

    def finish(self, key: str, result: Finished) -> None:
        document = {"entry": result.entry.document(), "blobs": [blob.document() for blob in result.blobs]}
        write_atomically(self.root / "components" / f"{key}.json", encode(document))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One build at a time.

        Raises LockedError when another one runs; the kernel frees the lock of a dead one.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(
                    f"another `provision bundle build` uses {self.root}", "wait until it ends"
                ) from None
            # What a killed build left behind; nobody else can be at work here.
            shutil.rmtree(self.root / "work", ignore_errors=True)
            yield
