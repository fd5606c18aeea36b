"""Unpacks a bundle that is one file into the user's cache. Of the file nothing is believed that was not proved."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from provisioner.bundle.contents import AGAIN, BLOBS, INDEX, LAYOUT, SIGNATURE, Contents, read_contents
from provisioner.bundle.layout import bundles_directory
from provisioner.bundle.oci import digest_of
from provisioner.bundle.parallel import Meter, in_parallel
from provisioner.bundle.references import follow
from provisioner.bundle.store import sync, write_atomically
from provisioner.engine.events import Emit, Note
from provisioner.errors import ProvisionError


def unpacked_path(index: bytes) -> Path:
    """Where the bundle with this index.json lies when it was built or unpacked: named by the index's digest."""
    return bundles_directory() / digest_of(index)[7:23]


def unpack(path: Path, index: bytes, emit: Emit) -> Path:
    """Makes the directory of the FILE at `path`, whose index.json was read as `index`; returns it.

    Every member is checked before the first is written. Blobs that are there are not written again, each other one is
    hashed on its way and gets its name when it is whole, index.json comes last. Raises ProvisionError, which names
    every member that is refused.
    """
    contents = read_contents(path)
    target = unpacked_path(index)
    try:
        _check(contents, index)
        with _alone(target, emit):
            _write_blobs(contents, target, emit)
            for name in (LAYOUT, SIGNATURE, INDEX):
                if name in contents.pieces:
                    write_atomically(target / name, contents.pieces[name].read())
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        size = sum(piece.size for piece in contents.pieces.values()) / 1e6
        hint = f"{size:.0f} MB are needed there, or where XDG_CACHE_HOME points to" if full else ""
        raise ProvisionError(f"{path} could not be unpacked to {target}: {error.strerror}", hint) from error
    return target


def _check(contents: Contents, index: bytes) -> None:
    contents.refuse()
    references = follow(contents)
    faults = references.faults + [f"{name}: nothing asks for it" for name in references.unreferenced()]
    if not faults and contents.pieces[INDEX].read() != index:
        faults.append(f"{INDEX}: was changed while it was read")
    _refuse(contents.path, faults)


def _refuse(path: Path, faults: Sequence[str]) -> None:
    if faults:
        raise ProvisionError("\n".join(f"{path}: {fault}" for fault in faults), AGAIN)


@contextmanager
def _alone(target: Path, emit: Emit) -> Iterator[None]:
    """One at a time unpacks to `target`; the kernel frees the lock of a dead one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            emit(Note(message=f"another `provision` unpacks to {target}: waiting for it"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write_blobs(contents: Contents, target: Path, emit: Emit) -> None:
    folder = target / BLOBS
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*"):
        left.unlink()
    wanted = [
        name for name in contents.pieces if name.startswith(BLOBS) and not _is_there(contents, name, target)
    ]
    meter = Meter("unpack", sum(contents.pieces[name].size for name in wanted), emit)
    if wanted:
        emit(Note(message=f"unpacking {contents.path}, once, to {target}: {meter.total / 1e6:.0f} MB"))
    wrong: list[str] = []
    wanted.sort(key=lambda name: -contents.pieces[name].size)
    in_parallel(wanted, lambda name: wrong.extend(_write_blob(contents, name, target, meter)), meter)
    if wanted:
        sync(folder)
    _refuse(contents.path, sorted(wrong))


def _is_there(contents: Contents, name: str, target: Path) -> bool:
    try:
        return (target / name).stat().st_size == contents.pieces[name].size
    except FileNotFoundError:
        return False


def _write_blob(contents: Contents, name: str, target: Path, meter: Meter) -> Iterator[str]:
    """Yields what is wrong with it."""
    place = target / name
    fresh = place.with_name(f".{place.name}")
    hashed = hashlib.sha256()
    try:
        with fresh.open("xb", buffering=0) as file:
            for chunk in contents.pieces[name].chunks():
                hashed.update(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
                meter.add(len(chunk))
            if hashed.hexdigest() == place.name:
                os.fchmod(file.fileno(), 0o444)
                os.fsync(file.fileno())
                fresh.replace(place)
            else:
                asked_by = follow(contents).asked_by(f"sha256:{place.name}")
                yield f"{name}: its bytes are those of sha256:{hashed.hexdigest()}{asked_by}"
    finally:
        fresh.unlink(missing_ok=True)
