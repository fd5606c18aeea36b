"""Opens a bundle, be it a directory or one file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from provisioner.bundle.contents import INDEX, read_contents, read_head
from provisioner.bundle.layout import Bundle
from provisioner.bundle.unpack import unpack, unpacked_path
from provisioner.engine.events import Emit, silent
from provisioner.errors import ProvisionError


def open_bundle(path: Path, emit: Emit = silent) -> Bundle:
    """The bundle at `path`, whose blobs lie as files: a FILE's are unpacked into the user's cache, once.

    Raises ProvisionError when there is none, or it is not to be trusted.
    """
    if not path.is_file():
        return Bundle.open(path)
    index = _index(path)
    there = unpacked_path(index)
    if not (there / INDEX).exists() or (there / INDEX).read_bytes() != index:
        unpack(path, index, emit)
    return replace(Bundle.open(there), path=path)


def read_bundle(path: Path) -> Bundle:
    """What the bundle at `path` has, by its index and manifests alone: the blobs of a FILE lie nowhere."""
    contents = read_contents(path)
    if path.is_file():
        contents.refuse()
    return Bundle.read(contents)


def _index(path: Path) -> bytes:
    try:
        return read_head(path)[INDEX].read()
    except (OSError, ValueError) as error:
        raise ProvisionError(f"{path}: {INDEX}: {error}") from error
