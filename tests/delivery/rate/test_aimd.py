"""The rate to aim at: down to what is let through, up again slowly at first, never beyond the limit."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.rate.aimd import AimdRateController
from tests.delivery.clock import Clock

BEAT = 0.1


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def target(clock: Clock) -> AimdRateController:
    return AimdRateController(500.0, clock)


def call(target: AimdRateController, clock: Clock, admitted: int, throttled: int = 0, seconds: float = 1.0) -> None:
    """Have so many calls a second end, told ten times a second."""
    for _ in range(round(seconds / BEAT)):
        clock.move(BEAT)
        target.note(round(admitted * BEAT), round(throttled * BEAT))


def watch(target: AimdRateController, clock: Clock, seconds: float) -> list[float]:
    """Look at the rate ten times a second while nothing ends."""
    rates = []
    for _ in range(round(seconds / BEAT)):
        clock.move(BEAT)
        rates.append(target.rate())
    return rates


# Down.


def test_while_nothing_is_throttled_the_target_is_the_limit(target: AimdRateController, clock: Clock) -> None:
    call(target, clock, 500, seconds=60.0)
    assert (target.rate(), target.why()) == (500.0, "--max-rate")


def test_a_limit_that_is_not_reached_is_still_the_target(target: AimdRateController, clock: Clock) -> None:
    call(target, clock, 20, seconds=60.0)
    assert target.rate() == 500.0


def test_a_first_second_that_is_throttled_takes_the_share_that_was_and_a_hundredth(clock: Clock) -> None:
    target = AimdRateController(500.0, clock)
    clock.move(1.0)
    target.note(300, 200)
    assert target.rate() == pytest.approx(0.99 * 300.0)
    assert target.why() == "throttled at 300/s 0 s ago"
    clock.move(3.0)
    assert target.why() == "throttled at 300/s 3 s ago"


def test_what_ended_longer_than_a_second_ago_counts_no_more(target: AimdRateController, clock: Clock) -> None:
    call(target, clock, 500, seconds=5.0)
    call(target, clock, 500, seconds=0.9)
    clock.move(BEAT)
    target.note(0, 50)  # of the last second's 500, a tenth
    assert target.rate() == pytest.approx(0.99 * 0.9 * 500.0)


def test_of_a_report_that_came_in_a_lump_the_part_counts_that_falls_into_the_second(
    target: AimdRateController, clock: Clock
) -> None:
    clock.move(0.8)
    target.note(400, 0)
    clock.move(0.8)
    target.note(0, 300)  # and of the 400, the last 0.2 s in 0.8: 100
    assert target.rate() == pytest.approx(0.5 * 500.0)  # 100 of 400 are a quarter, but half is the deepest cut


def test_no_cut_takes_more_than_half(target: AimdRateController, clock: Clock) -> None:
    clock.move(1.0)
    target.note(0, 500)
    assert target.rate() == 250.0


def test_a_cut_is_given_time_to_show(target: AimdRateController, clock: Clock) -> None:
    clock.move(1.0)
    target.note(300, 200)
    clock.move(1.2)
    target.note(150, 150)  # were under way already
    assert target.rate() >= 297.0
    clock.move(0.1)
    target.note(15, 15)
    assert target.rate() < 200.0


def test_what_tasks_reach_far_below_the_target_is_too_much_already(clock: Clock) -> None:
    """At a limit of 1000, 100 calls a second of which a tenth is throttled: it comes down to them, half by half."""
    target = AimdRateController(1000.0, clock)
    found = []
    for _ in range(4):
        clock.move(1.3)
        target.note(117, 13)
        found.append(target.rate())
    assert found == [500.0, pytest.approx(254, abs=2), pytest.approx(131, abs=2), pytest.approx(89.1)]
    assert target.why() == "throttled at 90/s 0 s ago"


def test_a_target_is_never_less_than_a_call_a_second(clock: Clock) -> None:
    target = AimdRateController(5.0, clock)
    for _ in range(10):
        clock.move(1.3)
        target.note(0, 5)
    assert target.rate() == pytest.approx(1.0, abs=0.1)


def test_a_limit_of_less_than_a_call_a_second_is_not_passed_for_that(clock: Clock) -> None:
    target = AimdRateController(0.5, clock)
    clock.move(4.0)
    target.note(0, 1)
    assert target.rate() <= 0.5


# Up.


def test_the_target_creeps_up_slowly_after_a_cut_and_faster_the_longer_nothing_is_throttled(
    target: AimdRateController, clock: Clock
) -> None:
    clock.move(1.0)
    target.note(300, 200)
    rates = watch(target, clock, 20.0)
    # 0.4 % of the limit a second, and 0.08 % times the square of the seconds.
    assert rates[9] - 297.0 == pytest.approx(2.0, abs=0.5)
    assert rates[49] - 297.0 == pytest.approx(10.0 + 16.7, abs=1.0)
    assert rates[-1] == 500.0
    assert all(later >= earlier for earlier, later in pairwise(rates))


def test_when_it_is_back_at_the_limit_that_is_where_it_comes_from(target: AimdRateController, clock: Clock) -> None:
    clock.move(1.0)
    target.note(300, 200)
    watch(target, clock, 20.0)
    assert target.why() == "--max-rate"


@given(st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(0, 900), st.integers(0, 900)), max_size=40))
def test_whatever_is_told_the_target_is_of_the_limit_and_more_than_nothing(
    told: list[tuple[float, int, int]],
) -> None:
    clock = Clock()
    target = AimdRateController(300.0, clock)
    for seconds, admitted, throttled in told:
        clock.move(seconds)
        before = target.rate()
        target.note(admitted, throttled)
        assert 1.0 <= target.rate() <= 300.0
        assert target.rate() >= 0.5 * before
        assert target.rate() <= before or not throttled


# A wall.


def test_a_wall_is_found_and_hugged() -> None:
    """A quota of 60 % of the limit, admitting second by second what fits: used to 95 %, throttled below 2 %."""
    clock = Clock()
    target = AimdRateController(500.0, clock)
    made = admitted = 0.0
    for tenth in range(600):
        clock.move(BEAT)
        calls = target.rate() * BEAT
        through = min(calls, 30.0)
        target.note(round(through), round(calls) - round(through))
        if tenth > 100:
            made, admitted = made + calls, admitted + through
    assert admitted / (300.0 * 49.9) >= 0.95
    assert (made - admitted) / made <= 0.02


def test_a_limit_below_one_call_a_second_is_kept_when_throttled_too() -> None:
    clock = Clock()
    target = AimdRateController(0.5, clock)
    clock.move(3.0)
    target.note(0, 1)
    assert target.rate() == 0.5
