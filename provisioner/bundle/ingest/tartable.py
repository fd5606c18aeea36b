"""The table of a tar archive (POSIX.1-2001 pax, ustar, and GNU's long names), read without trust in any header.

The standard library's reader takes a damaged header for the archive's end, and reads names of any declared length into
memory: neither may happen here.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from provisioner.bundle.ingest.limits import Limits, refusal, shown
from provisioner.errors import ProvisionError

_BLOCK = 512
_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"5": "folder", b"2": "symlink", b"1": "hardlink"}
_REFUSED = {b"3": "a character device", b"4": "a block device", b"6": "a named pipe", b"S": "a sparse file"}
_PAX_SIZE = 1 << 20
_MOST_EXTENSIONS = 16
"""Headers that say more of one member: a long name, a long link, attributes."""
_READ = ("path", "linkpath", "size")
_SPARSE = "GNU.sparse"


@dataclass(frozen=True)
class Member:
    """`kind` is file, folder, symlink or hardlink; `target` of a link is a name in the archive. A file's bytes are
    `size` from `offset`."""

    name: str
    kind: str
    offset: int = 0
    size: int = 0
    target: str = ""


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with these 512 bytes is a tar archive."""
    try:
        tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def read_table(file: BinaryIO, limits: Limits) -> dict[str, Member]:
    """All members by their names. Raises ProvisionError, naming the member, for an archive that is damaged or cut off,
    and for what no archive of images has: ways out of it, devices, a name twice."""
    reader = _Reader(file, limits)
    table: dict[str, Member] = {}
    text = 0
    while (member := reader.next()) is not None:
        before = table.get(member.name)
        if before is not None and "folder" not in (before.kind, member.kind):
            raise refusal(member.name, "is in the archive twice")
        if before is not None and before.kind != member.kind:
            raise refusal(member.name, "is in the archive both as a folder and as something else")
        table[member.name] = member
        text += len(member.name) + len(member.target)
        if len(table) > limits.members:
            raise ProvisionError(f"has more than {limits.members} members")
        if text > limits.names:
            raise ProvisionError(f"has names of more than {limits.names} bytes in all")
    return table


def inside(name: str, written: str, what: str = "leads out of the archive") -> str:
    """A name as it is looked up: without ./ and trailing slashes. Raises ProvisionError, naming the member `written`,
    when it is absolute or climbs out."""
    if name.startswith("/") or "\0" in name:
        raise refusal(written, what)
    parts: list[str] = []
    for part in PurePosixPath(name).parts:
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            raise refusal(written, what)
    return "/".join(parts)


class _Reader:
    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file, self._limits = file, limits
        self._length = file.seek(0, 2)
        self._position = 0
        self._last = "the first header"

    def next(self) -> Member | None:
        """The next member, None at the archive's end."""
        extended: dict[str, str] = {}
        for _ in range(_MOST_EXTENSIONS):
            info = self._header()
            if info is None:
                return None
            if info.type in (b"x", b"g", b"L", b"K"):
                extended |= self._extension(info)
                continue
            member = self._member(info, extended)
            self._last = f"the header after {shown(member.name)}"
            if member.kind == "file":
                self._position += -(-member.size // _BLOCK) * _BLOCK
            return member
        raise ProvisionError(
            f"{self._last} is damaged: more than {_MOST_EXTENSIONS} headers say what a member is"
        )

    def _header(self) -> tarfile.TarInfo | None:
        block = self._bytes(_BLOCK, self._last)
        if not block.strip(b"\0"):
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except (tarfile.TarError, ValueError, OverflowError) as error:
            raise ProvisionError(f"{self._last} is damaged: {error}") from error

    def _bytes(self, size: int, what: str) -> bytes:
        self._file.seek(self._position)
        data = self._file.read(size)
        if len(data) < size:
            raise ProvisionError(f"is cut off: {what} is missing, and the end that each archive has")
        self._position += size
        return data

    def _extension(self, info: tarfile.TarInfo) -> dict[str, str]:
        """What a header says of the member after it, beyond what fits into one of its own."""
        if not 0 <= info.size <= _PAX_SIZE:
            raise ProvisionError(f"{self._last} declares {info.size} bytes of attributes")
        data = self._bytes(-(-info.size // _BLOCK) * _BLOCK, self._last)[: info.size]
        if info.type in (b"L", b"K"):
            text = data.rstrip(b"\0").decode("utf-8", "surrogateescape")
            return {"path" if info.type == b"L" else "linkpath": text}
        records = self._records(data)
        return records if info.type == b"x" else {}

    def _records(self, data: bytes) -> dict[str, str]:
        """Those that are read, of lines `LENGTH KEY=VALUE`."""
        records = {}
        at = 0
        while at < len(data):
            digits, _, _ = data[at : at + 8].partition(b" ")
            end = at + (int(digits) if digits.isdigit() and len(digits) < 8 else 0)
            key, equals, value = data[at + len(digits) + 1 : max(end - 1, at)].partition(b"=")
            if end > len(data) or not equals or data[end - 1 : end] != b"\n":
                raise ProvisionError(f"{self._last} is damaged: attributes without an end")
            name = key[:40].decode("utf-8", "replace")
            if name in _READ:
                records[name] = value.decode("utf-8", "surrogateescape")
            elif name.startswith(_SPARSE):
                records[_SPARSE] = ""
            at = end
        return records

    def _member(self, info: tarfile.TarInfo, extended: Mapping[str, str]) -> Member:
        written = extended.get("path", info.name)
        if info.type in _REFUSED or _SPARSE in extended:
            raise refusal(written, f"is {_REFUSED.get(info.type, 'a sparse file')}")
        kind = _KINDS.get(info.type)
        if kind is None:
            raise refusal(written, f"is of an unknown kind ({info.type!r})")
        # An old archive marks a folder by its name alone.
        kind = "folder" if kind == "file" and written.endswith("/") else kind
        name = self._inner(written)
        if kind in ("symlink", "hardlink"):
            return Member(name, kind, target=_target(name, kind, extended.get("linkpath", info.linkname)))
        if not name and kind == "file":
            raise refusal(written, "has no name")
        return Member(
            name, kind, self._position, self._size(written, info, extended) if kind == "file" else 0
        )

    def _inner(self, written: str) -> str:
        if ".." in PurePosixPath(written).parts:
            raise refusal(written, "leads out of the archive")
        return inside(written, written)

    def _size(self, written: str, info: tarfile.TarInfo, extended: Mapping[str, str]) -> int:
        declared = extended.get("size", str(info.size))
        size = int(declared) if declared.isdecimal() and len(declared) < 20 else -1
        if not 0 <= size <= self._limits.content:
            raise refusal(written, f"declares {shown(declared)} bytes; the most is {self._limits.content}")
        if self._position + size > self._length:
            raise refusal(written, f"is cut off: {self._length - self._position} of {size} bytes are there")
        return size


def _target(name: str, kind: str, written: str) -> str:
    """Where a link leads, as a name in the archive."""
    out = f"is a link out of the archive, to {shown(written)}"
    if written.startswith("/"):
        raise refusal(name, out)
    folder = str(PurePosixPath(name).parent) if kind == "symlink" else ""
    return inside(f"{folder}/{written}" if folder else written, name, out)
