"""The files of an archive or of a folder, under names that cannot lead out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from provisioner.bundle.ingest.limits import Limits, refusal
from provisioner.bundle.ingest.tartable import Member, inside, read_table

_LINKS = 40
"""As many links one after the other as Linux follows."""


class Section:
    """A stretch of an open file, from front to back."""

    def __init__(self, file: BinaryIO, offset: int, size: int) -> None:
        self._file, self._offset, self._left = file, offset, size

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; b"" at the end."""
        data = os.pread(self._file.fileno(), min(size, self._left), self._offset)
        self._offset += len(data)
        self._left -= len(data)
        return data


class _FileSection:
    """The bytes of a file, which is open only while it is read: a layout may have more blobs than a process may have
    open files."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; b"" at the end."""
        with self._path.open("rb") as file:
            data = os.pread(file.fileno(), size, self._offset)
        self._offset += len(data)
        return data


class Bytes(Protocol):
    """What is read from front to back."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; b"" at the end."""


class Tree(Protocol):
    """Files by their names, as in "blobs/sha256/…"."""

    def names(self) -> Collection[str]:
        """Those of files, and of links to them."""

    def size(self, name: str) -> int:
        """In bytes. Raises ProvisionError when there is no such file."""

    def open(self, name: str) -> Bytes:
        """Raises ProvisionError when there is no such file."""


class TarTree:
    """The members of a plain tar archive. Raises ProvisionError as read_table does."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        self._table: Mapping[str, Member] = read_table(file, limits)

    def names(self) -> Collection[str]:
        return [name for name, member in self._table.items() if member.kind != "folder"]

    def size(self, name: str) -> int:
        return self._find(name).size

    def open(self, name: str) -> Section:
        member = self._find(name)
        return Section(self._file, member.offset, member.size)

    def _find(self, name: str) -> Member:
        looked = inside(name, name)
        for _ in range(_LINKS):
            member = self._table.get(looked)
            if member is None:
                said = "is not in the archive" if looked == name else f"leads to {looked}, which is missing"
                raise refusal(name, said)
            if member.kind == "file":
                return member
            if member.kind == "folder":
                raise refusal(name, "is no file")
            looked = member.target
        raise refusal(name, "is a link that leads to itself")


def unreadable(error: OSError) -> None:
    """For os.walk, which else passes over what it cannot read. Raises ProvisionError."""
    raise refusal(str(error.filename), f"cannot be read: {error.strerror}") from error


class FolderTree:
    """The files below a folder. Links may lead to other places below it, and nowhere else."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def names(self) -> Collection[str]:
        found = []
        for folder, _, files in os.walk(self._root, onerror=unreadable):
            found += [str((Path(folder) / file).relative_to(self._root)) for file in files]
        return sorted(found)

    def size(self, name: str) -> int:
        return self._find(name).stat().st_size

    def open(self, name: str) -> _FileSection:
        return _FileSection(self._find(name))

    def _find(self, name: str) -> Path:
        try:
            path = (self._root / inside(name, name)).resolve()
            if not path.is_relative_to(self._root):
                raise refusal(name, f"is a link out of the folder, to {path}")
            if not stat.S_ISREG(path.stat().st_mode):
                raise refusal(name, "is no file")
        except (OSError, RuntimeError, ValueError) as error:
            raise refusal(name, f"cannot be read: {getattr(error, 'strerror', '') or error}") from error
        return path
