"""Proves a bundle, a directory or one file that is not unpacked: all that the index asks for is there and nothing else,
and each blob has the digest that is its name."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from provisioner.bundle.contents import BLOBS, INDEX, Piece, read_contents
from provisioner.bundle.oci import digest_of
from provisioner.bundle.parallel import Meter, in_parallel
from provisioner.bundle.references import References, follow
from provisioner.engine.events import Emit, Note
from provisioner.errors import ProvisionError

_HINT = "carry the bundle here once more; in a folder, delete what is named here and run `provision bundle build` again"


@dataclass(frozen=True)
class Proved:
    """`size` in bytes was hashed in `seconds`; `digest` is that of index.json."""

    size: int
    seconds: float
    digest: str


def verify(path: Path, emit: Emit) -> Proved:
    """Hashes everything. Raises ProvisionError, which names all that is damaged, cut off, missing or too much."""
    began = time.monotonic()
    contents = read_contents(path)
    references = follow(contents)
    faults = [*contents.faults, *references.faults]
    faults += [f"{name}: nothing asks for it" for name in references.unreferenced()]
    if not references.faults and not references.is_sealed:
        told = f"{path}: {INDEX}: written by an older release, without a digest of itself: no change of it is seen"
        emit(Note(message=told, level="warning", hint="`provision bundle build` gives it one"))
    blobs = {name: piece for name, piece in contents.pieces.items() if name.startswith(BLOBS)}
    wrong, size = _hash(blobs, references, emit)
    if faults or wrong:
        raise ProvisionError("\n".join(f"{path}: {fault}" for fault in (*faults, *sorted(wrong))), _HINT)
    return Proved(size, time.monotonic() - began, digest_of(contents.pieces[INDEX].read()))


def _hash(blobs: dict[str, Piece], references: References, emit: Emit) -> tuple[list[str], int]:
    told = {fault.partition(": ")[0] for fault in references.faults}
    size = sum(piece.size for piece in blobs.values())
    meter = Meter("verify", size, emit)
    wrong: list[str] = []

    def check(name: str) -> None:
        digest = blobs[name].digest(meter.add)
        wanted = f"sha256:{name.rpartition('/')[2]}"
        if digest != wanted and wanted not in told:
            wrong.append(f"{name}: its bytes are those of {digest}{references.asked_by(wanted)}")

    try:
        in_parallel(sorted(blobs, key=lambda name: -blobs[name].size), check, meter)
    except OSError as error:
        raise ProvisionError(f"{error.filename}: cannot be read: {error.strerror}") from error
    return wrong, size
