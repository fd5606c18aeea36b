"""Brings blobs of images into the store: each read once, as a stream, and held against every digest that is said of
it before it has a name there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from provisioner.bundle import oci
from provisioner.bundle.archive import LEVEL, GzipSink
from provisioner.bundle.ingest.limits import Limits, refusal
from provisioner.bundle.ingest.plain import Readable, compression_of, plain_chunks
from provisioner.bundle.ingest.tree import Bytes, Tree
from provisioner.bundle.oci import Descriptor
from provisioner.bundle.store import Finished, Store
from provisioner.engine.events import Emit, Progress

_HEAD = 6
# As compressed layers are kept. What is compressed otherwise is compressed anew.
_KEPT = {"gzip": oci.LAYER, "zstd": oci.LAYER_ZSTD}


@dataclass(frozen=True)
class Intake:
    """Where the parts of one file go; `subject` is its name for those who watch."""

    store: Store
    emit: Emit
    limits: Limits
    subject: str


@dataclass(frozen=True)
class Wanted:
    """What an image says of a layer: the file `name` in its archive, the digest `diff_id` of its uncompressed bytes,
    and in an OCI layout the `blob` itself."""

    name: str
    diff_id: str
    blob: Descriptor | None = None


def take_layer(wanted: Wanted, tree: Tree, intake: Intake) -> Descriptor:
    """The layer as it lies in the store: its own bytes where it is compressed by gzip or zstd, else compressed by
    ISA-L. One that is there is not read again. Raises ProvisionError, naming the file, when a digest is not as said."""
    store, form = intake.store, compression_of(tree.open(wanted.name).read(_HEAD))
    said = wanted.blob.digest if wanted.blob else ""
    key = oci.digest_of(oci.encode(["layer", wanted.diff_id, said if form in _KEPT else LEVEL]))[7:]
    known = store.finished(key) if said or form not in _KEPT else None
    if known:
        return known.entry
    with store.workspace() as workspace:
        target = workspace / "layer"
        reader = _Reader(tree, wanted, intake)
        with target.open("wb") as file:
            plain = _kept(reader, form, file) if form in _KEPT else _compressed(reader, form, file)
        reader.check()
        if plain != wanted.diff_id:
            reason = f"its content has {plain}, where the image's config says {wanted.diff_id}"
            raise refusal(wanted.name, reason)
        stated = wanted.blob.media_type if wanted.blob and form in _KEPT else ""
        blob = store.add_file(target, stated or _KEPT.get(form, oci.LAYER))
    store.finish(key, Finished(blob, (blob,)))
    return blob


class _Reader:
    """Reads a layer, and hashes it on the way."""

    def __init__(self, tree: Tree, wanted: Wanted, intake: Intake) -> None:
        self.wanted, self.intake = wanted, intake
        self._source: Bytes = tree.open(wanted.name)
        self._size, self._done, self._hash = tree.size(wanted.name), 0, hashlib.sha256()
        self.copy: BinaryIO | None = None

    def read(self, size: int, /) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        if self.copy is not None:
            self.copy.write(data)
        self._done += len(data)
        self.intake.emit(
            Progress(
                task="ingest", subject=self.intake.subject, done=self._done, total=self._size, unit="bytes"
            )
        )
        return data

    def plain(self, form: str) -> Iterator[bytes]:
        return plain_chunks(self, form, self.wanted.name, self.intake.limits.content)

    def check(self) -> None:
        """Against what the manifest says of the blob."""
        blob = self.wanted.blob
        if blob and (self._done, f"sha256:{self._hash.hexdigest()}") != (blob.size, blob.digest):
            reason = f"has sha256:{self._hash.hexdigest()} and {self._done} bytes, where the manifest says "
            raise refusal(self.wanted.name, f"{reason}{blob.digest} and {blob.size}")


def _kept(reader: _Reader, form: str, file: BinaryIO) -> str:
    reader.copy = file
    plain = hashlib.sha256()
    for chunk in reader.plain(form):
        plain.update(chunk)
    return f"sha256:{plain.hexdigest()}"


def _compressed(reader: _Reader, form: str, file: BinaryIO) -> str:
    sink = GzipSink(file)
    for chunk in reader.plain(form):
        sink.write(chunk)
    return sink.finish()


def spooled(source: Readable, form: str, target: Path, intake: Intake) -> None:
    """Decompress a whole archive beside the store, where any place of it can be read. Raises ProvisionError."""
    with target.open("wb") as file:
        for chunk in plain_chunks(source, form, "the archive", intake.limits.content):
            file.write(chunk)
            intake.emit(Progress(task="unpack", subject=intake.subject, done=file.tell(), unit="bytes"))
