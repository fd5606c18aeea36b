"""The table of a fail-over test."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.engine.events import FailoverEnded, FaultEnded
from provisioner.report.tables import table
from provisioner.report.wording import Line

_HEAD = (
    "fault",
    "on",
    "outage",
    "failed",
    "wanted",
    "kept: silence",
    "broken",
    "back",
    "VIP on 2",
    "on none",
    "then on",
)
"""Of new connections, of those that are kept, and of the shared address."""


def failover_lines(event: FailoverEnded) -> list[Line]:
    """A line a fault, what was wrong, and the verdict."""
    head, *rows = table([_HEAD, *map(_row, event.faults)], right=(2, 3, 5, 6, 7, 8, 9))
    lines = [Line(f"  {head}", "dim")]
    for row, fault in zip(rows, event.faults, strict=True):
        lines.append(Line(f"  {row}", "" if fault.ok else "bad"))
    lines += [Line(f"  {text}", "bad") for fault in event.faults for text in _wrong(fault)]
    lines += [Line(f"  {text}", "warn") for text in event.left_out]
    seen = f"as seen from {event.client}, a new connection each 50 ms"
    if event.ok:
        return [*lines, Line(f"fails over as it shall, {seen}", "good")]
    return [*lines, Line(f"does not fail over as it shall, {seen}", "bad")]


def _row(fault: FaultEnded) -> tuple[str, ...]:
    return (
        fault.fault or "nothing",
        fault.host,
        f"{fault.outage:.2f} s",
        f"{fault.failed} of {fault.total}",
        fault.target,
        f"{fault.silence:.2f} s",
        f"{fault.broken} of {fault.kept}",
        f"{fault.back:.2f} s",
        f"{fault.twice:.2f} s",
        f"{fault.nobody:.2f} s",
        ", ".join(fault.holders),
    )


def _wrong(fault: FaultEnded) -> Iterator[str]:
    if not fault.ok:
        yield f"{fault.fault or 'nothing'} on {fault.host}: {fault.why}"
