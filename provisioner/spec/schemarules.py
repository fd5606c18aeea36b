"""What schemas of the spec are made of: cerberus' rules for a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from provisioner.spec import values

SEPARATOR = "\0"
"""Parts reason and hint in what a check reports: cerberus takes one text."""

Report = Callable[[Any, str], None]


def reported(check: Callable[[Any], object]) -> Callable[[Any, Any, Report], None]:
    """A check that raises, as one that reports to cerberus."""

    def run(field: Any, value: Any, report: Report) -> None:
        if value is None:  # cerberus goes on after it has refused a missing value
            return
        try:
            check(value)
        except values.RefusedError as refused:
            report(field, f"{refused.reason}{SEPARATOR}{refused.hint}")

    return run


def text(check: Callable[[str], object] | None = None, **more: Any) -> dict[str, Any]:
    """Of a text that is not empty, with what else is to hold of it."""
    rules = {"check_with": reported(check)} if check else {}
    return {"type": "string", "empty": False, **rules, **more}


def section(keys: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Of a mapping with these keys."""
    return {"type": "dict", "schema": dict(keys), **more}


def number(least: int, most: int) -> dict[str, Any]:
    """Of a whole number, both ends included."""
    return {"type": "integer", "min": least, "max": most}
