"""What a task may do: nothing before the driver has said so, its lease while it holds, nothing again."""

import pytest

from delivery.rate.rate_lease import LEASE_SECONDS, CallLimit, RateLease
from tests.delivery.clock import Clock

NEVER = float("inf")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rate_lease(clock: Clock) -> RateLease:
    return RateLease(clock)


def calls(rate_lease: RateLease, clock: Clock, seconds: float) -> int:
    """Call whenever one may, looking a thousand times a second."""
    made = 0
    for _ in range(round(seconds * 1000)):
        clock.move(0.001)
        if rate_lease.wait() == 0.0:
            rate_lease.take()
            made += 1
    return made


# Before.


def test_nothing_may_start_before_the_driver_has_said_so(rate_lease: RateLease, clock: Clock) -> None:
    assert (rate_lease.wait(), rate_lease.is_owned, rate_lease.rate) == (NEVER, False, 0.0)
    assert calls(rate_lease, clock, 3.0) == 0


def test_an_answer_to_no_question_gives_nothing(rate_lease: RateLease, clock: Clock) -> None:
    rate_lease.grant(100.0, owns=True, asked=None)
    assert (rate_lease.wait(), rate_lease.is_owned) == (NEVER, False)


def test_a_lease_of_a_part_that_is_another_attempts_gives_nothing(rate_lease: RateLease, clock: Clock) -> None:
    rate_lease.grant(100.0, owns=False, asked=clock.now)
    assert calls(rate_lease, clock, 3.0) == 0


# While the lease holds.


def test_calls_pass_at_the_rate_of_the_lease(rate_lease: RateLease, clock: Clock) -> None:
    rate_lease.grant(100.0, owns=True, asked=clock.now)
    assert calls(rate_lease, clock, 0.9) == pytest.approx(90, abs=5)


def test_a_lease_that_is_renewed_in_time_goes_on(rate_lease: RateLease, clock: Clock) -> None:
    made = 0
    for _ in range(50):
        rate_lease.grant(100.0, owns=True, asked=clock.now)
        made += calls(rate_lease, clock, 0.2)
    assert made == pytest.approx(1000, rel=0.05)


def test_a_lease_holds_from_the_question_on_not_from_the_answer(rate_lease: RateLease, clock: Clock) -> None:
    rate_lease.grant(100.0, owns=True, asked=clock.now - 0.7)
    assert rate_lease.rate == 100.0
    clock.move(LEASE_SECONDS - 0.7)
    assert (rate_lease.rate, rate_lease.is_owned) == (0.0, False)


def test_word_without_a_question_changes_the_rate_and_not_how_long_it_holds(
    rate_lease: RateLease, clock: Clock
) -> None:
    rate_lease.grant(50.0, owns=True, asked=clock.now)
    clock.move(0.5)
    rate_lease.grant(100.0, owns=True, asked=None)
    assert rate_lease.rate == 100.0
    clock.move(LEASE_SECONDS - 0.5)
    assert (rate_lease.rate, rate_lease.is_owned) == (0.0, False)


def test_word_that_comes_when_the_lease_has_ended_revives_nothing(rate_lease: RateLease, clock: Clock) -> None:
    rate_lease.grant(50.0, owns=True, asked=clock.now)
    clock.move(LEASE_SECONDS)
    rate_lease.grant(100.0, owns=True, asked=None)
    assert calls(rate_lease, clock, 1.0) == 0


def test_an_answer_that_comes_when_its_lease_has_ended_gives_nothing(rate_lease: RateLease, clock: Clock) -> None:
    rate_lease.grant(50.0, owns=True, asked=clock.now - LEASE_SECONDS)
    assert (rate_lease.is_owned, rate_lease.rate, calls(rate_lease, clock, 1.0)) == (False, 0.0, 0)


def test_calls_that_are_due_are_those_earned_and_granted(rate_lease: RateLease, clock: Clock) -> None:
    assert rate_lease.due() == 0
    rate_lease.grant(100.0, owns=True, asked=clock.now)
    clock.move(0.1)
    assert rate_lease.due() == 9
    rate_lease.restrict(CallLimit(3, singly=False))
    assert rate_lease.due() == 3
    rate_lease.take()
    clock.move(0.1)
    assert rate_lease.due() == 2
    rate_lease.stopped = True
    assert rate_lease.due() == 0


def test_who_has_to_stop_stops_at_once(rate_lease: RateLease, clock: Clock) -> None:
    rate_lease.grant(100.0, owns=True, asked=clock.now)
    calls(rate_lease, clock, 0.5)
    rate_lease.stopped = True
    assert rate_lease.wait() == NEVER


@pytest.mark.parametrize("answered", [True, False])
def test_a_part_that_is_anothers_now_is_not_sent_on(rate_lease: RateLease, clock: Clock, answered: bool) -> None:
    rate_lease.grant(100.0, owns=True, asked=clock.now)
    calls(rate_lease, clock, 0.5)
    rate_lease.grant(0.0, owns=False, asked=clock.now if answered else None)
    assert (rate_lease.is_owned, calls(rate_lease, clock, 5.0)) == (False, 0)


def test_a_part_that_comes_back_is_sent_on(rate_lease: RateLease, clock: Clock) -> None:
    rate_lease.grant(0.0, owns=False, asked=clock.now)
    clock.move(60.0)
    rate_lease.grant(100.0, owns=True, asked=clock.now)
    assert calls(rate_lease, clock, 0.9) == pytest.approx(90, abs=5)


# When the driver is not heard any more.


def test_without_a_word_calls_go_on_until_the_lease_ends(rate_lease: RateLease, clock: Clock) -> None:
    rate_lease.grant(100.0, owns=True, asked=clock.now)
    assert calls(rate_lease, clock, LEASE_SECONDS) == pytest.approx(98 * LEASE_SECONDS, abs=4)
    assert calls(rate_lease, clock, 60.0) == 0


def test_a_lease_of_nothing_stays_nothing(rate_lease: RateLease, clock: Clock) -> None:
    rate_lease.grant(0.0, owns=True, asked=clock.now)
    assert calls(rate_lease, clock, LEASE_SECONDS) == 0


def test_who_slept_through_the_end_of_its_lease_makes_up_for_none_of_it(rate_lease: RateLease, clock: Clock) -> None:
    rate_lease.grant(500.0, owns=True, asked=clock.now)
    calls(rate_lease, clock, 0.9)
    clock.move(60.0)
    assert calls(rate_lease, clock, 1.0) == 0
    rate_lease.grant(20.0, owns=True, asked=clock.now)
    assert calls(rate_lease, clock, 0.5) <= 10
