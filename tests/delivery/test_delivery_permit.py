"""What a task may do: nothing before the driver has said so, its lease, its static rate for a while, nothing again."""

import pytest

from delivery.budget.permit import GRACE, TERM, Permit
from tests.delivery.clock import Clock

STATIC = 10.0
NEVER = float("inf")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def permit(clock: Clock) -> Permit:
    return Permit(clock, STATIC)


def calls(permit: Permit, clock: Clock, seconds: float) -> int:
    """Call whenever one may, looking a thousand times a second."""
    made = 0
    for _ in range(round(seconds * 1000)):
        clock.move(0.001)
        if permit.wait() == 0.0:
            permit.take()
            made += 1
    return made


# Before.


def test_nothing_may_start_before_the_driver_has_said_so(permit: Permit, clock: Clock) -> None:
    assert (permit.wait(), permit.owned, permit.rate) == (NEVER, False, 0.0)
    assert calls(permit, clock, 3.0) == 0


def test_an_answer_to_no_question_gives_nothing(permit: Permit, clock: Clock) -> None:
    permit.grant(100.0, owns=True, asked=None)
    assert (permit.wait(), permit.owned) == (NEVER, False)


def test_a_lease_of_a_part_that_is_another_attempts_gives_nothing(permit: Permit, clock: Clock) -> None:
    permit.grant(100.0, owns=False, asked=clock.now)
    assert calls(permit, clock, 3.0) == 0


# While the lease holds.


def test_calls_pass_at_the_rate_of_the_lease(permit: Permit, clock: Clock) -> None:
    permit.grant(100.0, owns=True, asked=clock.now)
    assert calls(permit, clock, 0.9) == pytest.approx(90, abs=5)


def test_a_lease_that_is_renewed_in_time_goes_on(permit: Permit, clock: Clock) -> None:
    made = 0
    for _ in range(50):
        permit.grant(100.0, owns=True, asked=clock.now)
        made += calls(permit, clock, 0.2)
    assert made == pytest.approx(1000, rel=0.05)


def test_a_lease_holds_from_the_question_on_not_from_the_answer(permit: Permit, clock: Clock) -> None:
    permit.grant(100.0, owns=True, asked=clock.now - 0.7)
    assert permit.rate == 100.0
    clock.move(TERM - 0.7)
    assert permit.rate == STATIC


def test_word_without_a_question_changes_the_rate_and_not_how_long_it_holds(permit: Permit, clock: Clock) -> None:
    permit.grant(50.0, owns=True, asked=clock.now)
    clock.move(0.5)
    permit.grant(100.0, owns=True, asked=None)
    assert permit.rate == 100.0
    clock.move(TERM - 0.5)
    assert permit.rate == STATIC
    clock.move(GRACE - TERM)
    assert not permit.owned


def test_word_that_comes_when_the_lease_has_ended_revives_nothing(permit: Permit, clock: Clock) -> None:
    permit.grant(50.0, owns=True, asked=clock.now)
    clock.move(TERM)
    permit.grant(100.0, owns=True, asked=None)
    assert permit.rate == STATIC


def test_who_has_to_stop_stops_at_once(permit: Permit, clock: Clock) -> None:
    permit.grant(100.0, owns=True, asked=clock.now)
    calls(permit, clock, 0.5)
    permit.stopped = True
    assert permit.wait() == NEVER


@pytest.mark.parametrize("answered", [True, False])
def test_a_part_that_is_anothers_now_is_not_sent_on(permit: Permit, clock: Clock, answered: bool) -> None:
    permit.grant(100.0, owns=True, asked=clock.now)
    calls(permit, clock, 0.5)
    permit.grant(0.0, owns=False, asked=clock.now if answered else None)
    assert (permit.owned, calls(permit, clock, 5.0)) == (False, 0)


def test_a_part_that_comes_back_is_sent_on(permit: Permit, clock: Clock) -> None:
    permit.grant(0.0, owns=False, asked=clock.now)
    clock.move(60.0)
    permit.grant(100.0, owns=True, asked=clock.now)
    assert calls(permit, clock, 0.9) == pytest.approx(90, abs=5)


# When the driver is not heard any more.


def test_without_a_word_calls_go_on_at_the_static_rate_until_the_part_may_be_anothers(
    permit: Permit, clock: Clock
) -> None:
    permit.grant(100.0, owns=True, asked=clock.now)
    assert calls(permit, clock, TERM) == pytest.approx(98, abs=3)
    assert calls(permit, clock, GRACE - TERM) == pytest.approx(STATIC * (GRACE - TERM), abs=3)
    assert calls(permit, clock, 60.0) == 0


def test_a_lease_of_less_than_the_static_rate_does_not_grow_by_its_end(permit: Permit, clock: Clock) -> None:
    permit.grant(4.0, owns=True, asked=clock.now)
    assert calls(permit, clock, GRACE) == pytest.approx(4 * GRACE, abs=2)


def test_a_lease_of_nothing_stays_nothing(permit: Permit, clock: Clock) -> None:
    permit.grant(0.0, owns=True, asked=clock.now)
    assert calls(permit, clock, GRACE) == 0


def test_a_static_rate_is_whole_calls_if_it_is_a_call_at_all(clock: Clock) -> None:
    for static_rate, expected in ((166.7, 166.0), (1.9, 1.0), (0.6, 0.6)):
        permit = Permit(clock, static_rate)
        permit.grant(500.0, owns=True, asked=clock.now - TERM)
        assert permit.rate == expected


def test_who_slept_through_the_end_of_its_lease_makes_up_for_none_of_it(permit: Permit, clock: Clock) -> None:
    permit.grant(500.0, owns=True, asked=clock.now)
    calls(permit, clock, 0.9)
    clock.move(GRACE - 1.0)
    assert calls(permit, clock, 0.1) <= 3  # of the static rate; others have had the lease meanwhile


def test_who_slept_through_the_end_of_its_lease_has_a_second_of_the_static_rate_like_any_other(clock: Clock) -> None:
    permit = Permit(clock, 250.0)
    permit.grant(500.0, owns=True, asked=clock.now)
    calls(permit, clock, 0.7)
    clock.move(TERM + 0.3)
    assert calls(permit, clock, 1.0) <= 250


def test_who_slept_through_the_end_of_its_time_makes_up_for_none_of_it(permit: Permit, clock: Clock) -> None:
    permit.grant(500.0, owns=True, asked=clock.now)
    calls(permit, clock, 0.9)
    clock.move(60.0)
    permit.grant(20.0, owns=True, asked=clock.now)
    assert calls(permit, clock, 0.5) <= 10


def test_who_waited_long_for_less_has_had_less_since_it_asked(permit: Permit, clock: Clock) -> None:
    """While the answer was under way the process slept, and what was taken from it was somebody else's."""
    permit.grant(500.0, owns=True, asked=clock.now)
    calls(permit, clock, 0.4)
    asked = clock.now
    clock.move(0.2)
    permit.grant(300.0, owns=True, asked=asked)
    assert calls(permit, clock, 0.5) <= (0.2 + 0.5) * 300
