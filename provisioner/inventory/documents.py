"""YAML files as plain data in which every key and value knows its line and column."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provisioner.errors import InputError, Problem
from provisioner.inventory.compose import Place, compose

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_INI_SECTION = re.compile(r"\s*\[[\w.-]+(:\w+)?\]\s*$", re.MULTILINE)
MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Document:
    """One file's plain data (dicts, lists, scalars, Secret). `file` is the name to show in messages."""

    file: str
    data: Any
    places: Place = field(default_factory=lambda: Place(1, 1), repr=False, compare=False)
    digest: str = ""
    """SHA-256, in hex, of the file's bytes."""

    def at(self, path: Sequence[str | int], *, key: bool = False) -> tuple[int, int]:
        """Line and column (from 1) of the value at `path` or of its key; of the nearest known ancestor."""
        place, found = self.places, (self.places.line, self.places.column)
        for step in path:
            child = place.children.get(step)
            if child is None:
                return found
            found = place.keys.get(step, (child.line, child.column)) if key else (child.line, child.column)
            place = child
        return found

    def written(self, path: Sequence[str | int]) -> str:
        """How the number or the boolean at `path` is spelt; "" when there is none of them."""
        place: Place | None = self.places
        for step in path:
            place = place.children.get(step) if place else None
        return place.written if place else ""

    def problem(
        self, path: Sequence[str | int], reason: str, hint: str = "", *, key: bool = False
    ) -> Problem:
        """A problem at the place of `path`."""
        return Problem(self.file, *self.at(path, key=key), reason, hint)


def read_document(path: Path, *, may_be_empty: bool = False) -> Document:
    """The YAML file at `path`.

    Raises InputError: unreadable, not UTF-8, empty (unless `may_be_empty`: then an empty mapping), tabs,
    duplicate keys, unknown tags, aliases that explode.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError([Problem(str(path), 0, 0, "there is no such file")]) from None
    except OSError as error:
        raise InputError([Problem(str(path), 0, 0, f"cannot be read: {error.strerror}")]) from None
    return parse_document(data, str(path), may_be_empty=may_be_empty)


def parse_document(text: bytes | str, file: str, *, may_be_empty: bool = False) -> Document:
    """YAML text; `file` is its name in messages and the base of secret files. Raises as `read_document`."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    decoded = _decoded(data, file)
    _refuse_foreign(decoded, file)
    value, places = compose(decoded, file)
    if value is None and not places.children:
        if not may_be_empty:
            raise InputError([Problem(file, 1, 1, "the file is empty")])
        value = {}
    return Document(file, value, places, hashlib.sha256(data).hexdigest())


def _decoded(data: bytes, file: str) -> str:
    if len(data) > MAX_BYTES:
        raise InputError([Problem(file, 0, 0, f"the file is larger than {MAX_BYTES >> 20} MiB")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        good = data[: error.start].decode("utf-8", "replace")
        reason = f"the file is not UTF-8: byte 0x{data[error.start]:02x}"
        raise InputError([Problem(file, *_position(good), reason, "save it as UTF-8")]) from None
    bad = _UNPRINTABLE.search(text)
    if bad:
        reason = f"the control character U+{ord(bad.group()):04X} is not allowed in YAML"
        raise InputError([Problem(file, *_position(text[: bad.start()]), reason, "delete it")])
    return text


def _refuse_foreign(text: str, file: str) -> None:
    if text.startswith("$ANSIBLE_VAULT"):
        hint = "keep the secret elsewhere and name it: !secret {command: …}, {file: …} or {env: …}"
        raise InputError([Problem(file, 1, 1, "the file is encrypted by ansible-vault", hint)])
    first = next(
        (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), ""
    )
    # A YAML file may begin with a flow list in brackets; an INI file has something other than YAML after it.
    if _INI_SECTION.fullmatch(first) and len(text.splitlines()) > 1:
        hint = "convert it: ansible-inventory -i FILE --list --yaml"
        raise InputError([Problem(file, 1, 1, "this is an INI inventory; only YAML is read", hint)])


def _position(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what follows `before`."""
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
