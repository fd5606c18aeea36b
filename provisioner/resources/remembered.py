"""What was found out about large files of the controller, kept from run to run: reading 20 MB again costs 0.1 s.

As on the hosts, the file's stat speaks for its content: any write or replacement changes size, inode, mtime or ctime.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LARGE = 1 << 20
"""Bytes from which remembering pays."""
_SETTLED = 2.0
"""Seconds: a file that was written this recently may be written again without its stat changing."""


def remembered(path: Path, what: str, find: Callable[[], Any]) -> Any:
    """`find()`, a value that JSON can hold, or what it was when the file at `path` was the same.

    Raises what `find` does. `what` names the question, and its version.
    """
    stat = path.stat()
    if stat.st_size < LARGE:
        return find()
    state = [stat.st_size, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns]
    place = _folder() / hashlib.sha256(f"{what}\0{path.absolute()}".encode()).hexdigest()[:32]
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(place.read_text(encoding="utf-8"))
        if known["stat"] == state:
            return known["value"]
    value = find()
    if time.time() - max(stat.st_mtime, stat.st_ctime) > _SETTLED:
        with contextlib.suppress(OSError):  # a memory that cannot be kept costs time only
            _write(place, json.dumps({"path": str(path.absolute()), "stat": state, "value": value}))
    return value


def _folder() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("provision") / "files"


def _write(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = place.with_name(f"{place.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(place)
