"""Contents of files on the controller: digests that are computed once per file and run, and of large files once."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from provisioner.resources.remembered import remembered
from provisioner.shell.script import Blob

SMALL = 1 << 20
"""Up to this many bytes a content travels inside the script's tar; larger ones are streamed to the target's own
file system, because the tar is unpacked into memory (/run)."""


@lru_cache(maxsize=4096)
def _digest(path: str, _mtime_ns: int, _size: int) -> str:
    def find() -> str:
        with open(path, "rb") as stream:  # noqa: PTH123
            return hashlib.file_digest(stream, "sha256").hexdigest()

    return str(remembered(Path(path), "sha256", find))


def file_blob(path: Path, *, secret: bool = False) -> Blob:
    """The file at `path` as a blob. Raises OSError."""
    stat = path.stat()
    return Blob(_digest(str(path), stat.st_mtime_ns, stat.st_size), stat.st_size, path=path, secret=secret)
