"""Scripts for /bin/sh and what travels beside them.

A script is POSIX sh and passes shellcheck. It finds small members at "$W/<name>", $W being the run's private folder
on the host, and reads large blobs, in order, from file descriptor 3 (see `receive` in the prelude).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Blob:
    """Bytes that travel beside a script: either `data`, or the contents of a controller's file (`path`).

    `sha256` is hex, of the bytes as they arrive; `size` is in bytes. `secret` blobs show in no log.
    """

    sha256: str
    size: int
    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    secret: bool = False

    @staticmethod
    def of(data: bytes, *, secret: bool = False) -> Blob:
        return Blob(hashlib.sha256(data).hexdigest(), len(data), data=data, secret=secret)


@dataclass(frozen=True)
class Script:
    """`main` runs under /bin/sh; `payload` are small members by name; `streams` are large blobs in reading order."""

    main: str
    payload: Mapping[str, Blob] = field(default_factory=dict)
    streams: tuple[Blob, ...] = ()
