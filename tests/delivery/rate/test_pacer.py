"""Calls of one task: evenly spaced, however the rate moves, and never more in a second than it gave."""

from bisect import bisect_left
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.rate.pacer import Pacer
from tests.delivery.clock import Clock

WIDER = 1.015
"""Calls are this much further apart than the rate says: some are delayed on their way more than others."""
SECOND = 1.005
"""And a second is counted as somewhat longer."""
NEARLY = 1e-5


def make(pacer: Pacer, clock: Clock, until: float) -> list[float]:
    """Call whenever one may; give the moments, in seconds from now."""
    begin, made = clock.now, []
    while (wait := pacer.wait()) <= begin + until - clock.now:
        clock.move(wait)
        if wait == 0.0:
            made.append(clock.now - begin)
            pacer.take()
    clock.now = begin + until
    return made


def fullest(moments: list[float], span: float = 1.0) -> int:
    """The most calls in any span."""
    ends = (bisect_left(moments, start + span - NEARLY) for start in moments)
    return max((end - number for number, end in enumerate(ends)), default=0)


# At one rate.


@pytest.mark.parametrize("rate", [0.25, 0.5, 2.5, 4.0, 50.0])
def test_calls_are_evenly_spaced_and_the_first_is_earned_too(rate: float) -> None:
    clock = Clock()
    found = make(Pacer(clock, rate), clock, 20.5 / rate)
    assert found == [pytest.approx(number * WIDER / rate) for number in range(1, 21)]


@pytest.mark.parametrize("rate", [1.0, 3.0, 5.0, 50.0, 499.0])
def test_no_second_holds_more_than_the_rate_and_hardly_any_call_is_lost(rate: float) -> None:
    clock = Clock()
    found = make(Pacer(clock, rate), clock, 1000.0 / rate)
    assert fullest(found) <= rate
    assert len(found) >= 984


def test_at_a_rate_of_nothing_no_call_may_ever_start() -> None:
    clock = Clock()
    pacer = Pacer(clock)
    clock.move(1000.0)
    assert pacer.wait() == float("inf")


def test_who_waits_as_long_as_told_may_call() -> None:
    clock = Clock()
    pacer = Pacer(clock, 7.0)
    for _ in range(30):
        clock.move(pacer.wait())
        assert pacer.wait() == 0.0
        pacer.take()
        assert pacer.wait() > 0.0


# After a pause.


def test_a_pause_shorter_than_a_quarter_of_a_second_costs_no_call() -> None:
    clock = Clock()
    pacer = Pacer(clock, 100.0)
    first = make(pacer, clock, 5.0)
    clock.move(0.2)
    assert len(first) + len(make(pacer, clock, 4.8)) == pytest.approx(1000 / WIDER, abs=2)


def test_after_a_pause_calls_come_at_twice_the_rate_at_the_most() -> None:
    clock = Clock()
    pacer = Pacer(clock, 100.0)
    make(pacer, clock, 3.0)
    clock.move(0.2)
    after = make(pacer, clock, 3.0)
    distances = [later - earlier for earlier, later in pairwise(after)]
    assert min(distances) == pytest.approx(0.5 * WIDER / 100.0)
    assert fullest(after, 0.1) <= 20


