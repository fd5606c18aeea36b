"""Calico's selectors: which nodes a pool or a peer is for (docs, reference/resources/networkpolicy, "Selectors").

The API server takes any text for one; Calico then passes over what has a selector that it cannot read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from provisioner.inventory.spelling import said
from provisioner.spec.calico import REFLECTOR
from provisioner.spec.model import CONTROL_PLANE_TAINT
from provisioner.spec.values import RefusedError

_KEY = r"[a-zA-Z0-9_./-]{1,512}"
_TEXT = r"(?:'[^']*'|\"[^\"]*\")"
_SET = rf"\{{\s*(?:{_TEXT}(?:\s*,\s*{_TEXT})*)?\s*\}}"
_TERM = re.compile(
    rf"(?P<any>all\(\s*\)|global\(\s*\))|has\(\s*(?P<has>{_KEY})\s*\)"
    rf"|(?P<key>{_KEY})\s*(?:(?P<word>==|!=|contains|starts\s*with|ends\s*with)\s*(?P<text>{_TEXT})"
    rf"|(?P<among>not\s*in|in)\s*(?P<set>{_SET}))"
)
_HINT = "such as all(), has(rack), rack == 'a', rack in {'a', 'b'}; with !, &&, || and brackets"


@dataclass(frozen=True)
class Labels:
    """`known` ones of a node, and which keys it may have beside them."""

    known: Mapping[str, str]
    perhaps: Callable[[str], bool] = lambda _: False


def labels_of(name: str, own: Mapping[str, str], reflectors: Sequence[str]) -> Labels:
    """Of a node with labels of its `own`, that of its role among them, where these are `reflectors` of routes. What
    others set has a prefix: keys without one are the users' (docs, concepts/overview/working-with-objects/labels)."""
    every = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
    reflects = {REFLECTOR: "true"} if name in reflectors else {}
    return Labels({**every, **own, **reflects}, lambda key: "/" in key and key != CONTROL_PLANE_TAINT.key)


_Choice = Callable[[Labels], bool | None]
"""Whether a node is chosen; None where labels decide that nobody knows of."""


def selector(text: str) -> None:
    """Refuses what Calico cannot read."""
    _read(text)


def chooses(text: str, labels: Labels) -> bool | None:
    """Whether the selector takes a node with the labels; None where only labels that are not known tell. Raises
    RefusedError for one that Calico cannot read."""
    return _read(text)(labels)


def _read(text: str) -> _Choice:
    rest, choice = _either(text)
    if rest.strip():
        raise RefusedError(f"{said(text)} is no selector: {said(rest.strip())} is too much", _HINT)
    return choice


def _either(text: str) -> tuple[str, _Choice]:
    """What is left behind an expression, and what it means. && binds closer than ||."""
    rest, choice = _both(text)
    while (found := re.match(r"\s*\|\|", rest)) is not None:
        rest, other = _both(rest[found.end() :])
        choice = _joined(choice, other, decisive=True)
    return rest, choice


def _both(text: str) -> tuple[str, _Choice]:
    rest, choice = _one(text)
    while (found := re.match(r"\s*&&", rest)) is not None:
        rest, other = _one(rest[found.end() :])
        choice = _joined(choice, other, decisive=False)
    return rest, choice


def _joined(one: _Choice, other: _Choice, *, decisive: bool) -> _Choice:
    """`decisive` is the answer of either that settles it."""

    def choice(labels: Labels) -> bool | None:
        answers = {one(labels), other(labels)}
        return decisive if decisive in answers else (None if None in answers else not decisive)

    return choice


def _one(text: str) -> tuple[str, _Choice]:
    rest = text.lstrip(" \t!")
    negated = text[: len(text) - len(rest)].count("!") % 2 == 1
    if rest.startswith("("):
        inner, choice = _either(rest[1:])
        if not inner.lstrip().startswith(")"):
            raise RefusedError(f"{said(text.strip())} lacks a closing bracket", _HINT)
        return inner.lstrip()[1:], _negated(choice) if negated else choice
    found = _TERM.match(rest)
    if found is None:
        what = said(rest.strip()) if rest.strip() else "nothing"
        raise RefusedError(f"{what} is no selector of Calico's", _HINT)
    choice = _term(found)
    return rest[found.end() :], _negated(choice) if negated else choice


def _negated(choice: _Choice) -> _Choice:
    def other(labels: Labels) -> bool | None:
        answer = choice(labels)
        return None if answer is None else not answer

    return other


def _term(found: re.Match[str]) -> _Choice:
    key, word = found["has"] or found["key"], re.sub(r"\s", "", found["word"] or found["among"] or "")
    texts = [each[1:-1] for each in re.findall(_TEXT, found["text"] or found["set"] or "")]

    def choice(labels: Labels) -> bool | None:
        if found["any"]:
            return True
        value = labels.known.get(key)
        if value is None and labels.perhaps(key):
            return None
        if found["has"]:
            return value is not None
        # A label that is not there differs from every value (docs, "Selectors").
        if word in ("!=", "notin"):
            return value not in texts
        return value is not None and _fits(value, word, texts)

    return choice


def _fits(value: str, word: str, texts: list[str]) -> bool:
    if word == "contains":
        return texts[0] in value
    if word == "startswith":
        return value.startswith(texts[0])
    return value.endswith(texts[0]) if word == "endswith" else value in texts
