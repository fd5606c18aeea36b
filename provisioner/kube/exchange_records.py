"""From what the clients of a node wrote to what each pair lost. Pure.

Moments are seconds since the node's boot, as /proc/uptime has them: no other clock is needed, and no step of one
matters. All clients of a node, one after the other and for a while two, write to the same file for a peer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from provisioner.engine.events import ExchangeMeasured, PairExchanged
from provisioner.errors import ProvisionError

STILL = 1.0
"""Seconds in which an answer may be under way."""

_NOW = re.compile(r"now (\d+\.\d+) (\d+\.\d+)")
_RECORD = re.compile(r"(\d+\.\d+) (\d+\.\d+) ([01])")


@dataclass(frozen=True)
class Record:
    """A request: when it began and ended, and whether a good answer came."""

    began: float
    ended: float
    well: bool


@dataclass(frozen=True)
class Told:
    """What a node tells: its time `now`, what that is since the `epoch`, and the records by the node that was asked."""

    now: float
    epoch: float
    records: Mapping[str, tuple[Record, ...]] = field(default_factory=dict)

    def talks(self, target: str) -> bool:
        """Whether that node's pods answer, and for a while all that was asked of them was answered: what is sent
        before the rules of a service are there is lost, and only later known to be."""
        records = self.records.get(target, ())
        failed = max((each.ended for each in records if not each.well), default=0.0)
        well = max((each.ended for each in records if each.well), default=0.0)
        return self.now - well <= STILL and self.now - failed > STILL


def told(node: str, output: str) -> Told:
    """From what `exchange.READ` prints. A line that is cut off counts for nothing. Raises ProvisionError."""
    head, *lines = output.split("\n") or [""]
    now = _NOW.fullmatch(head)
    if now is None:
        raise ProvisionError(f"{node}: it does not tell its time", "is there a `date` that knows %N?")
    found: dict[str, list[Record]] = {}
    target = ""
    for line in lines:
        if line.startswith("of "):
            target = line[3:]
        elif each := _RECORD.fullmatch(line):
            found.setdefault(target, []).append(Record(float(each[1]), float(each[2]), each[3] == "1"))
    records = {name: tuple(those) for name, those in found.items()}
    return Told(float(now[1]), float(now[2]), records)


def exchanged(source: str, target: str, since: float, seen: Told) -> PairExchanged:
    """What the pair lost from the moment `since` until now, of what was asked since then. Raises ProvisionError for a
    node that was started anew: its records went with it."""
    if seen.now < since:
        raise ProvisionError(
            f"{source} was started anew while its pods' losses were measured: what they wrote is gone"
        )
    records = [each for each in seen.records.get(target, ()) if since <= each.began]
    began, ended = longest_gap(records, since, seen.now)
    return PairExchanged(
        source=source,
        target=target,
        requests=len(records),
        failed=sum(not each.well for each in records),
        gap=round(ended - began, 2),
        began=round(seen.epoch - seen.now + began, 2),
        back=not _open(records, since, seen.now),
    )


def longest_gap(records: Iterable[Record], start: float, end: float) -> tuple[float, float]:
    """The longest time without a good answer of any client between `start` and `end`: from when, until when. It lasts
    from when one came, or `start`, until when the next one came, or `end`."""
    moments = sorted(each.ended for each in records if each.well)
    return max(pairwise([start, *moments, end]), key=lambda gap: gap[1] - gap[0])


def summed(pairs: Iterable[PairExchanged], seconds: float) -> ExchangeMeasured:
    """All of them, who lost most first."""
    chosen = sorted(pairs, key=lambda pair: (-pair.gap, -pair.failed, pair.source, pair.target))
    return ExchangeMeasured(
        seconds=round(seconds, 1),
        pairs=tuple(chosen),
        requests=sum(pair.requests for pair in chosen),
        failed=sum(pair.failed for pair in chosen),
        gap=max((pair.gap for pair in chosen), default=0.0),
    )


def _open(records: Iterable[Record], since: float, now: float) -> bool:
    return now - max((each.ended for each in records if each.well), default=since) > STILL
