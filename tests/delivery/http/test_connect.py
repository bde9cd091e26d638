"""Connections that are long in coming: no call is permitted before it can go out, whatever has changed meanwhile."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from delivery.model import Request, Response
from delivery.sender.request_executor import RetryPolicy
from tests.delivery.sendings import DELIVERED, NOBODY, Script, Sending, request, run, start
from tests.delivery.simulation import between, fullest_second

STALL = 4.5
"""Seconds that a resolver takes."""


def many(count: int) -> list[Request]:
    return [request(f"{number:x}") for number in range(count)]


@pytest.mark.parametrize("rate", [5.0, 50.0, 500.0])
def test_no_second_is_above_the_rate_when_connections_are_there_at_last(rate: float) -> None:
    async def scenario() -> tuple[Script, Sending]:
        script = Script(latency=0.05, connecting=STALL)
        sending = start(script, many(int(12 * rate)), rate=rate, in_flight=256)
        await asyncio.sleep(STALL + 0.1)
        script.connecting = 0.05
        await sending.task
        return script, sending

    script, sending = run(scenario())
    assert min(script.times) == pytest.approx(STALL)
    assert fullest_second(script.times) <= rate
    assert between(script.times, STALL + 0.3, STALL + 10.0) >= 0.95 * rate
    assert len(sending.outcomes) == len(script.calls) == int(12 * rate)


def test_connections_that_are_awaited_are_those_of_calls_that_are_due() -> None:
    """Some that a moment's pause makes due, not one for each call of the whole stall."""

    async def scenario() -> Script:
        script = Script(latency=0.05, connecting=STALL)
        await start(script, many(500), rate=100.0, in_flight=256).task
        return script

    script = run(scenario())
    assert script.most_connecting <= 26
    assert script.opened <= 30


def test_calls_in_flight_bound_the_connections() -> None:
    async def scenario() -> Script:
        script = Script(latency=1.0, connecting=0.5)
        await start(script, many(40), rate=1_000.0, in_flight=4).task
        return script

    script = run(scenario())
    assert (script.most_at_once, script.opened, script.most_connecting) == (4, 4, 4)


@pytest.mark.parametrize("ended", ["disowned", "stopped"])
def test_what_may_not_be_sent_any_more_when_the_connection_is_there_is_not_sent(ended: str) -> None:
    async def scenario() -> tuple[Script, Sending]:
        script = Script(connecting=STALL)
        sending = start(script, many(10), in_flight=4)
        await asyncio.sleep(STALL / 2)
        if ended == "stopped":
            sending.rate_lease.stopped = True
        else:
            sending.disown()
        sending.sender.pump()
        await asyncio.sleep(2 * STALL)
        sending.rate_lease.stopped = True
        sending.sender.pump()
        await sending.task
        return script, sending

    script, sending = run(scenario())
    assert (script.calls, sending.sender.calls.attempts) == ([], 0)


def test_a_lease_that_ends_while_connections_are_awaited_lets_nothing_out() -> None:
    async def scenario() -> Script:
        script = Script(connecting=STALL)
        sending = start(script, many(10), in_flight=4)
        sending.own(asked=asyncio.get_running_loop().time())
        await asyncio.sleep(3 * STALL)
        assert script.opened > 0 and not script.calls
        sending.own()
        await sending.task
        return script

    assert len(run(scenario()).calls) == 10


class Refusing(Script):
    """Connections that are refused, and some that are not."""

    def __init__(self, *faults: Response | None) -> None:
        super().__init__(connecting=0.01)
        self._faults = deque(faults)
        self.tried: list[float] = []

    async def connect(self) -> Response | None:
        self.tried.append(self._now())
        fault = self._faults.popleft() if self._faults else None
        return fault or await super().connect()


def test_a_connection_that_cannot_be_had_is_the_answer_to_a_call() -> None:
    async def scenario() -> tuple[Refusing, Sending]:
        script = Refusing(NOBODY, NOBODY)
        sending = start(script, many(1), retry=RetryPolicy(base=1.0), rate=100.0)
        await sending.task
        return script, sending

    script, sending = run(scenario())
    calls = sending.sender.calls
    assert (calls.requests, calls.attempts, calls.ended, calls.answered, calls.acknowledged) == (1, 3, 3, 1, 1)
    assert sending.brief == [("0", "delivered", 3)]
    assert script.tried == pytest.approx([0.0, 1.0, 3.0], abs=0.1)
    assert sending.sender.unreachable is None


def test_connections_that_cannot_be_had_are_tried_no_faster_than_calls_may_be_made() -> None:
    async def scenario() -> Refusing:
        script = Refusing(*[NOBODY] * 10_000)
        sending = start(script, many(400), rate=20.0, in_flight=256, retry=RetryPolicy(base=0.0))
        await asyncio.sleep(10.0)
        assert sending.sender.unreachable == NOBODY
        sending.rate_lease.stopped = True
        sending.sender.pump()
        await sending.task
        return script

    assert fullest_second(run(scenario()).tried) <= 1.3 * 20 + 1


def test_a_call_whose_connection_is_at_hand_goes_out_at_once() -> None:
    async def scenario() -> Script:
        script = Script(lambda _: DELIVERED, latency=0.01, connecting=0.5)
        await start(script, many(100), rate=50.0, in_flight=8).task
        return script

    script = run(scenario())
    assert script.opened < 30
    assert between(script.times, 0.6, 1.6) >= 0.95 * 50
