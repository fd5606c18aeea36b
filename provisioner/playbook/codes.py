"""Compiled templates and expressions, kept from run to run: compiling them is half of a compile's time.

One file holds them all, each under the digest of what it was made from; like Python's own __pycache__ it is only as
trustworthy as its folder, which is the user's.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import marshal
import os
from collections.abc import Callable
from pathlib import Path
from types import CodeType

_MOST = 4000
"""Codes in the file; beyond that it starts afresh with those of this run."""


class Codes:
    """Codes by the text they were made from. `flavour` names whatever else decides what a text compiles to."""

    def __init__(self, path: Path, flavour: str) -> None:
        """`path` need not exist; a file that cannot be read, or of another Python or flavour, is empty."""
        self._path = path
        self._flavour = hashlib.sha256(flavour.encode() + importlib.util.MAGIC_NUMBER).digest()
        self._codes: dict[bytes, CodeType] = {}
        self._used: dict[bytes, CodeType] = {}
        with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
            content = path.read_bytes()
            if content[:32] == self._flavour:
                self._codes = marshal.loads(content[32:])  # noqa: S302 - see the file's docstring

    def code(self, kind: str, text: str, make: Callable[[], CodeType]) -> CodeType:
        """What `make` gives for `text`, made once. Raises what `make` does."""
        key = hashlib.sha256(f"{kind}\0{text}".encode(errors="surrogatepass")).digest()
        code = self._codes.get(key)
        if not isinstance(code, CodeType):
            code = make()
        self._used[key] = code
        return code

    def save(self) -> None:
        """Keeps what is new. A memory that cannot be kept costs time only."""
        if self._used.keys() <= self._codes.keys():
            return
        kept = {**self._codes, **self._used} if len(self._codes) < _MOST else self._used
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh.write_bytes(self._flavour + marshal.dumps(kept))
            fresh.replace(self._path)
        self._codes = kept
