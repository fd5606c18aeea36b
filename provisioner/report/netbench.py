"""The table of a measurement of the pod network, and what became better and worse since an earlier one."""

from __future__ import annotations

from collections.abc import Iterator

from provisioner.engine.events import NetMeasured, PathMeasured
from provisioner.report.tables import table
from provisioner.report.wording import Line

_HEAD = ("path", "from", "to", "throughput", "resent", "p50", "p90", "p99", "round trips")
_RATIOS = ("path", "throughput", "p50", "p90", "p99", "throughput before", "p50 before")


def net_lines(event: NetMeasured) -> list[Line]:
    """A line a path; with an earlier measurement also the ratios to that."""
    head, *rows = table([_HEAD, *map(_row, event.paths)], right=(3, 4, 5, 6, 7, 8))
    lines = [Line(f"  {head}", "dim"), *(Line(f"  {row}") for row in rows)]
    lines += _compared(event)
    about = f"{event.network}, pods' MTU {event.mtu}; one TCP stream, then one round trip after the other"
    return [*lines, Line(f"{event.cluster}: {about}, {event.seconds} s each", "good")]


def _row(path: PathMeasured) -> tuple[str, ...]:
    return (
        path.path,
        path.source,
        path.target,
        _rate(path.throughput),
        str(path.retransmits),
        *(f"{value:.1f} µs" for value in (path.p50, path.p90, path.p99)),
        str(path.count),
    )


def _compared(event: NetMeasured) -> Iterator[Line]:
    earlier = {each.path: each for each in event.before}
    pairs = [(earlier[each.path], each) for each in event.paths if each.path in earlier]
    if not pairs:
        if event.before:
            yield Line("  the earlier measurement has none of these paths", "warn")
        return
    yield Line("  now, as a multiple of before (of throughput more is better, of round trips less):", "dim")
    head, *rows = table([_RATIOS, *(_ratios(*pair) for pair in pairs)], right=range(1, len(_RATIOS)))
    yield Line(f"  {head}", "dim")
    for row in rows:
        yield Line(f"  {row}")


def _ratios(before: PathMeasured, now: PathMeasured) -> tuple[str, ...]:
    pairs = (
        (now.throughput, before.throughput),
        (now.p50, before.p50),
        (now.p90, before.p90),
        (now.p99, before.p99),
    )
    shown = (f"{new / old:.2f}" if old else "-" for new, old in pairs)
    return (now.path, *shown, _rate(before.throughput), f"{before.p50:.1f} µs")


def _rate(bits: float) -> str:
    """Of the trade, powers of ten: "9.41 Gbit/s"."""
    return f"{bits / 1e9:.2f} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:.0f} Mbit/s"
