"""A task whose machine was suspended, and its clock with it: its lease has ended, whatever the clock says."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from delivery import task as task_module
from delivery.control.dispatcher import Dispatcher
from delivery.control.task_session import TaskSession
from delivery.model import OutcomeRow
from delivery.rate.aimd import AimdRateController
from delivery.rate.rate_lease import RateLease
from tests.delivery.clock import Clock
from tests.delivery.control.test_task_session import Sender

LIMIT = 90.0


class Attempt:
    """An attempt whose clock is its own; messages take no time, unless a test holds them up."""

    def __init__(self, name: str, dispatcher: Dispatcher) -> None:
        self.name = name
        self.clock = Clock()
        self.rate_lease = RateLease(self.clock)
        self.sender = Sender(in_flight=0)
        self.talk = TaskSession(self.rate_lease, self.sender, self.clock)  # type: ignore[arg-type]
        self.dispatcher = dispatcher
        dispatcher.add_attempt(name, 0)

    def ask(self) -> dict[str, Any]:
        question = self.talk.make_question()
        return {**self.dispatcher.handle_message(self.name, question), "to": question["number"]}

    def converse(self, times: int = 1) -> None:
        for _ in range(times):
            self.talk.apply_answer(self.ask())

    def report(self, number: int) -> None:
        row: OutcomeRow = {"requestId": f"{number:064x}", "status": "delivered", "eventIds": [f"e{number}"]}
        self.talk.report(row)


@pytest.fixture
def driver() -> tuple[Dispatcher, Clock]:
    clock = Clock()
    return Dispatcher(AimdRateController(LIMIT, clock), clock), clock


def test_the_first_word_after_the_pause_takes_the_part_from_a_task_that_lost_it_meanwhile(
    driver: tuple[Dispatcher, Clock],
) -> None:
    dispatcher, clock = driver
    suspended = Attempt("suspended", dispatcher)
    suspended.converse(3)
    assert (suspended.rate_lease.is_owned, suspended.rate_lease.rate) == (True, LIMIT)
    other = Attempt("other", dispatcher)
    clock.move(60.0)  # its own clock has stood still
    other.converse(2)
    assert (other.rate_lease.is_owned, other.rate_lease.rate) == (True, LIMIT)
    suspended.converse()
    assert (suspended.rate_lease.is_owned, suspended.rate_lease.rate) == (False, 0.0)


def test_an_answer_from_before_the_pause_gives_nothing_after_it_and_the_next_one_says_what_others_did(
    driver: tuple[Dispatcher, Clock],
) -> None:
    dispatcher, clock = driver
    suspended = Attempt("suspended", dispatcher)
    suspended.converse(3)
    before = suspended.ask()
    clock.move(60.0)
    suspended.clock.move(60.0)  # it goes on while the machine is suspended
    suspended.talk.apply_answer(before)
    assert (suspended.rate_lease.is_owned, suspended.rate_lease.wait()) == (False, float("inf"))
    other = Attempt("other", dispatcher)
    other.converse(2)
    other.report(7)
    other.converse()
    other.talk.leave(complete=False)
    other.converse()
    suspended.converse(2)
    assert (suspended.rate_lease.is_owned, suspended.rate_lease.rate) == (True, LIMIT)
    assert suspended.rate_lease.done.has(f"{7:064x}")


def test_where_the_clock_stood_still_the_drivers_word_ends_the_lease(driver: tuple[Dispatcher, Clock]) -> None:
    """It hung up when it had heard nothing for long: that is its answer to the first word after the pause."""
    dispatcher, clock = driver
    suspended = Attempt("suspended", dispatcher)
    suspended.converse(3)
    clock.move(60.0)
    assert suspended.rate_lease.is_owned
    suspended.talk.handle_hang_up()
    assert (suspended.rate_lease.is_owned, suspended.rate_lease.wait()) == (False, float("inf"))


def test_leases_are_counted_by_a_clock_that_goes_on_while_the_machine_is_suspended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Linux's does not stand still under the name of boot time, macOS's under that of monotonic."""
    awake = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC"}[sys.platform]
    asked: list[int] = []
    monkeypatch.setattr(time, "clock_gettime", lambda clock: asked.append(clock) or 7.0)
    assert (task_module.uptime_seconds(), asked) == (7.0, [getattr(time, awake)])
