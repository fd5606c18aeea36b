"""Reads the headers of a tar of which nothing is trusted: what each member is and where its bytes lie.

Not tarfile: that one takes extended headers of any size into memory and goes on after a damaged header. The format is
that of POSIX.1-1988 (ustar), with GNU's binary sizes above 8 GiB; extended headers (pax) are passed over where they
change neither name nor size.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK = 512
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"S": "a sparse file",
    b"L": "a name of more than 100 bytes",
    b"K": "a link to a name of more than 100 bytes",
}
_PAX_LIMIT = 64 << 10
# Programs end an archive with two blocks of zeros and fill up a record, of 10 KiB as a rule.
_TAIL_LIMIT = 1 << 20
_CHECKSUM = slice(148, 156)


@dataclass(frozen=True)
class Member:
    """`offset` and `size` in bytes. `refused` says why it is not to be taken, "" of an ordinary file."""

    name: str
    offset: int
    size: int
    is_directory: bool = False
    refused: str = ""


class BrokenTarError(ValueError):
    """From here on the tar cannot be read. `member` is the last one, "" before the first."""

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(reason)
        self.member = member


def members(file: BinaryIO) -> Iterator[Member]:
    """The members, in their order; reads headers alone. Raises BrokenTarError, also when the end is missing."""
    total = file.seek(0, os.SEEK_END)
    at, name = 0, ""
    while True:
        block = _at(file, at, BLOCK)
        if block == bytes(BLOCK):
            return _end(file, at, total, name)
        if len(block) < BLOCK:
            raise BrokenTarError(name, "the file ends after it: it was cut off")
        member = _member(block, at + BLOCK, name)
        name = member.name
        after = member.offset + member.size
        if after > total:
            there = max(0, total - member.offset)
            raise BrokenTarError(name, f"{there} of its {member.size} bytes are there: it was cut off")
        at = -(-after // BLOCK) * BLOCK
        if any(_at(file, after, at - after)):
            raise BrokenTarError(name, "the bytes after it, which fill up its last block, are not zero")
        if block[156:157] in (b"x", b"g"):
            _check_pax(file, member)
        else:
            yield member


def _end(file: BinaryIO, at: int, total: int, name: str) -> None:
    if total - at > _TAIL_LIMIT:
        raise BrokenTarError(name, f"{total - at} bytes follow the end of the tar")
    rest = _at(file, at, total - at)
    if len(rest) < 2 * BLOCK:
        raise BrokenTarError(name, "the file ends within the end of the tar: it was cut off")
    if any(rest):
        raise BrokenTarError(name, "there are bytes after the end of the tar")


def _at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def _member(block: bytes, offset: int, before: str) -> Member:
    told = block[_CHECKSUM]
    blank = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    if not re.fullmatch(rb"[0-7]{6}\0 ", told) or int(told[:6], 8) != sum(blank):
        raise BrokenTarError(before, "what follows it is no header of a tar member: its checksum is wrong")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        name = f"{_text(block[345:500])}/{name}"
    kind = block[156:157]
    size = _size(block[124:136], name)
    if kind in (b"0", b"\0", b"x", b"g"):
        return Member(name, offset, size)
    if kind == b"5":
        return Member(name, offset, 0, is_directory=True)
    # Links and devices have no content whatever their size says.
    length = 0 if kind in b"12346" else size
    return Member(name, offset, length, refused=f"is {_KINDS.get(kind, 'of a kind that no bundle has')}")


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode(errors="backslashreplace")


def _size(field: bytes, name: str) -> int:
    if field[0] == 0x80:
        return int.from_bytes(field[1:])
    digits = field.rstrip(b"\0 ").lstrip(b" ")
    if not re.fullmatch(rb"[0-7]*", digits):
        raise BrokenTarError(name, "its size is no number")
    return int(digits or b"0", 8)


def _check_pax(file: BinaryIO, member: Member) -> None:
    """Times and owners may be in it. Raises BrokenTarError for what would change the next member."""
    if member.size > _PAX_LIMIT:
        raise BrokenTarError(member.name, f"an extended header of {member.size} bytes")
    records = _at(file, member.offset, member.size)
    while records:
        length, _, _ = records.partition(b" ")
        count = int(length) if re.fullmatch(rb"[0-9]{1,5}", length) else 0
        record = records[len(length) + 1 : count]
        key, equals, _ = record.partition(b"=")
        if not equals or not record.endswith(b"\n") or count > len(records):
            raise BrokenTarError(member.name, "an extended header that cannot be read")
        if key in (b"path", b"linkpath", b"size") or key.startswith(b"GNU.sparse"):
            raise BrokenTarError(
                member.name, f"an extended header with another {_text(key)} for what follows"
            )
        records = records[count:]
