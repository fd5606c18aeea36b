"""Host names as they stand in `hosts:` — one name, or a range such as `web[01:20]`, with an optional port."""

from __future__ import annotations

import ipaddress
import itertools
import re
import string
from dataclasses import dataclass

from provisioner.inventory.spelling import odd_letters, said

MAX_HOSTS = 10_000
MAX_LENGTH = 200
"""Characters in a name: it names files as well (host_vars/NAME.yaml), which may have 255 bytes."""
_RANGE = re.compile(r"\[([0-9A-Za-z]*):([0-9A-Za-z]+)(?::([0-9]+))?\]")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_PORT = re.compile(r"(.*):([0-9]+)", re.DOTALL)


class RangeError(ValueError):
    """A host name that cannot be understood; its text is the reason."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


@dataclass(frozen=True)
class HostNames:
    names: tuple[str, ...]
    port: int | None = None


def expand(written: str) -> HostNames:
    """The names and the port that a key of `hosts:` stands for. Raises RangeError.

    Both ends of a range belong to it; several ranges expand from left to right; numbers are padded when the
    first is written with leading zeros; letters run from a to z, then from A to Z.
    """
    base, port = _split_port(written)
    if is_ipv6(base):
        return HostNames((base,), port)
    names = _expand_ranges(base)
    for name in names:
        if len(name) > MAX_LENGTH:
            raise RangeError(f"'{name[:20]}…' is longer than {MAX_LENGTH} characters")
        if not _NAME.fullmatch(name):
            hint = "write a range as [1:3]" if set("[]") & set(name) else odd_letters(name)
            raise RangeError(
                f"{said(name)} is not a host name", hint or "letters, digits, '.', '-' and '_' are allowed"
            )
    return HostNames(names, port)


def is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _split_port(written: str) -> tuple[str, int | None]:
    if is_ipv6(written):
        return written, None
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::([0-9]+))?", written)
    if bracketed and is_ipv6(bracketed[1]):
        base, digits = bracketed[1], bracketed[2]
    else:
        match = _PORT.fullmatch(written)
        # A colon inside an open bracket belongs to a range.
        if match is None or match[1].count("[") > match[1].count("]"):
            return written, None
        base, digits = match[1], match[2]
    if digits is None:
        return base, None
    if len(digits) > 5 or not 1 <= int(digits) <= 65535:
        raise RangeError(f"the port {digits[:20]} is not between 1 and 65535")
    if digits.startswith("0"):
        raise RangeError(f"the port {digits} has a leading zero", f"did you mean {int(digits)}?")
    return base, int(digits)


def _expand_ranges(base: str) -> tuple[str, ...]:
    parts: list[tuple[str, ...]] = []
    total, rest = 1, 0
    for match in _RANGE.finditer(base):
        values = _values(match)
        total *= len(values)
        if total > MAX_HOSTS:
            raise RangeError(f"the range '{base}' stands for more than {MAX_HOSTS} hosts")
        parts += [(base[rest : match.start()],), values]
        rest = match.end()
    parts.append((base[rest:],))
    return tuple("".join(choice) for choice in itertools.product(*parts))


def _values(match: re.Match[str]) -> tuple[str, ...]:
    begin, end, step = match[1] or "0", match[2], int((match[3] or "1")[:9])
    if step == 0:
        raise RangeError(f"the step of the range {match[0]} is 0")
    letters = string.ascii_letters
    if begin.isdigit() and end.isdigit():
        if len(begin) > 1 and begin.startswith("0") and len(begin) != len(end):
            meant = match[0].replace(f":{end}", f":{end.zfill(len(begin))}", 1)
            hint = f"did you mean {meant}?" if len(end) < len(begin) else ""
            raise RangeError(f"the ends of the range {match[0]} must have equally many digits", hint)
        if len(begin) > 9 or len(end) > 9:
            raise RangeError(f"the range {match[0]} is too large")
        width = len(begin) if begin.startswith("0") else 0
        numbers = range(int(begin), int(end) + 1, step)
        if len(numbers) > MAX_HOSTS:
            raise RangeError(f"the range {match[0]} stands for more than {MAX_HOSTS} hosts")
        values = tuple(str(number).zfill(width) for number in numbers)
    elif len(begin) == len(end) == 1 and begin in letters and end in letters:
        values = tuple(letters[letters.index(begin) : letters.index(end) + 1 : step])
    else:
        raise RangeError(f"the range {match[0]} needs two numbers or two letters")
    if not values:
        raise RangeError(f"the range {match[0]} ends before it begins", f"did you mean [{end}:{begin}]?")
    return values
