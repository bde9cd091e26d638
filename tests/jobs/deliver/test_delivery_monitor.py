"""The driver's part of a delivery beside a job that stands in for Spark's: when it is cancelled, what is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from delivery.control.dispatcher import Dispatcher
from delivery.control.server import ControlServer, serving_tasks
from delivery.rate.aimd import AimdRateController
from jobs.deliver.delivery_monitor import DeliveryMonitor, DeliveryResult, MonitorHooks, UnreportedRow
from jobs.errors import UnfinishedError
from tests.delivery.control.questions import question

Row = dict[str, Any]


class WaitingJob:
    """A job that waits for executors until it is cancelled, or for so many seconds.

    Attributes:
        cancelled_at: when it was cancelled first, by the monotonic clock.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._over = threading.Event()
        self.cancelled_at: float | None = None

    def run(self) -> list[UnreportedRow]:
        if self._over.wait(self._seconds):
            raise RuntimeError("Job 7 cancelled part of cancelled job group put-events-1")
        return []

    def cancel(self) -> None:
        self.cancelled_at = self.cancelled_at or time.monotonic()
        self._over.set()
        raise ConnectionError("the JVM is busy")  # what becomes of it is told by the job


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.deliver.delivery_monitor._IDLE_SECONDS", 0.6)
    monkeypatch.setattr("jobs.deliver.delivery_monitor._END_SECONDS", 2.0)
    monkeypatch.setattr("jobs.deliver.delivery_monitor._FINAL_REPORT_SECONDS", 0.2)


@pytest.fixture
def driver() -> Iterator[tuple[Dispatcher, ControlServer]]:
    dispatcher = Dispatcher(AimdRateController(100.0))
    with serving_tasks(dispatcher, "127.0.0.1", "127.0.0.1", 0) as (server, _):
        yield dispatcher, server


def attend(driver: tuple[Dispatcher, ControlServer], job: WaitingJob, **watch: Any) -> DeliveryResult:
    hooks: dict[str, Any] = {"keep": lambda _: None, "check": lambda: None, "end_requested": threading.Event(), **watch}
    return DeliveryMonitor(*driver, MonitorHooks(**hooks)).watch(job)


def asked_after(seconds: float) -> threading.Event:
    asked = threading.Event()
    threading.Timer(seconds, asked.set).start()
    return asked


def test_a_job_that_nobody_asks_to_end_is_left_alone(driver: tuple[Dispatcher, ControlServer]) -> None:
    job = WaitingJob(2.0)
    sent = attend(driver, job)
    assert job.cancelled_at is None and sent.failure is None and sent.error is None


def test_a_job_that_waits_for_executors_is_cancelled_after_a_grace(driver: tuple[Dispatcher, ControlServer]) -> None:
    job, started = WaitingJob(), time.monotonic()
    sent = attend(driver, job, end_requested=asked_after(0.5))
    assert job.cancelled_at is not None and job.cancelled_at - started >= 1.0
    assert isinstance(sent.failure, RuntimeError) and sent.error is None


def test_a_job_that_ends_within_the_grace_is_not_cancelled(
    driver: tuple[Dispatcher, ControlServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.deliver.delivery_monitor._IDLE_SECONDS", 60.0)
    monkeypatch.setattr("jobs.deliver.delivery_monitor._END_SECONDS", 60.0)
    job = WaitingJob(0.9)
    sent = attend(driver, job, end_requested=asked_after(0.6))
    assert job.cancelled_at is None and sent.failure is None


def test_a_lost_lock_ends_it_too(driver: tuple[Dispatcher, ControlServer]) -> None:
    def check() -> None:
        raise UnfinishedError("another run has it")

    job = WaitingJob()
    sent = attend(driver, job, check=check)
    assert job.cancelled_at is not None and str(sent.error) == "another run has it"


def test_tasks_that_go_on_telling_something_are_not_waited_for_for_ever(
    driver: tuple[Dispatcher, ControlServer],
) -> None:
    dispatcher, server = driver
    server.call(lambda: dispatcher.add_attempt("attempt", 0))
    over = threading.Event()

    def talk() -> None:
        number = 0
        while not over.wait(0.1):
            number += 1
            server.call(partial(dispatcher.handle_message, "attempt", question(number=number)))

    thread = threading.Thread(target=talk)
    thread.start()
    job, started = WaitingJob(), time.monotonic()
    try:
        attend(driver, job, end_requested=asked_after(0.0))
    finally:
        over.set()
        thread.join()
    assert job.cancelled_at is not None and job.cancelled_at - started >= 1.8


def outcome(number: int, status: str = "delivered") -> Row:
    return {
        "requestId": f"{number:064x}",
        "userId": None,
        "sessionId": "s",
        "eventIds": [f"{number}-a", f"{number}-b"],
        "status": status,
        "httpStatus": 200,
        "errorCode": None,
        "errorMessage": None,
        "attempts": 1,
        "awsRequestId": "r",
        "startedAt": 1_704_067_200_000_000,
        "latencyMs": 5,
    }


@pytest.mark.parametrize("failing", ["check", "show", "on_calls", "on_receipts"])
def test_whatever_fails_beside_it_the_receipts_are_kept(driver: tuple[Dispatcher, ControlServer], failing: str) -> None:
    dispatcher, server = driver
    server.call(lambda: dispatcher.add_attempt("attempt", 0))
    for number in range(5):
        server.call(lambda number=number: dispatcher.accept("attempt", number, outcome(number)))
    kept: list[Row] = []

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    viewer: Callable[..., None] | tuple[Callable[..., None], ...] = (fail,) if failing == "show" else fail
    sent = attend(driver, WaitingJob(1.5), keep=kept.extend, **{failing: viewer})
    assert [row["requestId"] for row in kept] == [outcome(number)["requestId"] for number in range(5)]
    assert sent.events_by_status == {"delivered": 10}
    assert (sent.error is None) == (failing != "check")


def test_receipts_that_could_not_be_kept_are_counted_when_they_are(driver: tuple[Dispatcher, ControlServer]) -> None:
    dispatcher, server = driver
    server.call(lambda: dispatcher.add_attempt("attempt", 0))
    server.call(lambda: dispatcher.accept("attempt", 0, outcome(0)))
    refusals, kept, told = iter([OSError("no"), OSError("no")]), [], []

    def keep(rows: list[Row]) -> None:
        for error in refusals:
            raise error
        kept.extend(rows)

    sent = attend(driver, WaitingJob(1.5), keep=keep, on_receipts=told.extend)
    assert len(kept) == len(told) == 1 and sent.events_by_status == {"delivered": 2}
