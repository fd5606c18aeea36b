"""What is made of the samples of a fail-over test."""

from __future__ import annotations

import pytest

from provisioner.failover.samples import (
    Answer,
    Holding,
    Sample,
    concerned,
    holding,
    longest_gap,
    longest_return,
)

GOOD = [Answer(moment, moment + 0.1, well=True) for moment in (0.0, 1.0, 1.5, 2.2)]


def bad(began: float, ended: float) -> Answer:
    return Answer(began, ended, well=False, why="refused")


def held(*moments: float, without: tuple[float, ...] = ()) -> list[Sample]:
    return sorted(
        [*(Sample(each, True) for each in moments), *(Sample(each, False) for each in without)],
        key=lambda each: each.moment,
    )


@pytest.mark.parametrize(
    ("answers", "start", "end", "gap"),
    [
        (GOOD, 1.2, 2.4, (1.6, 2.3)),
        (GOOD, 0.5, 2.4, (0.1, 1.1)),  # it began before, with the last answer
        (GOOD, 1.0, 9.0, (2.3, 9.0)),  # nobody knows when it ends
        ([], 1.0, 3.0, (1.0, 3.0)),
        ([bad(1.0, 1.1), bad(2.0, 2.1)], 1.0, 3.0, (1.0, 3.0)),  # a failure is no answer
        ([Answer(1.0, 2.9, well=True)], 1.0, 3.0, (1.0, 2.9)),  # who was answered late has waited
        (list(reversed(GOOD)), 1.2, 2.4, (1.6, 2.3)),  # they end in any order
        ([*GOOD, Answer(2.0, 5.0, well=True)], 1.2, 2.4, (1.6, 2.3)),  # what came later is of no use here
    ],
)
def test_longest_gap(answers: list[Answer], start: float, end: float, gap: tuple[float, float]) -> None:
    assert longest_gap(answers, start, end) == pytest.approx(gap)


def test_a_request_that_was_under_way_is_concerned() -> None:
    before, into, inside, out_of, after = (
        bad(0.0, 0.9), bad(0.5, 1.5), bad(1.2, 1.3), bad(1.9, 3.0), bad(2.1, 2.2)
    )  # fmt: skip
    assert concerned([before, into, inside, out_of, after], 1.0, 2.0) == [into, inside, out_of]


@pytest.mark.parametrize(
    ("breaks", "longest"),
    [([], 0.0), ([0.6], 0.5), ([0.6, 1.7], 0.6), ([0.2, 1.8], 0.9), ([2.5], 1.5), ([0.6, 3.9], 0.5)],
)
def test_longest_return(breaks: list[float], longest: float) -> None:
    assert longest_return(GOOD, breaks, 4.0) == pytest.approx(longest)


def test_an_address_that_moves_is_on_none_meanwhile() -> None:
    seen = holding({"a": held(0.0, 0.1, 0.2, without=(0.3, 0.4, 0.5)), "b": held(0.45, 0.5)}, 0.0, 0.5)
    assert (seen.twice, seen.samples, seen.at_end) == (0.0, 0, ("b",))
    assert seen.nobody == pytest.approx(0.25)


def test_an_address_on_two_hosts() -> None:
    seen = holding({"a": held(0.0, 0.1, 0.2, 0.3, without=(0.4,)), "b": held(0.15, 0.25, 0.35)}, 0.0, 0.35)
    assert seen.twice == pytest.approx(0.15)
    assert seen.samples == 4  # 0.2 and 0.3 of a, 0.15 and 0.25 of b
    assert seen.nobody == 0.0


def test_one_sample_beside_another_counts_although_it_lasts_no_time() -> None:
    seen = holding({"a": held(0.0, 0.2), "b": held(0.1, without=(0.0, 0.2))}, 0.0, 0.2)
    assert (seen.twice, seen.samples) == (0.0, 1)


def test_a_host_that_is_away_does_not_count_until_it_is_back() -> None:
    samples = {"a": held(0.0, 0.5, 1.0, 1.5, 2.0), "b": held(1.0, 1.5, 2.0)}
    assert holding(samples, 0.0, 2.0).twice == pytest.approx(1.0)
    gone = holding(samples, 0.0, 2.0, {"a": (0.2, 1.9)})
    assert (gone.twice, gone.samples) == (0.0, 2)  # at 2.0 it is back and claims it
    assert gone.nobody == pytest.approx(1.0)
    assert gone.at_end == ("a", "b")


@pytest.mark.parametrize("samples", [{}, {"a": []}, {"a": held(without=(0.0, 1.0))}])
def test_an_address_that_nobody_has(samples: dict[str, list[Sample]]) -> None:
    assert holding(samples, 0.0, 1.0) == Holding(twice=0.0, samples=0, nobody=1.0, at_end=())


def test_three_hosts_are_compared_each_with_each() -> None:
    seen = holding({"a": held(0.0), "b": held(5.0), "c": held(4.9, 5.1)}, 0.0, 5.1)
    assert seen.samples == 1
    assert seen.nobody == pytest.approx(4.9)
