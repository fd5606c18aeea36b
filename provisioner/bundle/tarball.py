"""Packs a bundle into one file: an uncompressed tar of its OCI layout, as skopeo (oci-archive:) and oras read it.

The index comes first, then the signature where there is one, then the blobs by their names; nothing in it is of the
time, the machine or the user, so that the same content is the same bytes.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import os
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from provisioner.bundle.contents import (
    BLOBS,
    INDEX,
    LAYOUT,
    SIGNATURE,
    Contents,
    Piece,
    read_contents,
    read_head,
)
from provisioner.bundle.oci import digest_of
from provisioner.bundle.parallel import Meter, in_parallel
from provisioner.bundle.references import follow
from provisioner.bundle.store import sync
from provisioner.bundle.tarread import BLOCK
from provisioner.engine.events import Emit, Note
from provisioner.errors import LockedError, ProvisionError

SUFFIX = ".tar"
_RECORD = 20 * BLOCK


@dataclass(frozen=True)
class _Place:
    """A member: its name, where it comes from, and where in the file its header begins."""

    name: str
    piece: Piece
    at: int


def is_packed(path: Path | None) -> bool:
    """Whether a bundle at `path` is one file, as its name says."""
    return path is not None and path.suffix == SUFFIX


def pack(source: Path, target: Path, emit: Emit) -> int:
    """Writes the bundle at `source` to the file `target`; returns its size in bytes.

    What is written is hashed, so that a damaged bundle is not carried away. It is written beside `target` and renamed
    at the end; what a killed one had written is read again and kept. Raises ProvisionError, LockedError.
    """
    contents = read_contents(source)
    faults = follow(contents).faults
    if source.is_file():
        faults = [*contents.faults, *faults]
    if faults:
        raise ProvisionError("\n".join(f"{source}: {fault}" for fault in faults), "build the bundle anew")
    places, size = _order(contents)
    key = digest_of(contents.pieces[INDEX].read())[7:23]
    part = target.with_name(f".{target.name}.{key}.part")
    other = _is_other(target, contents.pieces[INDEX].read())
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        if left != part:
            left.unlink()
    try:
        _write(places, size, part, emit)
        part.replace(target)
        sync(target.absolute().parent)
        if other and (signature := target.with_name(f"{target.name}.minisig")).exists():
            signature.unlink()
            emit(
                Note(message=f"{signature} was of what {target} had before, and is gone", hint="sign it anew")
            )
    except LockedError:
        raise
    except KeyboardInterrupt:
        emit(Note(message=f"what was written stays as {part}: the same command goes on with it"))
        raise
    except ProvisionError:
        _forget(part)
        raise
    except OSError as error:
        _forget(part)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = f"{size / 1e6:.0f} MB are needed there" if full else ""
        raise ProvisionError(f"{target} could not be written: {error.strerror}", hint) from error
    return size


def _forget(part: Path) -> None:
    with suppress(OSError):
        part.unlink()


def _is_other(target: Path, index: bytes) -> bool:
    """Whether there is a bundle at `target`, with another index."""
    try:
        return target.exists() and read_head(target)[INDEX].read() != index
    except (ProvisionError, OSError, ValueError, KeyError):
        return True


def _order(contents: Contents) -> tuple[list[_Place], int]:
    """The members at their places, and the size of it all."""
    wanted = {f"{BLOBS}/{digest[7:]}" for digest in follow(contents).sizes}
    head = [name for name in (LAYOUT, INDEX, SIGNATURE) if name in contents.pieces]
    places, at = [], 0
    for name in (*head, *sorted(wanted)):
        piece = contents.pieces[name]
        places.append(_Place(name, piece, at))
        at += BLOCK + -(-piece.size // BLOCK) * BLOCK
    return places, -(-(at + 2 * BLOCK) // _RECORD) * _RECORD


def _write(places: Sequence[_Place], size: int, part: Path, emit: Emit) -> None:
    with part.open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(f"another `provision` writes {part.parent}", "wait until it ends") from None
        there = lock.tell() == size
        with part.open("r+b", buffering=0) as file:
            # All space at once: a full disk is found before the work, not after it.
            os.posix_fallocate(file.fileno(), 0, size)
            file.truncate(size)
            meter = Meter("pack", sum(place.piece.size for place in places), emit)
            largest = sorted(places, key=lambda place: -place.piece.size)
            in_parallel(largest, lambda place: _place(place, file.fileno(), part, meter, there=there), meter)
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())


def _place(place: _Place, file: int, part: Path, meter: Meter, *, there: bool) -> None:
    name, piece, at = place.name, place.piece, place.at + BLOCK
    digest = f"sha256:{name.rpartition('/')[2]}" if name.startswith(BLOBS) else ""
    os.pwrite(file, _header(name, piece.size), place.at)
    if there and Piece(part, at, piece.size, part).digest() == digest:
        meter.add(piece.size)
        return
    hashed, copied = hashlib.sha256(), 0
    for chunk in piece.chunks():
        _write_all(file, chunk, at + copied)
        hashed.update(chunk)
        copied += len(chunk)
        meter.add(len(chunk))
    if copied != piece.size or digest not in ("", f"sha256:{hashed.hexdigest()}"):
        raise ProvisionError(f"{piece.path} is damaged: its bytes are not those of its name", _VERIFY)


_VERIFY = "`provision bundle verify` names all that is damaged; delete it, and build the bundle again"


def _write_all(file: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(file, view, at)
        view, at = view[count:], at + count


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)
