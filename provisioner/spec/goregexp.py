"""Regular expressions that programs in Go read (package regexp: RE2), as far as Python can tell.

Facts: Go, regexp/syntax, "Syntax" and parse.go.
"""

from __future__ import annotations

import re
import warnings
from functools import cache
from types import MappingProxyType

from provisioner.inventory.spelling import said
from provisioner.spec.values import RefusedError

_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|.", re.DOTALL)
"""An escaped character, a class of characters, or a character."""
_GROUP = re.compile(r"\(\?(?!P<\w+>|<\w+>|-?[imsU]+[:)-]|:)")
"""What follows "(?" and Go has not: looking around, comments, conditions, atomic groups, other flags."""
_TWICE = re.compile(r"(?:[*+?]|\{\d+(?:,\d*)?\})(?:[*+]|\?[*+?])")
_COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_MOST = 1000
_NAMED = re.compile(r"\[:(\^?\w+):\]")
_ESCAPES = "aftnrvxdDsSwWbBAzQEpPC0"
_CLASSES = MappingProxyType(
    {
        "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ", "cntrl": r"\x00-\x1f\x7f",
        "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r"\s",
        "upper": "A-Z", "word": r"\w", "xdigit": "0-9A-Fa-f",
    }
)  # fmt: skip
"""Names of classes within a class, which Python has not."""
_SUCH = "such as ^(eth|en)"


def regular_expression(text: str) -> None:
    """One that Go's package regexp takes."""
    compiled(text)


@cache
def compiled(text: str) -> re.Pattern[str]:
    """What finds what Go's package regexp would find. Raises RefusedError, also for the little that Go reads and Python
    does not."""
    parts = _PART.findall(text)
    fault = next(filter(None, map(_strange, parts)), "") or _misbuilt(
        "".join("x" if len(each) > 1 else each for each in parts)
    )
    if fault:
        raise RefusedError(f"{said(text)} {fault}", _SUCH)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what Python might once read as sets of sets
            return re.compile("".join(map(_in_python, parts)), re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise RefusedError(
            f"{said(text)} is no regular expression that is read here: {error}", _SUCH
        ) from None


def _strange(part: str) -> str:
    """What Go does not take of an escaped character or a class."""
    if part[0] == "\\" and part[1:].isalnum() and part[1:] not in _ESCAPES:
        return (
            "looks back, which Go's regular expressions cannot"
            if part[1:].isdecimal()
            else f"has {part}, which Go does not know"
        )
    names = _NAMED.findall(part) if part[0] == "[" else ()
    return next((f"has [:{each}:], which is not read here" for each in names if each not in _CLASSES), "")


def _misbuilt(bare: str) -> str:
    """What Go does not take of all else."""
    if found := _GROUP.search(bare):
        opening = bare[found.start() : found.end() + 1]
        looks = opening[2:] in ("=", "!", "<")
        return (
            "looks around, which Go's regular expressions cannot"
            if looks
            else f"has {said(opening)}, which Go does not know"
        )
    if found := _TWICE.search(bare):
        return f"repeats what is repeated ({found[0]}), which Go refuses"
    most = max((int(each) for pair in _COUNT.findall(bare) for each in pair if each), default=0)
    return f"repeats {most} times, and {_MOST} are the most" if most > _MOST else ""


def _in_python(part: str) -> str:
    r"""In Python's words: \z is its \Z, and classes have no names."""
    if part == r"\z":
        return r"\Z"
    return _NAMED.sub(lambda named: _CLASSES[named[1]], part) if part[0] == "[" else part
