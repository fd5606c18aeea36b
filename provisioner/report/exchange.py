"""The table of an exchange: what pods of each node lost of those of each other one."""

from __future__ import annotations

from provisioner.engine.events import ExchangeMeasured, PairExchanged
from provisioner.report.tables import many, table
from provisioner.report.wording import Line

SHOWN = 20
"""Pairs in the table; --json and the journal have all of them."""
_HEAD = ("from", "to", "requests", "failed", "longest gap")


def exchange_lines(event: ExchangeMeasured) -> list[Line]:
    """A line a pair, who lost most first, and what all of them lost."""
    if not event.pairs:
        return [Line("no two nodes exchange anything", "warn")]
    shown, rest = event.pairs[:SHOWN], event.pairs[SHOWN:]
    head, *rows = table([_HEAD, *map(_row, shown)], right=(2, 3, 4))
    lines = [Line(f"  {head}", "dim")]
    for row, pair in zip(rows, shown, strict=True):
        lines.append(Line(f"  {row}", _style(pair)))
    if rest:
        lines.append(Line(f"  {many(len(rest), 'more pair')}, {_seconds(rest[0].gap)} at most", "dim"))
    return [*lines, _sum(event)]


def _sum(event: ExchangeMeasured) -> Line:
    worst = event.pairs[0]
    counts = f"{many(len(event.pairs), 'pair')}, {many(event.requests, 'request')}, {event.failed} failed"
    gap = f"longest gap {_seconds(event.gap)} ({worst.source} → {worst.target})"
    cut = sum(not pair.back for pair in event.pairs)
    open_ = f"; {many(cut, 'pair')} not back" if cut else ""
    return Line(f"{counts}, {gap}{open_}", "bad" if cut else "warn" if event.failed else "good")


def _row(pair: PairExchanged) -> tuple[str, ...]:
    gap = _seconds(pair.gap) + ("" if pair.back else ", not back")
    return pair.source, pair.target, str(pair.requests), str(pair.failed), gap


def _style(pair: PairExchanged) -> str:
    if not pair.back:
        return "bad"
    return "warn" if pair.failed else ""


def _seconds(value: float) -> str:
    return f"{value:.2f} s"
