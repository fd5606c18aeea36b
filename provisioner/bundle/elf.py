"""What an ELF file needs at run time: its interpreter and its shared libraries (System V ABI, chapters 4
and 5).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB = 1, 5


@dataclass(frozen=True)
class Needs:
    """`interpreter` is a path, empty for libraries and static programs; `libraries` are names as in
    `libc.so.6`.
    """

    interpreter: str
    libraries: tuple[str, ...]


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def needs(path: Path) -> Needs:
    """Read a 64-bit little-endian ELF file. Raises ValueError for anything else."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{path} is no 64-bit little-endian ELF file")
    segments = _segments(data)
    interpreter = next((_text(data, part.offset) for part in segments if part.kind == _PT_INTERP), "")
    dynamic = next((part for part in segments if part.kind == _PT_DYNAMIC), None)
    if dynamic is None:
        return Needs(interpreter, ())
    pairs = struct.iter_unpack("<qQ", data[dynamic.offset : dynamic.offset + dynamic.size // 16 * 16])
    entries = [(tag, value) for tag, value in pairs if tag in (_DT_NEEDED, _DT_STRTAB)]
    strings = _file_offset(segments, next(value for tag, value in entries if tag == _DT_STRTAB))
    return Needs(
        interpreter, tuple(_text(data, strings + value) for tag, value in entries if tag == _DT_NEEDED)
    )


def _segments(data: bytes) -> list[_Segment]:
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    found = []
    for position in range(table, table + size * count, size):
        kind, _flags, offset, address, _physical, length = struct.unpack_from("<IIQQQQ", data, position)
        found.append(_Segment(kind, offset, address, length))
    return found


def _file_offset(segments: list[_Segment], address: int) -> int:
    for part in segments:
        if part.kind == _PT_LOAD and part.address <= address < part.address + part.size:
            return part.offset + address - part.address
    raise ValueError(f"no segment has the address {address:#x}")


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode()
