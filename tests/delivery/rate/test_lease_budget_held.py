"""Whole deliveries in virtual time: the limit is kept and used, a quota found, what the lost may do accounted for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from delivery.rate.rate_lease import LEASE_SECONDS
from tests.delivery.simulation import Delivery, Service, between, fullest_second, mean_rate
from tests.delivery.virtual import VirtualLoop, run

ENDLESS = 40_000
"""Requests."""


async def sent(limit: float, sizes: list[int], **how: Any) -> Delivery:
    """Send to the end."""
    delivery = Delivery(limit, **how)
    await delivery.send(sizes)
    assert len(delivery.starts) == len(delivery.service.started)
    return delivery


async def watched(
    limit: float,
    sizes: list[int],
    seconds: float,
    meanwhile: Callable[[Delivery], Coroutine[Any, Any, None]],
    **how: Any,
) -> Delivery:
    """Send for so long, while something happens."""
    delivery = Delivery(limit, **how)
    sending = asyncio.create_task(delivery.send(sizes))
    event = asyncio.create_task(meanwhile(delivery))
    await asyncio.sleep(seconds)
    sending.cancel()
    await event
    return delivery


async def nothing(_delivery: Delivery) -> None:
    pass


# The limit, with two slots.


@pytest.mark.parametrize("sizes", [[20_000], [10_000] * 2, [2_500] * 8, [625] * 32], ids=len)
def test_no_second_holds_more_than_the_limit_and_it_is_used_however_many_parts_there_are(sizes: list[int]) -> None:
    delivery = run(sent(500, sizes))
    assert fullest_second(delivery.starts) <= 500
    assert mean_rate(delivery.starts) >= 0.95 * 500


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([10_000] + [500] * 20, id="one large part and small ones"),
        pytest.param([500] * 20 + [10_000], id="small ones and a large one last"),
        pytest.param([random.Random(1).randrange(1, 2000) for _ in range(20)], id="any"),
        pytest.param([1] * 50 + [20_000], id="many that are over at once"),
    ],
)
def test_the_same_holds_for_parts_of_very_different_size(sizes: list[int]) -> None:
    delivery = run(sent(500, sizes))
    assert fullest_second(delivery.starts) <= 500
    assert mean_rate([start for start in delivery.starts if start > 5.0]) >= 0.95 * 500


@pytest.mark.parametrize("limit", [5, 50])
def test_a_small_limit_is_kept_and_used_by_one_task(limit: int) -> None:
    delivery = run(sent(limit, [limit * 80]))
    assert fullest_second(delivery.starts) <= limit
    assert mean_rate(delivery.starts) >= 0.95 * limit


@pytest.mark.parametrize("limit", [5, 50])
@pytest.mark.parametrize("parts", [2, 8, 32])
def test_a_small_limit_that_several_share_is_kept_but_for_a_call_each(limit: int, parts: int) -> None:
    """One that it had half earned when its turn ended. Jobs start no more tasks than one per 100 calls a second.

    Each task's last call may cost one that is not made: others wait for as long as its next one would have taken.
    """
    calls = limit * 160
    delivery = run(sent(limit, [calls // parts] * parts))
    assert fullest_second(delivery.starts) <= limit + 2
    assert mean_rate(delivery.starts) >= 0.95 * limit * (calls - parts) / calls


def test_as_many_tasks_as_the_limit_needs_keep_it() -> None:
    delivery = run(sent(800, [2_000] * 8, slots=8))
    assert fullest_second(delivery.starts) <= 800
    assert mean_rate(delivery.starts) >= 0.95 * 800


@pytest.mark.parametrize("parts", [1, 2, 8])
def test_a_machine_that_stalls_for_moments_loses_no_calls_and_makes_hardly_more(parts: int) -> None:
    async def scenario() -> Delivery:
        loop, chance = cast(VirtualLoop, asyncio.get_running_loop()), random.Random(3)

        async def stall() -> None:
            while True:
                await asyncio.sleep(chance.random() * 0.5)
                loop.stall(chance.random() * 0.02)

        stalling = loop.create_task(stall())
        delivery = await sent(500, [12_000 // parts] * parts)
        stalling.cancel()
        return delivery

    delivery = run(scenario())
    assert fullest_second(delivery.starts) <= 1.02 * 500
    assert mean_rate(delivery.starts) >= 0.95 * 500


@pytest.mark.parametrize("in_flight", [4, 10])
def test_a_task_that_its_calls_in_flight_hold_back_leaves_its_share_to_the_other(in_flight: int) -> None:
    """The first's calls take two seconds each: it makes 2, or 5, a second. The other makes the rest."""
    service = Service(latency=lambda part: 2.0 if part == 0 else 0.05)
    delivery = run(
        watched(
            500, [ENDLESS] * 2, 25, nothing, service=service, in_flight=lambda part: in_flight if part == 0 else 256
        )
    )
    slow, _fast = (between(task.rate_lease.starts, 5, 25) for task in delivery.tasks.values())
    assert slow == pytest.approx(in_flight / 2, rel=0.15)
    assert between(delivery.starts, 5, 25) >= 0.95 * 500
    assert fullest_second(delivery.starts) <= 500


