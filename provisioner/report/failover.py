"""The table of a fail-over test."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.engine.events import FailoverEnded, FaultEnded
from provisioner.report.tables import table
from provisioner.report.wording import Line

_HEAD = (
    ("fault", "on", "new connections:", "", "", "connections that stay:", "", "address on", "", ""),
    ("", "", "outage", "failed", "to keep", "silence", "broken", "two hosts", "none", "then"),
)


def failover_lines(event: FailoverEnded) -> list[Line]:
    """A line a fault, what was wrong, and the verdict."""
    rows = table([*_HEAD, *map(_row, event.faults)], right=(2, 3, 5, 6, 7, 8))
    lines = [Line(f"  {row}", "dim") for row in rows[:2]]
    for row, fault in zip(rows[2:], event.faults, strict=True):
        lines.append(Line(f"  {row}", "" if fault.ok else "bad"))
    lines += [Line(f"  {text}", "bad") for fault in event.faults for text in _wrong(fault)]
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
        f"{fault.twice:.2f} s",
        f"{fault.nobody:.2f} s",
        ", ".join(fault.holders),
    )


def _wrong(fault: FaultEnded) -> Iterator[str]:
    if not fault.ok:
        yield f"{fault.fault or 'nothing'} on {fault.host}: {fault.why}"
