"""Tar archives whose bytes depend on their content only, compressed by ISA-L.

The compressed bytes may differ between processor generations and versions of ISA-L (it picks its match finder
by instruction set); the uncompressed digest never does.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# 2 of 0..3: level 3 of ISA-L is several times slower for about 1 % of size.
LEVEL = 2
_GZIP = 31


@dataclass(frozen=True)
class Entry:
    """One member of an archive: content as bytes or as a file, or a symbolic link, or (none of them) a
    directory. `owner` is a numeric user.
    """

    path: str
    data: bytes | None = None
    file: Path | None = None
    link: str = ""
    mode: int = 0o755
    owner: int = 0


class GzipSink:
    """Compresses what is written to it and hashes it before compression."""

    def __init__(self, target: BinaryIO) -> None:
        from isal import isal_zlib

        self._target = target
        self._plain = hashlib.sha256()
        # Compression objects write a header without time, name or operating system: nothing varies.
        self._compressor = isal_zlib.compressobj(LEVEL, wbits=_GZIP)

    def write(self, data: bytes) -> int:
        self._plain.update(data)
        self._target.write(self._compressor.compress(data))
        return len(data)

    def finish(self) -> str:
        self._target.write(self._compressor.flush())
        return "sha256:" + self._plain.hexdigest()


def _parents(paths: Iterable[str]) -> set[str]:
    return {
        str(parent)
        for path in paths
        for parent in Path(path.lstrip("/")).parents
        if str(parent) not in (".", "")
    }


def _member(entry: Entry) -> tarfile.TarInfo:
    info = tarfile.TarInfo(entry.path.lstrip("/"))
    info.mode, info.uid = entry.mode, entry.owner
    if entry.link:
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, entry.link, 0o777
    elif entry.data is not None:
        info.size = len(entry.data)
    elif entry.file is not None:
        info.size = entry.file.stat().st_size
    else:
        info.type = tarfile.DIRTYPE
    return info


def _add(archive: tarfile.TarFile, entry: Entry) -> None:
    info = _member(entry)
    if entry.file is not None:
        with entry.file.open("rb") as file:
            archive.addfile(info, file)
    else:
        archive.addfile(info, io.BytesIO(entry.data or b""))


def write_archive(entries: Iterable[Entry], target: Path) -> str:
    """Write a gzip-compressed tar: sorted, without times. Of two entries for one path the later one counts.

    Returns the uncompressed bytes' digest.

    Missing parent directories are added with mode 0755.
    """
    members = {entry.path.strip("/"): entry for entry in entries}
    for parent in _parents(members):
        members.setdefault(parent, Entry(parent))
    with target.open("wb") as file:
        sink = GzipSink(file)
        with tarfile.open(fileobj=sink, mode="w|", format=tarfile.GNU_FORMAT, bufsize=1 << 20) as archive:  # type: ignore[call-overload]
            for _, entry in sorted(members.items()):
                _add(archive, entry)
        return sink.finish()
