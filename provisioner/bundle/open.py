"""Opens a bundle, be it a directory or one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.bundle.contents import INDEX, read_contents, read_head
from provisioner.bundle.layout import Bundle
from provisioner.bundle.oci import digest_of
from provisioner.bundle.unpack import unpack, unpacked_path
from provisioner.engine.events import Emit, silent
from provisioner.errors import ProvisionError

if TYPE_CHECKING:
    from provisioner.bundle.minisign import PublicKey


def open_bundle(path: Path, emit: Emit = silent, key: PublicKey | None = None) -> Bundle:
    """The bundle at `path`, whose blobs lie as files: a FILE's are unpacked into the user's cache, once.

    With `key` it has to be signed: that is checked first, and then that a directory is what was signed, blob by blob; a
    FILE's blobs are compared while they are unpacked, and again where that was done before. Raises ProvisionError when
    there is none, or it is not to be trusted.
    """
    if not path.is_file():
        return _open_directory(path, emit, key)
    index = _signed(path, key) if key else _index(path)
    there = _there(index)
    if there is not None and key is not None:
        _check_unpacked(there.path, emit)
    if there is None:
        there = Bundle.open(unpack(path, index, emit))
    return replace(there, path=path)


def read_bundle(path: Path) -> Bundle:
    """What the bundle at `path` has, by its index and manifests alone: the blobs of a FILE lie nowhere."""
    contents = read_contents(path)
    if path.is_file():
        contents.refuse()
    return Bundle.read(contents)


def _there(index: bytes) -> Bundle | None:
    """The bundle with this index, where it was built or unpacked before and nothing of it is gone."""
    try:
        found = Bundle.open(unpacked_path(index))
    except ProvisionError:
        return None
    return found if found.digest == digest_of(index) else None


def _open_directory(path: Path, emit: Emit, key: PublicKey | None) -> Bundle:
    if key is None:
        return Bundle.open(path)
    from provisioner.bundle.verify import verify

    index = _signed(path, key)
    verify(path, emit)
    opened = Bundle.open(path)
    if opened.digest != digest_of(index):
        raise ProvisionError(f"{path}: {INDEX} was changed while it was read")
    return opened


def _check_unpacked(path: Path, emit: Emit) -> None:
    """What was unpacked before may have been changed since. Raises ProvisionError."""
    from provisioner.bundle.verify import verify

    try:
        verify(path, emit)
    except ProvisionError as fault:
        raise ProvisionError(fault.reason, f"delete {path}: it is unpacked anew then") from None


def _signed(path: Path, key: PublicKey) -> bytes:
    from provisioner.bundle.signed import check_signature

    return check_signature(path, key)[0]


def _index(path: Path) -> bytes:
    try:
        return read_head(path)[INDEX].read()
    except (OSError, ValueError) as error:
        raise ProvisionError(f"{path}: {INDEX}: {error}") from error
