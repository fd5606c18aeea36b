"""Lines for stdout: columns, spans of time, colour where it is a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Sequence

from provisioner.report.printable import printable
from provisioner.report.wording import Line

_CODES = {"good": "32", "change": "33", "delete": "31", "bad": "1;31", "warn": "33", "dim": "2", "head": "1"}


def table(rows: Sequence[Sequence[str]], *, right: Collection[int] = ()) -> list[str]:
    """The rows with their columns under each other; those in `right` end flush."""
    shown = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))] if shown else []

    def line(row: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  ".join(cells).rstrip()

    return [line(row) for row in shown]


def duration(seconds: float) -> str:
    """A span of time in its two largest units, seconds alone to a tenth: "4.2 s", "3 min 5 s", "2 h 10 min", "41 d"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest and whole < 10 * size else "")
    return ""


def many(count: int, thing: str) -> str:
    """ "1 change", "2 changes"."""
    return f"{count} {thing}{'s' * (count != 1)}"


def coloured(line: Line) -> str:
    """A line as it goes to stdout: fit for a terminal, in its colour where stdout is one."""
    code = _CODES.get(line.style)
    text = printable(line.text)
    if code is None or not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{code}m{text}\033[0m"
