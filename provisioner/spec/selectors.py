"""Calico's selectors: which nodes a pool or a peer is for (docs, reference/resources/networkpolicy, "Selectors").

The API server takes any text for one; Calico then passes over what has a selector that it cannot read.
"""

from __future__ import annotations

import re

from provisioner.inventory.spelling import said
from provisioner.spec.values import RefusedError

_KEY = r"[a-zA-Z0-9_./-]{1,512}"
_TEXT = r"(?:'[^']*'|\"[^\"]*\")"
_SET = rf"\{{\s*(?:{_TEXT}(?:\s*,\s*{_TEXT})*)?\s*\}}"
_TERM = re.compile(
    rf"all\(\s*\)|global\(\s*\)|has\(\s*{_KEY}\s*\)"
    rf"|{_KEY}\s*(?:(?:==|!=|contains|starts\s*with|ends\s*with)\s*{_TEXT}|(?:not\s*in|in)\s*{_SET})"
)
_HINT = "such as all(), has(rack), rack == 'a', rack in {'a', 'b'}; with !, &&, || and brackets"


def selector(text: str) -> None:
    """Refuses what Calico cannot read."""
    rest = _either(text)
    if rest.strip():
        raise RefusedError(f"{said(text)} is no selector: {said(rest.strip())} is too much", _HINT)


def _either(text: str) -> str:
    """What is left behind an expression."""
    rest = _one(text)
    while (found := re.match(r"\s*(?:&&|\|\|)", rest)) is not None:
        rest = _one(rest[found.end() :])
    return rest


def _one(text: str) -> str:
    rest = text.lstrip(" \t!")
    if rest.startswith("("):
        inner = _either(rest[1:]).lstrip()
        if not inner.startswith(")"):
            raise RefusedError(f"{said(text.strip())} lacks a closing bracket", _HINT)
        return inner[1:]
    found = _TERM.match(rest)
    if found is None:
        what = said(rest.strip()) if rest.strip() else "nothing"
        raise RefusedError(f"{what} is no selector of Calico's", _HINT)
    return rest[found.end() :]