# A quota below the limit.


@pytest.mark.parametrize(("limit", "parts"), [(500, 1), (500, 2), (500, 8), (1000, 2)])
def test_a_quota_of_three_fifths_is_used_and_hardly_ever_run_into(limit: int, parts: int) -> None:
    quota = 0.6 * limit
    service = Service(quota=lambda _now: quota)
    run(watched(limit, [ENDLESS // parts] * parts, 30, nothing, service=service))
    admitted, throttled = between(service.admitted, 10, 30), between(service.throttled, 10, 30)
    assert admitted >= 0.95 * quota
    assert throttled <= 0.02 * (admitted + throttled)


def test_a_quota_that_falls_and_comes_back_is_followed() -> None:
    service = Service(quota=lambda now: 200 if 15 < now < 30 else 450)
    run(watched(500, [ENDLESS] * 2, 60, nothing, service=service))
    for begin, end, quota in ((10, 15, 450), (20, 30, 200), (50, 60, 450)):
        admitted, throttled = between(service.admitted, begin, end), between(service.throttled, begin, end)
        assert admitted >= 0.95 * quota
        assert throttled <= 0.02 * (admitted + throttled)
    assert between(service.throttled, 15, 20) <= 0.4 * between(service.started, 15, 20)


def test_a_service_that_throttles_everything_is_asked_ever_less() -> None:
    service = Service(quota=lambda now: 0 if now > 5 else 500)
    run(watched(500, [ENDLESS], 25, nothing, service=service))
    assert between(service.started, 15, 25) <= 0.05 * 500


# Tasks that are lost.


@pytest.mark.parametrize("noticed_after", [0.0, 2.0])
def test_a_task_that_loses_the_driver_goes_on_at_its_lease_until_that_ends(noticed_after: float) -> None:
    """And the other gets all then."""
    cut_at = 5.0

    async def cut(delivery: Delivery) -> None:
        await asyncio.sleep(cut_at)
        first, _ = delivery.tasks.values()
        first.cut(noticed_after=noticed_after)

    delivery = run(watched(500, [ENDLESS] * 2, 20, cut))
    lost, other = (task.rate_lease.starts for task in delivery.tasks.values())
    before = between(lost, cut_at - 2.0, cut_at)
    assert before > 0 and between(lost, cut_at, cut_at + LEASE_SECONDS - 0.25) == pytest.approx(before, rel=0.03)
    assert cut_at + LEASE_SECONDS - 0.25 < max(lost) <= cut_at + LEASE_SECONDS
    assert between(other, cut_at + LEASE_SECONDS + 0.3, 20) >= 0.95 * 500
    assert between(delivery.starts, cut_at, cut_at + LEASE_SECONDS - 0.25) >= 0.95 * 500
    assert fullest_second(delivery.starts) <= 500


def test_tasks_that_all_lose_the_driver_keep_the_limit_and_stop() -> None:
    async def cut(delivery: Delivery) -> None:
        await asyncio.sleep(5.0)
        for task in delivery.tasks.values():
            task.cut()

    delivery = run(watched(500, [ENDLESS // 8] * 8, 15, cut, slots=8))
    assert fullest_second(delivery.starts) <= 500
    assert 5.0 + LEASE_SECONDS - 0.25 < max(delivery.starts) <= 5.0 + LEASE_SECONDS


@pytest.mark.parametrize("noticed_after", [0.0, 2.0])
def test_what_a_task_that_dies_held_comes_back_by_itself(noticed_after: float) -> None:
    async def die(delivery: Delivery) -> None:
        await asyncio.sleep(5.0)
        first, _ = delivery.tasks.values()
        first.rate_lease.stopped = True
        first.cut(noticed_after=noticed_after)

    delivery = run(watched(500, [ENDLESS] * 2, 20, die))
    assert between(delivery.starts, 5.0 + LEASE_SECONDS + 0.3, 20) >= 0.95 * 500
    assert fullest_second(delivery.starts) <= 500


# Outcomes that are not durable.


def test_no_call_starts_while_outcomes_are_not_durable_and_all_go_on_then() -> None:
    async def fail(delivery: Delivery) -> None:
        await asyncio.sleep(10.5)
        delivery.durable = False
        await asyncio.sleep(10.0)
        delivery.durable = True

    delivery = run(watched(500, [ENDLESS] * 2, 30, fail))
    # What came after second 10 is kept no more. Second 21 keeps it.
    assert between(delivery.starts, 9, 11.5) >= 0.95 * 500
    assert between(delivery.starts, 11.5 + 0.3, 21) == 0.0
    assert between(delivery.starts, 21.5, 30) >= 0.95 * 500
    assert fullest_second(delivery.starts) <= 500
