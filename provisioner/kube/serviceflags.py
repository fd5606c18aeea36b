"""The flags of a service that somebody else has set up: its unit, and the EnvironmentFile that holds its options.

Read as systemd reads them (systemd.exec(5), EnvironmentFile=; systemd.service(5), COMMAND LINES).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})")
_ESCAPED_IN_QUOTES = '"\\`$'


@dataclass(frozen=True)
class Flags:
    """A command's flags in their order, each with its value; None for one without ("--leader-elect")."""

    pairs: tuple[tuple[str, str | None], ...]

    def get(self, name: str) -> str | None:
        """The value of `--name`, "true" for a flag without one; the last one counts, as it does for the command."""
        found = [("true" if value is None else value) for key, value in self.pairs if key == f"--{name}"]
        return found[-1] if found else None

    def text(self) -> str:
        """One flag a line, each but the last with a backslash behind: the value of a variable in double quotes."""
        return " \\\n".join(_escaped(_word(name, value)) for name, value in self.pairs)


def flags(words: Sequence[str]) -> Flags:
    """Raises ValueError at a word that is neither a flag nor the value of the one before it."""
    pairs: list[tuple[str, str | None]] = []
    for word in words:
        if word.startswith("-") and word.strip("-"):
            name, equals, value = word.partition("=")
            pairs.append((name, value if equals else None))
        elif pairs and pairs[-1][1] is None and not word.startswith("-"):
            pairs[-1] = (pairs[-1][0], word)
        else:
            raise ValueError(f"'{word}' is no flag")
    return Flags(tuple(pairs))


def environment(text: str) -> dict[str, str]:
    """The variables of an EnvironmentFile. Raises ValueError for a quote that nothing ends."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        line = re.compile(r"[^\n]*").match(text, at)
        head = line[0] if line else ""
        key, equals, _ = head.partition("=")
        if head.lstrip().startswith(("#", ";")) or not equals or not _KEY.fullmatch(key.strip()):
            at = _past_line(text, at)
            continue
        value, at = _value(text, at + len(key) + 1)
        found[key.strip()] = value
    return found


def command(unit: str, variables: Mapping[str, str]) -> list[str]:
    """The words of a unit's ExecStart= with its variables filled in. Raises ValueError when there is none, or
    quotes do not end."""
    lines = re.sub(r"\\\n\s*", " ", unit).splitlines()
    values = [line.partition("=")[2].strip() for line in lines if line.strip().startswith("ExecStart=")]
    if not values or not values[-1]:
        raise ValueError("it has no ExecStart=")
    first, *rest = _split(values[-1])
    return [first.lstrip("@-:+!"), *(part for word in rest for part in _expanded(word, variables))]


def environment_files(unit: str) -> list[str]:
    """The paths of EnvironmentFile=, without the hyphen that makes one optional."""
    lines = (line.strip() for line in unit.splitlines())
    return [
        line.partition("=")[2].strip().lstrip("-") for line in lines if line.startswith("EnvironmentFile=")
    ]


def _value(text: str, at: int) -> tuple[str, int]:
    """A value and where the next line begins. Quotes count where a value begins, and behind others (systemd's
    basic/env-file.c); blanks around what stands in none are no part of it."""
    value, end, plain = "", 0, False
    while at < len(text) and text[at] != "\n":
        char = text[at]
        at += 1
        if not plain and char in "'\"":
            inside, at = _quoted(text, at, char)
            value += inside
            end = len(value)
        elif char == "\\":
            plain, value = True, value + text[at : at + 1].replace("\n", "")
            end, at = len(value), at + 1
        elif plain or not char.isspace():
            plain, value = True, value + char
            end = end if char.isspace() else len(value)
    return value[:end], at + 1


def _quoted(text: str, at: int, quote: str) -> tuple[str, int]:
    parts: list[str] = []
    while at < len(text):
        char, following = text[at], text[at + 1 : at + 2]
        if char == quote:
            return "".join(parts), at + 1
        if char == "\\" and quote == '"' and (following == "\n" or following in _ESCAPED_IN_QUOTES):
            parts.append("" if following == "\n" else following)
            at += 2
            continue
        parts.append(char)
        at += 1
    raise ValueError("a quote that begins a value does not end")


def _past_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as fault:
        raise ValueError(f"its quotes do not end ({fault})") from None


def _expanded(word: str, variables: Mapping[str, str]) -> Iterator[str]:
    """`$NAME` as a word of its own gives as many words as it holds; everything else stays one."""
    alone = re.fullmatch(r"\$([A-Za-z_][A-Za-z0-9_]*)", word)
    if alone:
        yield from _split(variables.get(alone[1], ""))
    else:
        yield _VARIABLE.sub(lambda found: variables.get(found[1] or found[2], ""), word)


def _word(name: str, value: str | None) -> str:
    """As systemd's splitting at blanks takes it for one word."""
    word = name if value is None else f"{name}={value}"
    return word if re.fullmatch(r"[^\s'\"\\]*", word) else shlex.quote(word)


def _escaped(word: str) -> str:
    return re.sub(r'(["\\`$])', r"\\\1", word)
