"""How many calls a service gets before it is known to take any, and when refusals say more about it than about them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from delivery.call_statistics import CallStatistics
from delivery.control.circuit_breaker import MOST_REFUSED, CircuitBreaker
from delivery.rate.rate_lease import LEASE_SECONDS
from tests.delivery.clock import Clock


class Tasks:
    """Tasks that tell what they called."""

    def __init__(self, *, trusted: bool = False) -> None:
        self.clock = Clock()
        self.breaker = CircuitBreaker(self.clock, trusted=trusted)
        self.calls: dict[str, CallStatistics] = {}

    def tell(self, name: str, *, ready: bool = True, **more: int) -> int | None:
        """Tell of more calls; give how many may have been started, None where any may."""
        calls = self.calls.setdefault(name, CallStatistics())
        for what, count in more.items():
            setattr(calls, what, getattr(calls, what) + count)
        calls.refusedInARow = 0 if "acknowledged" in more else calls.refusedInARow + more.get("refused", 0)
        self.breaker.hear(name, replace(calls), ready=ready)
        limit = self.breaker.grant(name)
        return None if limit is None else limit.calls

    def end(self, name: str, what: str = "answered", calls: int = 1) -> int | None:
        """Tell of calls that started and ended."""
        answered = {} if what == "silent" else {"answered": calls}
        return self.tell(
            name, attempts=calls, ended=calls, **{what: calls} if what not in ("answered", "silent") else {}, **answered
        )


@pytest.fixture
def tasks() -> Tasks:
    return Tasks()


def test_one_task_makes_one_call_before_anybody_else_does(tasks: Tasks) -> None:
    assert [tasks.tell(name) for name in "abc"] == [1, 0, 0]
    assert tasks.breaker.uninformed() == []


def test_who_has_nothing_to_call_is_not_waited_for(tasks: Tasks) -> None:
    assert [tasks.tell("a", ready=False), tasks.tell("b")] == [0, 1]


def test_with_the_first_acknowledgement_all_may_call_and_are_told_at_once(tasks: Tasks) -> None:
    for name in "abc":
        tasks.tell(name)
    assert tasks.end("a", "acknowledged") is None
    assert tasks.breaker.uninformed() == ["b", "c"]
    assert tasks.breaker.grant("b") is None
    assert tasks.breaker.uninformed() == ["c"]


def test_each_answer_lets_one_more_call_start_beside_the_next(tasks: Tasks) -> None:
    granted = tasks.tell("a")
    at_once = []
    for _ in range(5):
        assert granted is not None
        at_once.append(granted - tasks.calls.get("a", CallStatistics()).ended)
        granted = tasks.end("a", "refused", at_once[-1])
    assert at_once == [1, 2, 4, 8, 16]


def test_the_service_counts_as_taking_nothing_after_so_many_refusals_and_no_call_is_granted_beyond(
    tasks: Tasks,
) -> None:
    granted = tasks.tell("a")
    while not tasks.breaker.is_open:
        assert granted is not None
        granted = tasks.end("a", "refused", granted - tasks.calls["a"].ended)
    assert tasks.calls["a"].attempts == MOST_REFUSED


def test_calls_that_fail_are_answers_and_use_up_nothing(tasks: Tasks) -> None:
    granted = tasks.tell("a")
    for _ in range(12):
        assert granted is not None
        granted = tasks.end("a", "answered", granted - tasks.calls["a"].ended)
    assert granted is not None
    assert granted - tasks.calls["a"].ended == MOST_REFUSED


def test_while_nobody_answers_calls_are_made_ever_more_rarely(tasks: Tasks) -> None:
    granted, at = tasks.tell("a"), []
    for _ in range(200):
        if granted != tasks.calls.setdefault("a", CallStatistics()).attempts:
            at.append(round(tasks.clock.now - 100.0, 1))
            tasks.end("a", "silent")
        tasks.clock.move(0.1)
        granted = tasks.tell("a")
    pauses = [after - before for before, after in pairwise(at)]
    assert pauses == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0], abs=0.21)  # they are granted as tasks ask


def test_a_call_that_hangs_holds_the_others_up_for_a_second(tasks: Tasks) -> None:
    tasks.tell("a")
    tasks.tell("a", ready=False, attempts=1)
    tasks.clock.move(0.9)
    assert tasks.tell("b") == 0
    tasks.clock.move(0.1)
    assert tasks.breaker.uninformed() == ["b"]
    assert tasks.tell("b") == 1


def test_what_a_task_was_granted_that_is_silent_is_free_when_its_time_is_over(tasks: Tasks) -> None:
    tasks.tell("a")
    tasks.clock.move(LEASE_SECONDS)
    assert tasks.tell("b") == 1


def test_what_a_task_was_granted_that_may_not_call_any_more_is_free_at_once(tasks: Tasks) -> None:
    assert [tasks.tell("a"), tasks.tell("b")] == [1, 0]
    tasks.breaker.grant("a", may_call=False)
    assert tasks.tell("b") == 1


def test_a_call_that_it_had_started_by_then_counts(tasks: Tasks) -> None:
    assert [tasks.tell("a"), tasks.tell("b")] == [1, 0]
    tasks.breaker.grant("a", may_call=False)
    tasks.tell("a", attempts=1, ready=False)
    assert tasks.tell("b") == 0


def test_what_a_task_was_granted_that_leaves_is_free_at_once(tasks: Tasks) -> None:
    tasks.tell("a")
    tasks.breaker.leave("a")
    assert tasks.tell("b") == 1


def test_refusals_in_a_row_of_all_tasks_bring_the_limit_back_and_an_acknowledgement_ends_it(tasks: Tasks) -> None:
    tasks.tell("b")
    assert tasks.end("a", "acknowledged", 100) is None
    tasks.breaker.grant("b")
    assert tasks.end("a", "refused", 10) is None
    assert tasks.end("b", "refused", 9) is None
    assert tasks.breaker.uninformed() == []
    assert tasks.end("b", "refused") == 11
    assert tasks.breaker.uninformed() == ["a"]
    assert tasks.end("b", "acknowledged") is None


def test_an_acknowledgement_of_long_ago_is_no_news(tasks: Tasks) -> None:
    tasks.tell("late")
    tasks.end("a", "acknowledged")
    tasks.end("a", "refused", 30)
    tasks.clock.move(1.5)
    assert tasks.end("late", "acknowledged") is not None, "it may have ended before the refusals"
    tasks.clock.move(0.5)
    assert tasks.end("late", "acknowledged") is None


def test_who_says_that_the_service_works_needs_one_answer_alone() -> None:
    tasks = Tasks(trusted=True)
    assert tasks.tell("a") == 1
    assert tasks.end("a", "refused", 1) is None
    tasks.end("a", "refused", 10 * MOST_REFUSED)
    assert not tasks.breaker.is_open


def test_once_something_was_refused_single_events_are_called(tasks: Tasks) -> None:
    tasks.tell("a")
    assert not tasks.breaker.grant("a").singly  # type: ignore[union-attr]
    tasks.end("a", "answered")
    assert not tasks.breaker.grant("a").singly  # type: ignore[union-attr]
    tasks.end("a", "refused")
    assert tasks.breaker.grant("a").singly  # type: ignore[union-attr]
