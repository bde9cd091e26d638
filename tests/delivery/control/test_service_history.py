"""Whole deliveries in virtual time to services that take nothing, from the start or from a time on; tasks die too."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest

from delivery.control.circuit_breaker import MOST_REFUSED
from delivery.model import Request, Response
from tests.delivery.simulation import DELIVERED, Delivery, Service, Task, fullest_second
from tests.delivery.virtual import run

REFUSED = Response(400, "InvalidInputException", "invalid")
UNAVAILABLE = Response(503, "ServiceUnavailable", "later")
MOST = 200
LATENCY = 0.05
LIMIT = 500.0
SLOWEST = 0.4
"""Seconds of a call."""


class Judge:
    """Refuses bad requests, and from a time on all."""

    def __init__(self, bad_share: float = 0.0, ends_at: float = float("inf")) -> None:
        self._bad_share = bad_share
        self._ends_at = ends_at
        self.refused_after_the_end = 0
        self.bad: set[str] = set()
        self.taken: set[str] = set()

    def __call__(self, now: float, request: Request) -> Response:
        if int(request.requestId[:8], 16) < self._bad_share * 16**8:
            self.bad.add(request.requestId)
            self.refused_after_the_end += now >= self._ends_at
            return REFUSED
        if now >= self._ends_at:
            self.refused_after_the_end += 1
            return REFUSED
        self.taken.add(request.requestId)
        return DELIVERED


def refused(delivery: Delivery) -> set[str]:
    return {row["requestId"] for row in delivery.kept if row["status"] == "refused"}


async def send(judge: Judge, sizes: list[int], slots: int, limit: float = 500.0, latency: float = LATENCY) -> Delivery:
    delivery = Delivery(limit, slots, Service(answer=judge, latency=lambda _part: latency))
    await delivery.send(sizes)
    return delivery


@pytest.mark.parametrize("slots", [1, 4, 32])
@pytest.mark.parametrize("latency", [0.002, 0.05, 2.0])
@pytest.mark.parametrize("limit", [20.0, 1_000.0])
def test_a_service_that_takes_nothing_gets_few_calls_whoever_makes_them(
    slots: int, latency: float, limit: float
) -> None:
    judge = Judge(ends_at=0.0)
    delivery = run(send(judge, [400] * slots, slots, limit, latency))
    assert len(delivery.starts) == judge.refused_after_the_end == MOST_REFUSED
    assert (delivery.kept, delivery.dispatcher.ending) == ([], Response(400, "InvalidInputException", "invalid"))


@pytest.mark.parametrize("slots", [1, 4, 32])
@pytest.mark.parametrize("bad_share", [0.0, 0.1])
def test_one_that_takes_nothing_any_more_gets_few_calls_and_nothing_good_is_marked(
    slots: int, bad_share: float
) -> None:
    judge = Judge(bad_share, ends_at=3.0)
    delivery = run(send(judge, [8_000 // slots] * slots, slots))
    assert judge.refused_after_the_end <= MOST
    assert refused(delivery) <= judge.bad
    assert {row["requestId"] for row in delivery.kept if row["status"] == "delivered"} == judge.taken
    assert delivery.dispatcher.ending is not None


@pytest.mark.parametrize("slots", [1, 4, 32])
@pytest.mark.parametrize("bad_share", [0.05, 0.6])
def test_bad_requests_among_good_ones_are_all_found(slots: int, bad_share: float) -> None:
    judge = Judge(bad_share)
    delivery = run(send(judge, [3_200 // slots] * slots, slots))
    assert refused(delivery) == judge.bad
    assert len(delivery.kept) == len(delivery.starts) == 3_200 // slots * slots
    assert delivery.dispatcher.ending is None


@pytest.mark.parametrize("slots", [1, 4])
def test_the_first_call_is_alone_and_costs_its_latency_and_no_more(slots: int) -> None:
    delivery = run(send(Judge(), [200 // slots] * slots, slots))
    first, second = delivery.starts[:2]
    assert second - first >= LATENCY
    assert delivery.starts[-1] - first < LATENCY + 200 / 500 + 0.35
    assert fullest_second(delivery.starts) <= 500


async def with_deaths(judge: Judge, seed: int) -> Delivery:
    """Send five parts while lines break and tasks die, each followed by another attempt, as Spark has it."""
    chance = random.Random(seed)
    delivery = Delivery(LIMIT, 5, Service(answer=judge, latency=lambda _part: chance.choice([0.01, 0.05, SLOWEST])))
    lives: dict[int, asyncio.Task[None]] = {}
    tasks: dict[int, Task] = {}
    loop = asyncio.get_running_loop()

    def start(part: int) -> None:
        tasks[part] = Task(delivery, part, 600)
        lives[part] = loop.create_task(tasks[part].live())

    for part in range(5):
        start(part)
    for _ in range(chance.randrange(12)):
        await asyncio.sleep(chance.random())
        part = chance.randrange(5)
        if not lives[part].done() and chance.random() < 0.7:
            lives[part].cancel()
            tasks[part].cut(noticed_after=chance.choice([0.0, 1.5]))
            delivery.keep()
            start(part)
        delivery.keep()
    for _ in range(600):
        await asyncio.sleep(0.1)
        delivery.keep()
        if all(life.done() for life in lives.values()):
            break
    delivery.dispatcher.conclude()
    delivery.keep()
    return delivery


@pytest.mark.parametrize("seed", range(12))
def test_whoever_dies_meanwhile_what_is_marked_is_bad_and_a_service_that_takes_nothing_is_found(seed: int) -> None:
    ends_at = random.Random(seed).choice([0.0, 0.7, 2.0, 4.0])
    judge = Judge(0.1, ends_at)
    delivery = run(with_deaths(judge, seed))
    assert refused(delivery) <= judge.bad
    assert judge.refused_after_the_end <= MOST_REFUSED + LIMIT * SLOWEST, "those in flight at the end come on top"
    assert delivery.dispatcher.ending is not None


@pytest.mark.parametrize("seed", range(10))
def test_whoever_dies_meanwhile_all_that_is_bad_is_found(seed: int) -> None:
    judge = Judge(0.1)
    delivery = run(with_deaths(judge, seed))
    assert (refused(delivery), delivery.dispatcher.ending) == (judge.bad, None)


# Outages.


class Outage:
    """Takes everything but from one time to another, and but for some bad requests, which never get an answer."""

    def __init__(self, begin: float, end: float, bad: int = 0) -> None:
        self._begin, self._end = begin, end
        self._left = bad
        self.bad: set[str] = set()
        self.failed: list[float] = []

    def __call__(self, now: float, request: Request) -> Response:
        if self._left and request.requestId not in self.bad:
            self._left -= 1
            self.bad.add(request.requestId)
        if request.requestId in self.bad or self._begin <= now < self._end:
            self.failed.append(now)
            return UNAVAILABLE
        return DELIVERED


async def through(outage: Outage, sizes: list[int]) -> Delivery:
    delivery = Delivery(500.0, len(sizes), Service(answer=outage))
    await delivery.send(sizes)
    return delivery


def sending(outage: Outage, *sizes: int) -> Delivery:
    work: Coroutine[Any, Any, Delivery] = through(outage, list(sizes))
    return run(work)


@pytest.mark.parametrize("begin", [0.0, 0.4])
@pytest.mark.parametrize("sizes", [(150,), (80, 80), (200, 5, 5)])
def test_an_outage_that_passes_marks_nothing(begin: float, sizes: tuple[int, ...]) -> None:
    delivery = sending(Outage(begin, 60.0), *sizes)
    assert (refused(delivery), len(delivery.kept), delivery.dispatcher.ending) == (set(), sum(sizes), None)


@pytest.mark.parametrize("begin", [0.0, 0.4])
@pytest.mark.parametrize("sizes", [(150,), (80, 80), (200, 5, 5)])
def test_an_outage_that_does_not_ends_the_delivery_and_marks_nothing(begin: float, sizes: tuple[int, ...]) -> None:
    delivery = sending(Outage(begin, float("inf")), *sizes)
    assert (refused(delivery), delivery.dispatcher.ending) == (set(), Response(503, "ServiceUnavailable"))


@pytest.mark.parametrize("bad", [1, 20])
@pytest.mark.parametrize("sizes", [(400,), (300, 300), (40, 1, 1)])
def test_requests_that_never_get_an_answer_are_found_in_bounded_time(bad: int, sizes: tuple[int, ...]) -> None:
    outage = Outage(0.0, 0.0, bad)
    delivery = sending(outage, *sizes)
    assert (refused(delivery), delivery.dispatcher.ending) == (outage.bad, None)
    assert {row["errorCode"] for row in delivery.kept if row["status"] == "refused"} == {"unanswered"}
    assert outage.failed[-1] < 60.0
    assert all(after >= before for before, after in pairwise(outage.failed))
