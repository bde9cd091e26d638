"""A store that needs long for a write: how much is acknowledged without a receipt, and what it costs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.delivery.simulation import Delivery, between, fullest_second
from tests.delivery.virtual import run

LIMIT = 500.0
EVERY = 1.0
"""Seconds between the beginnings of two writes, at the least."""
LOOK = 0.1
"""Seconds between two looks at whether it is time for one."""


@dataclass
class Kept:
    """What a delivery left in the store.

    Attributes:
        delivery: it.
        without_receipt: the most calls that were acknowledged at a time and had no receipt.
    """

    delivery: Delivery
    without_receipt: int = 0
    moments: list[float] = field(default_factory=list)


async def kept(seconds: float, takes: float, fails_until: float = 0.0) -> Kept:
    """Deliver while the store needs so long for a write, and takes none before a time."""
    delivery = Delivery(LIMIT, 4)
    delivery.durable = False  # the simulation's own store does nothing
    found = Kept(delivery)
    loop = asyncio.get_running_loop()

    async def write() -> None:
        begun = loop.time()
        while True:
            await asyncio.sleep(LOOK)
            if loop.time() - begun >= EVERY:
                begun = loop.time()
                rows = delivery.dispatcher.take()
                await asyncio.sleep(takes)
                if loop.time() < fails_until:
                    delivery.dispatcher.give_back(rows)
                else:
                    delivery.kept += rows
                    delivery.dispatcher.confirm_durable()

    async def count() -> None:
        while True:
            await asyncio.sleep(0.02)
            acknowledged = sum(task.sender.calls.acknowledged for task in delivery.tasks.values())
            found.without_receipt = max(found.without_receipt, acknowledged - len(delivery.kept))

    work = [loop.create_task(each) for each in (delivery.send([20_000] * 4), write(), count())]
    await asyncio.sleep(seconds)
    for each in work:
        each.cancel()
    return found


@pytest.mark.parametrize("takes", [0.0, 0.1, 0.3])
def test_a_store_that_needs_less_than_half_a_second_costs_nothing(takes: float) -> None:
    found = run(kept(20.0, takes))
    assert between(found.delivery.starts, 2.0, 20.0) >= 0.95 * LIMIT
    assert found.without_receipt <= (EVERY + LOOK + takes + 0.3) * LIMIT


@pytest.mark.parametrize("takes", [1.0, 2.5, 4.5])
def test_with_a_slow_store_sending_waits_and_no_more_than_two_seconds_calls_are_without_a_receipt(
    takes: float,
) -> None:
    """A second and a half from when the oldest was heard; what it takes to tell, both ways; and calls in flight."""
    found = run(kept(40.0, takes))
    starts = found.delivery.starts
    assert found.without_receipt <= 2.0 * LIMIT
    assert fullest_second(starts) <= LIMIT
    # What came while a write was under way waits for another one: two of them let a second and a half pass.
    assert between(starts, 10.0, 40.0) >= 1.4 / (2 * takes + EVERY) * LIMIT


def test_a_store_that_takes_nothing_for_a_while_is_waited_for() -> None:
    found = run(kept(30.0, 0.1, fails_until=15.0))
    assert found.without_receipt <= 2.0 * LIMIT
    assert between(found.delivery.starts, 4.0, 15.0) == 0.0
    assert between(found.delivery.starts, 17.0, 30.0) >= 0.95 * LIMIT
