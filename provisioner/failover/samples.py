"""From samples to what they say: the longest outage, failures, and on how many hosts an address was. Pure.

All moments are in seconds on one clock, the controller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise


@dataclass(frozen=True)
class Answer:
    """A request: when it began, when it ended, and whether a good answer came. `why` names what came instead."""

    began: float
    ended: float
    well: bool
    why: str = ""

    def well_since(self, moment: float) -> bool:
        """It was good, and came after that."""
        return self.well and self.ended > moment


@dataclass(frozen=True)
class Sample:
    """Whether a host had the address at `moment`."""

    moment: float
    holds: bool


@dataclass(frozen=True)
class Holding:
    """Of an address that one host shall have. `twice` is the longest time for which two hosts were seen with it, and
    `samples` how many samples say so; `nobody` the longest for which none was; `at_end` who had it last."""

    twice: float
    samples: int
    nobody: float
    at_end: tuple[str, ...]


def concerned(answers: Iterable[Answer], start: float, end: float) -> list[Answer]:
    """Those that were under way at some time between `start` and `end`."""
    return [each for each in answers if each.ended >= start and each.began <= end]


def longest_gap(answers: Iterable[Answer], start: float, end: float) -> tuple[float, float]:
    """The longest time without a good answer between `start` and `end`: from when, until when. It begins with the good
    answer before it, or with `start` when there is none, and lasts until the next one came, not until that was asked
    for: what a client waits counts. One that is open at `end` counts up to there."""
    moments = sorted(each.ended for each in answers if each.well)
    before = [moment for moment in moments if moment < start]
    inside = [moment for moment in moments if start <= moment <= end]
    points = [before[-1] if before else start, *inside, end]
    return max(pairwise(points), key=lambda gap: gap[1] - gap[0])


def longest_return(answers: Iterable[Answer], breaks: Iterable[float], end: float) -> float:
    """The longest time from a break (when it was noticed) to the next good answer; 0 without a break."""
    moments = sorted(each.ended for each in answers if each.well)
    back = [next((moment for moment in moments if moment > each), end) - each for each in breaks]
    return max(back, default=0.0)


def holding(
    samples: Mapping[str, Sequence[Sample]],
    start: float,
    end: float,
    away: Mapping[str, tuple[float, float]] | None = None,
) -> Holding:
    """What the hosts' samples from `start` to `end` say. A host that is cut off or off does not count from the first
    to the second moment that `away` has for it: nobody can reach the address there."""
    seen = {
        host: [_counted(each, (away or {}).get(host)) for each in those if start <= each.moment <= end]
        for host, those in samples.items()
    }
    spans = {host: list(_spans(those)) for host, those in seen.items()}
    both = [
        (max(a, c), min(b, d))
        for one, other in combinations(spans, 2)
        for a, b in spans[one]
        for c, d in spans[other]
        if max(a, c) <= min(b, d)
    ]
    double = sum(1 for those in seen.values() for each in those if each.holds and _within(each.moment, both))
    return Holding(
        twice=max((to - since for since, to in both), default=0.0),
        samples=double,
        nobody=_uncovered([span for those in spans.values() for span in those], start, end),
        at_end=tuple(host for host, those in seen.items() if those and those[-1].holds),
    )


def _counted(sample: Sample, away: tuple[float, float] | None) -> Sample:
    """What it says of who can be reached at the address."""
    if away is None or not away[0] <= sample.moment < away[1]:
        return sample
    return replace(sample, holds=False)


def _spans(samples: Iterable[Sample]) -> Iterable[tuple[float, float]]:
    """From the first to the last of each row of samples that have the address."""
    first = last = None
    for each in sorted(samples, key=lambda each: each.moment):
        if each.holds:
            first, last = (each.moment if first is None else first), each.moment
        elif first is not None and last is not None:
            yield first, last
            first = None
    if first is not None and last is not None:
        yield first, last


def _within(moment: float, spans: Iterable[tuple[float, float]]) -> bool:
    return any(since <= moment <= to for since, to in spans)


def _uncovered(spans: Iterable[tuple[float, float]], start: float, end: float) -> float:
    """The longest part of start to end that lies in none of the spans."""
    longest, reached = 0.0, start
    for since, to in sorted(spans):
        longest, reached = max(longest, since - reached), max(reached, to)
    return max(longest, end - reached)