@pytest.mark.parametrize("rate", [500.0, 1000.0, 2000.0, 4000.0])
def test_timers_that_ring_at_whole_milliseconds_and_late_cost_no_call(rate: float) -> None:
    clock = Clock(0.0)
    pacer, found = Pacer(clock, rate), []
    while clock.now < 5.0:
        wait = pacer.wait()
        if wait == 0.0:
            found.append(clock.now)
            pacer.take()
        else:
            clock.now = (clock.now // 0.001 + ceil(wait / 0.001)) * 0.001 + 0.0003
    assert len(found) >= 0.98 * 5 * rate
    assert fullest(found) <= rate


def test_calls_that_catch_up_come_no_more_than_a_millisecond_too_early() -> None:
    clock = Clock()
    pacer = Pacer(clock, 1000.0)
    make(pacer, clock, 3.0)
    clock.move(0.2)
    after = make(pacer, clock, 1.0)
    assert fullest(after, 0.01) <= 0.011 * 2000


def test_calls_at_a_low_rate_do_not_hold_up_those_at_a_high_one() -> None:
    clock = Clock()
    pacer = Pacer(clock, 0.25)
    make(pacer, clock, 4.1)
    pacer.set_rate(100.0)
    assert len(make(pacer, clock, 1.0)) >= 97


@pytest.mark.parametrize("pause", [0.3, 1.0, 60.0])
def test_of_a_long_pause_a_quarter_of_a_second_is_made_up_for_and_then_calls_are_even_again(pause: float) -> None:
    clock = Clock()
    pacer = Pacer(clock, 100.0)
    make(pacer, clock, 3.0)
    clock.move(pause)
    after = make(pacer, clock, 60.0)
    assert len(after) == pytest.approx(6000 / WIDER + 25, abs=2)
    assert fullest(after) <= 100
    assert {round(later - earlier, 6) for earlier, later in pairwise(after[-1000:])} == {WIDER / 100}


def test_a_pause_before_the_first_call_is_made_up_for_no_more_than_any_other() -> None:
    clock = Clock()
    pacer = Pacer(clock, 100.0)
    clock.move(60.0)
    assert len(make(pacer, clock, 1.0)) <= 100


@given(
    rate=st.integers(1, 100),
    pauses=st.lists(st.sampled_from([0.0, 0.001, 0.02, 0.1, 0.24, 0.3, 0.9, 1.7]), min_size=2, max_size=12),
)
def test_no_second_holds_more_than_the_rate_whatever_pauses_there_are(rate: int, pauses: list[float]) -> None:
    clock = Clock(0.0)
    pacer, found = Pacer(clock, float(rate)), []
    for pause in pauses:
        clock.move(pause)
        begin = clock.now
        found += [begin + moment for moment in make(pacer, clock, 0.4)]
    assert fullest(found) <= rate


# When the rate changes.


def test_a_rate_that_rises_is_used_from_then_on() -> None:
    clock = Clock()
    pacer = Pacer(clock, 10.0)
    make(pacer, clock, 5.0)
    pacer.set_rate(100.0)
    assert len(make(pacer, clock, 5.0)) == pytest.approx(500 / WIDER, abs=2)


def test_a_rate_that_falls_leaves_nothing_over_from_before() -> None:
    clock = Clock()
    pacer = Pacer(clock, 100.0)
    make(pacer, clock, 2.0)
    clock.move(0.25)  # 25 calls are earned and not made
    pacer.set_rate(4.0)
    assert len(make(pacer, clock, 10.0)) <= 40 / WIDER + 2


def test_a_rate_of_nothing_in_between_is_not_made_up_for() -> None:
    clock = Clock()
    pacer = Pacer(clock, 10.0)
    make(pacer, clock, 5.0)
    pacer.set_rate(0.0)
    assert make(pacer, clock, 5.0) == []
    pacer.set_rate(10.0)
    assert len(make(pacer, clock, 1.015)) <= 11


def test_a_rate_that_fell_while_nobody_looked_gives_no_call_since_then() -> None:
    clock = Clock()
    asleep = Pacer(clock, 100.0)
    make(asleep, clock, 2.0)
    since = clock.now
    clock.move(30.0)
    asleep.set_rate(4.0, since)
    assert asleep.rate == 4.0
    assert len(make(asleep, clock, 1.0)) <= 4


def test_a_rate_cannot_have_fallen_before_calls_that_were_reckoned_with_it() -> None:
    clock = Clock()
    pacer = Pacer(clock, 100.0)
    before = clock.now
    assert len(make(pacer, clock, 1.0)) == 98
    pacer.set_rate(10.0, before)
    assert pacer.last_second() == (98, pytest.approx(99.0, abs=0.1))


@given(st.lists(st.tuples(st.integers(0, 60), st.floats(0.01, 2.0)), min_size=1, max_size=12))
def test_no_more_calls_than_the_rates_gave_in_any_time_from_the_start(steps: list[tuple[int, float]]) -> None:
    """Nor, as one call after the other, in the second before it."""
    clock = Clock(0.0)
    pacer, found = Pacer(clock), []
    given_at = [(0.0, 0.0)]
    for rate, seconds in steps:
        pacer.set_rate(float(rate))
        given_at.append((clock.now, float(rate)))
        begin = clock.now
        found += [begin + moment for moment in make(pacer, clock, seconds)]
    for number, moment in enumerate(found, 1):
        assert number <= gave(given_at, 0.0, moment) / WIDER + NEARLY
        recent = sum(moment - SECOND + NEARLY < each <= moment for each in found)
        assert recent <= gave(given_at, moment - SECOND, moment) / SECOND + NEARLY * 60


def gave(rates: list[tuple[float, float]], begin: float, end: float) -> float:
    """What rates that hold from their moments on give between two others."""
    ends = [since for since, _ in rates[1:]] + [float("inf")]
    spans = ((rate, min(end, until) - max(begin, since)) for (since, rate), until in zip(rates, ends, strict=True))
    return sum(rate * span for rate, span in spans if span > 0.0)


# Several.


def test_of_rates_that_add_up_to_a_limit_no_second_holds_more_calls() -> None:
    clock = Clock(0.0)
    pacers = [Pacer(clock, rate) for rate in (27.0, 14.0, 9.0)]
    found = []
    while clock.now < 60.0:
        ready = next((pacer for pacer in pacers if pacer.wait() == 0.0), None)
        if ready is None:
            clock.move(min(pacer.wait() for pacer in pacers))
        else:
            ready.take()
            found.append(clock.now)
    assert fullest(found) <= 50
    assert len(found) / 60.0 >= 0.98 * 50


# A rate that another task gets.


def test_calls_that_are_evenly_spaced_are_one_ahead_at_the_most() -> None:
    clock = Clock()
    pacer = Pacer(clock, 10.0)
    assert pacer.calls_ahead() == 0.0
    make(pacer, clock, 3 * WIDER / 10.0)
    assert pacer.calls_ahead() == pytest.approx(1.0)
    clock.move(0.05)
    assert pacer.calls_ahead() == pytest.approx(0.5)
    clock.move(0.06)
    assert pacer.calls_ahead() == 0.0


def test_calls_that_catch_up_are_as_many_ahead_as_the_pause_had_room_for() -> None:
    clock = Clock()
    pacer = Pacer(clock, 100.0)
    make(pacer, clock, 1.0)
    clock.move(0.2)
    caught_up = len(make(pacer, clock, 0.2))
    assert caught_up > 35
    assert pacer.calls_ahead() == pytest.approx(caught_up - 20, abs=1.0)


@given(
    st.integers(1, 60), st.lists(st.tuples(st.floats(0.01, 1.5), st.floats(0.0, 0.6)), max_size=6), st.floats(0.01, 2.0)
)
def test_who_gets_the_rate_when_it_has_given_the_calls_that_were_made_adds_no_call_to_any_second(
    rate: int, pauses: list[tuple[float, float]], last: float
) -> None:
    clock = Clock(0.0)
    first = Pacer(clock, float(rate))
    moments = []
    for seconds, pause in [*pauses, (last, 0.0)]:
        begin = clock.now
        moments += [begin + moment for moment in make(first, clock, seconds)]
        clock.move(pause)
    clock.move(first.calls_ahead() / rate)
    begin = clock.now
    moments += [begin + moment for moment in make(Pacer(clock, float(rate)), clock, 2.0)]
    assert fullest(moments) <= rate


@given(
    st.integers(2, 60),
    st.floats(0.0, 1.0),
    st.lists(st.tuples(st.floats(0.01, 1.5), st.floats(0.0, 0.6)), min_size=1, max_size=5),
    st.lists(st.tuples(st.floats(0.01, 1.5), st.floats(0.0, 0.6)), max_size=3),
)
def test_who_gets_a_part_of_the_rate_adds_no_call_to_any_second_though_the_first_had_a_pause(
    rate: int, share: float, before: list[tuple[float, float]], after: list[tuple[float, float]]
) -> None:
    """The first hears right after a pause that its rate is lowered: it makes up for the pause no more."""
    low = min(int(share * rate), rate - 1)
    clock = Clock(0.0)
    first = Pacer(clock, float(rate))
    moments = made_in(first, clock, before)
    first.set_rate(float(low))
    other = Clock(clock.now + first.calls_ahead() / rate)
    moments += made_in(first, clock, [*after, (2.0, 0.0)])
    moments += made_in(Pacer(other, float(rate - low)), other, [(2.0, 0.0)])
    assert fullest(sorted(moments)) <= rate


def made_in(pacer: Pacer, clock: Clock, phases: list[tuple[float, float]]) -> list[float]:
    """Make all calls that a pacer allows, with a pause after each phase."""
    moments = []
    for seconds, pause in phases:
        begin = clock.now
        moments += [begin + moment for moment in make(pacer, clock, seconds)]
        clock.move(pause)
    return moments
