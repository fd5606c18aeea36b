"""Quoting of values for POSIX sh. Every value that is not a literal of ours passes through here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_GLOB = re.compile(r"[*?\[\]]")


def quote(value: str | int) -> str:
    """`value` as one word of sh."""
    return shlex.quote(str(value))


def words(values: Iterable[str | int]) -> str:
    """Several values as words of sh, separated by blanks."""
    return " ".join(quote(value) for value in values)


def glob_word(pattern: str) -> str:
    """A path pattern as a word of sh in which only `*`, `?` and `[…]` keep their meaning."""
    parts = re.split(r"([*?\[\]]+)", pattern)
    return "".join(part if _GLOB.match(part) else quote(part) for part in parts if part)
