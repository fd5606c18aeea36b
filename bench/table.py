"""The figures for people."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.measure import Run
    from bench.run import Figures

_HEAD = ("", "unchanged", "ratio", "CPU", "execs/host", "peak", "first apply", "floor x")


def table(figures: Mapping[str, Figures], floor: float, scale: Sequence[Run] | None, aliases: int) -> str:
    """One line a tool; ratios are to provision's unchanged run; `floor` in seconds."""
    own = figures["provision"].median
    rows = [_HEAD, *(_row(name, each, own, floor) for name, each in figures.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.append(f"floor of the first apply (parallel ssh and tar of the same archive): {floor:.2f} s")
    if scale:
        seconds = statistics.median(each.seconds for each in scale)
        peak = max(each.peak_mb for each in scale)
        lines.append(
            f"provision, unchanged, {aliases} names for the ten hosts: {seconds:.2f} s, {peak:.0f} MiB"
        )
    disturbed = sum(not one.quiet for each in figures.values() for one in each.unchanged)
    if disturbed:
        lines.append(f"{disturbed} of the unchanged runs began while other programs kept the machine busy")
    return "\n".join(lines) + "\n"


def _row(name: str, each: Figures, own: float, floor: float) -> tuple[str, ...]:
    first = each.first.seconds if each.first else 0.0
    return (
        name,
        f"{each.median:.2f} s",
        f"{each.median / own:.0f} x",
        f"{statistics.median(one.cpu for one in each.unchanged):.2f} s",
        f"{each.execs:.1f}",
        f"{max(one.peak_mb for one in each.unchanged):.0f} MiB",
        f"{first:.1f} s",
        f"{first / floor:.1f}",
    )
