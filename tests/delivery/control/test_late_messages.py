"""Whole deliveries whose messages are late: no second above the limit, and the limit is used where it can be."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.delivery.simulation import WAY, Delivery, Task, between, fullest_second
from tests.delivery.virtual import run

LIMIT = 200.0
"""Calls a second. What is shown are shares of it and times, so a small one shows the same in few steps."""


def steady(seconds: float) -> Callable[[], float]:
    """Have each message take so long."""
    return lambda: seconds


def packets_lost(seconds: float, share: float, seed: int) -> Callable[[], float]:
    """Have some messages take so much longer, and with them those behind."""
    chance = random.Random(seed)
    return lambda: WAY + (seconds if chance.random() < share else 0.0)


async def watched(tasks: int, way: Callable[[], float], seconds: float) -> Delivery:
    """Send for so long; all tasks have work."""
    delivery = Delivery(LIMIT, tasks, way=way)
    sending = asyncio.create_task(delivery.send([3_000] * tasks))
    await asyncio.sleep(seconds)
    sending.cancel()
    return delivery


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("tasks", [2, 10])
@pytest.mark.parametrize("late", [0.2, 0.4, 0.9])
def test_no_second_is_above_the_limit_however_late_a_lower_lease_is_heard(late: float, tasks: int, seed: int) -> None:
    """Tasks come and go all the time, so that leases move between them."""

    async def scenario() -> Delivery:
        delivery = Delivery(LIMIT, tasks, way=packets_lost(late, 0.05, seed))
        chance = random.Random(seed)
        await delivery.send([chance.randrange(20, 300) for _ in range(3 * tasks + 6)])
        return delivery

    delivery = run(scenario())
    assert fullest_second(delivery.starts) <= 1.02 * LIMIT
    assert len(delivery.kept) == len(delivery.starts) == sum(len(task.requests) for task in delivery.tasks.values())


@pytest.mark.parametrize("tasks", [1, 2, 10, 50])
@pytest.mark.parametrize("way", [0.0, 0.05, 0.2, 0.9])
def test_the_limit_is_kept_and_used_whatever_the_distance(way: float, tasks: int) -> None:
    """As long as all tasks have work; at the start each step takes a message there and back."""
    delivery = run(watched(tasks, steady(way), seconds=12.0))
    assert fullest_second(delivery.starts) <= 1.02 * LIMIT
    assert between(delivery.starts, 1.0 + 6 * way, 12.0) >= 0.95 * LIMIT


@pytest.mark.parametrize("tasks", [2, 10])
@pytest.mark.parametrize("late", [0.2, 0.4, 0.9])
def test_one_lower_lease_that_is_heard_late_makes_no_second_too_full(late: float, tasks: int) -> None:
    """The newcomers get their shares when the first has confirmed that it makes fewer calls, and not before."""

    async def scenario() -> Delivery:
        loop, delivery = asyncio.get_running_loop(), Delivery(LIMIT, tasks)
        first, *others = (Task(delivery, part, 4_000) for part in range(tasks))
        lives = [loop.create_task(delivery.keep_receipts()), loop.create_task(first.live())]
        await asyncio.sleep(2.0)
        hear = first.hear
        first.hear = lambda answer: loop.call_later(late, hear, answer)  # type: ignore[method-assign,assignment]
        lives += [loop.create_task(other.live()) for other in others]
        await asyncio.sleep(6.0)
        for life in lives:
            life.cancel()
        return delivery

    delivery = run(scenario())
    assert fullest_second(delivery.starts) <= 1.02 * LIMIT
    assert between(delivery.starts, 4.0, 8.0) >= 0.95 * LIMIT
    shares = [between(task.rate_lease.starts, 6.0, 8.0) for task in delivery.tasks.values()]
    assert min(shares) > 0.0 and max(shares) < 0.95 * LIMIT
