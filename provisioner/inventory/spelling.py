"""What YAML 1.1 reads in what people write, and what its values are called in messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from provisioner.inventory.secrets import Secret

_PLAIN = re.compile(r"[-+]?(0|[1-9][0-9]*)")


def kind_of(value: Any) -> str:
    """What a value is, in YAML's words; also what only templates have."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return "a function" if callable(value) else "an object"


_KINDS: tuple[tuple[type, str], ...] = (
    (int, "a number"), (float, "a number"), (str, "a text"), (Secret, "a secret"), (Mapping, "a mapping"),
    (Iterable, "a list"),
)  # fmt: skip


def spelt(value: object) -> str:
    """A scalar as YAML has it."""
    return (
        {True: "true", False: "false", None: "null"}[value]
        if value is None or isinstance(value, bool)
        else str(value)
    )


def said(value: object, most: int = 60) -> str:
    """`value` in quotes for a message, cut when it is longer than `most` characters."""
    text = str(value)
    return f"'{text}'" if len(text) <= most else f"'{text[:most]}…'"


def odd_letters(text: str) -> str:
    """A hint about letters that word processors and web pages put where plain ones are meant; "" without them."""
    if re.search("[\u2018-\u201f\u00ab\u00bb]", text):
        return "typographic quotes quote nothing: write ' or \""
    return "it has a no-break space: write a plain one" if "\u00a0" in text else ""


def oddly_spelt(written: str, value: int) -> tuple[str, str] | None:
    """Reason and hint when `written` is not the decimal spelling of `value`, which YAML reads in it; else None.

    YAML 1.1 (yaml.org/type/int.html): a leading zero means octal, 0b binary, 0x hexadecimal, a colon base 60; an
    underscore means nothing.
    """
    if not written or _PLAIN.fullmatch(written):
        return None
    this, bare = said(written, 40), written.replace("_", "")
    read = str(value) if len(written) <= 40 else "another number"
    if ":" in bare:
        return (
            f"{this} is read as {read}: in YAML a colon makes a number of base 60",
            "write a decimal number",
        )
    if re.match(r"[-+]?0[xb]", bare):
        base = "hexadecimal" if "x" in bare else "binary"
        return f"{this} is the {base} spelling of {read}", "write a decimal number"
    if re.match(r"[-+]?0", bare):
        meant = re.sub(r"^([-+]?)0+(?=[0-9])", r"\1", bare)
        return (
            f"{this} is read as {read}: in YAML a leading zero makes it octal",
            f"did you mean {meant[:40]}?",
        )
    return f"{this} has underscores", f"did you mean {bare[:40]}?"
