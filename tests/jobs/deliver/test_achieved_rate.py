"""Calls a second by full seconds: what the limit promises of any second, the figure keeps to."""

from __future__ import annotations

import pickle
import random
from collections import Counter

import pytest

from jobs.deliver.achieved_rate import CallRate, FullSeconds


def rate_of(times: list[float], lumps: int = 7) -> FullSeconds:
    """Take in calls that began at these times, told in lumps."""
    measured = CallRate()
    for place in range(0, len(times), lumps):
        measured.add(Counter(int(at * 10) for at in times[place : place + lumps]))
    return measured.full_seconds()


@pytest.mark.parametrize("calls", [0, 1, 75, 100, 110])
def test_what_is_over_within_a_second_has_no_rate(calls: int) -> None:
    assert rate_of([50.0 + number / 100 for number in range(calls)]).rate is None


@pytest.mark.parametrize("since", [50.0, 50.03, 50.0999, 50.55])
@pytest.mark.parametrize("calls", [150, 250, 1000])
def test_an_even_sending_has_its_own_rate(since: float, calls: int) -> None:
    full = rate_of([since + number / 100 for number in range(calls)])
    assert full.rate == pytest.approx(100.0, abs=1.0)
    assert full.seconds in {calls // 100 - 1, calls // 100}


def test_seconds_in_which_nothing_was_called_count() -> None:
    assert rate_of([50.0 + number / 10 for number in range(20)] + [58.0]).rate == pytest.approx(20 / 7, abs=0.5)


@pytest.mark.parametrize("seed", range(20))
def test_no_figure_is_above_the_limit_that_every_second_kept(seed: int) -> None:
    dice = random.Random(seed)
    at, times = 100 + dice.random(), []
    for _ in range(dice.randrange(10, 2000)):
        at += 0.01 if dice.random() < 0.9 else dice.random()  # 100 a second at the most
        times.append(at)
    rate = rate_of(times, dice.randrange(1, 300)).rate
    assert rate is None or rate <= 100.0


def test_a_long_sending_is_measured_in_bounded_room() -> None:
    measured = CallRate()
    for second in range(20_000):
        measured.add({second * 10 + tenth: 3 for tenth in range(10)})
    assert len(pickle.dumps(measured)) < 20_000  # each of 200,000 slots would take some 7 bytes
    assert measured.full_seconds() == FullSeconds(19_999 * 30, 19_999)


def test_sendings_one_after_another_are_put_together() -> None:
    assert (FullSeconds(300, 3) + FullSeconds(100, 2) + FullSeconds()).rate == 80.0
