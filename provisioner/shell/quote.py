"""Quoting of values for POSIX sh. Every value that is not a literal of ours passes through here."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

_SET = re.compile(r"\[(!?)([^\]/]+)\]")
_SAFE_IN_SET = re.compile(r"[A-Za-z0-9._-]")


def quote(value: str | int) -> str:
    """`value` as one word of sh."""
    return shlex.quote(str(value))


def words(values: Iterable[str | int]) -> str:
    """Several values as words of sh, separated by blanks."""
    return " ".join(quote(value) for value in values)


def glob_word(pattern: str) -> str:
    """A path pattern as a word of sh in which only `*`, `?`, `[…]` and `[!…]` keep their meaning."""
    word, literal, at = "", "", 0
    while at < len(pattern):
        found = _SET.match(pattern, at)
        if not found and pattern[at] not in "*?":
            literal += pattern[at]
            at += 1
            continue
        word += (quote(literal) if literal else "") + (_set(found) if found else pattern[at])
        literal, at = "", found.end() if found else at + 1
    return word + (quote(literal) if literal else "")


def _set(found: re.Match[str]) -> str:
    inside = "".join(char if _SAFE_IN_SET.match(char) else quote(char) for char in found[2])
    return f"[{found[1]}{inside}]"
