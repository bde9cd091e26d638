"""The service: it answers calls as a scenario says, and keeps its own account of what was called and acknowledged."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from delivery.model import Request, Response
from tests.simulation.scenario import Scenario, Trouble
from tests.simulation.world import Process, World

TIMEOUT = 5.0
"""Seconds that a client waits for an answer."""


@dataclass(slots=True)
class Call:
    """One call, as the service knows it.

    Attributes:
        request: what was called.
        attempt: who called.
        run: of the delivery, from 0 on.
        sent: when its bytes went.
        acknowledged: when the service took its events; None if it did not.
        told: the caller got that answer.
        unanswered: its events were taken, and no answer says so.
    """

    request: Request
    attempt: Process
    run: int
    sent: float
    acknowledged: float | None = None
    told: bool = False
    unanswered: bool = False


@dataclass(slots=True)
class Service:
    """Takes events, or not.

    Attributes:
        poison: events that it refuses.
        calls: all there ever were.
        troubles: that there are now.
        on_sent: is told of a call whose bytes go.
        on_acknowledged: is told of a call whose events it takes.
    """

    world: World
    chance: random.Random
    scenario: Scenario
    poison: frozenset[str]
    calls: list[Call] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    unanswered: set[str] = field(default_factory=set)
    """Events of calls that got no answer, or a fault for one."""
    on_sent: Callable[[Call], None] = lambda _: None
    on_acknowledged: Callable[[Call], None] = lambda _: None
    _admitted: list[float] = field(default_factory=list)

    def trouble(self, *kinds: str) -> Trouble | None:
        """The first such trouble that there is now, and that this call meets."""
        for trouble in self.troubles:
            if trouble.what in kinds and (trouble.share >= 1.0 or self.chance.random() < trouble.share):
                return trouble
        return None

    def answer(self, call: Call) -> Response | None:  # noqa: PLR0911 - one fault each
        """Judge a call that arrives; None where no answer will ever come."""
        if self.trouble("denied"):
            return Response(403, "AccessDeniedException", "no")
        if self.trouble("expired"):
            return Response(403, "ExpiredTokenException", "too old")
        if self.trouble("throttle") and not self._admits():
            return Response(400, "ThrottlingException", "Rate exceeded")
        if self.trouble("unavailable"):
            self.unanswered.update(call.request.eventIds)
            return Response(503, "ServiceUnavailable", "later")
        if self.trouble("reset"):
            self.unanswered.update(call.request.eventIds)
            return Response(None, "ConnectionClosedError", "closed")
        if self.trouble("hang"):
            self.unanswered.update(call.request.eventIds)
            return None
        if self.trouble("refuses") or not self.poison.isdisjoint(call.request.eventIds):
            self.refused.update(call.request.eventIds)
            return Response(400, "InvalidInputException", "invalid")
        call.acknowledged = self.world.now
        call.unanswered = self.trouble("accepted") is not None
        self.on_acknowledged(call)
        if call.unanswered:
            self.unanswered.update(call.request.eventIds)
            return Response(None, "ConnectionClosedError", "closed") if self.chance.random() < 0.5 else None
        return Response(200, awsRequestId="aws")

    def _admits(self) -> bool:
        """A quota of half the limit."""
        now = self.world.now
        self._admitted = [at for at in self._admitted if at > now - 1.0]
        if len(self._admitted) >= max(self.scenario.limit / 2, 1.0):
            return False
        self._admitted.append(now)
        return True


class Client:
    """A task's way to the service, in place of the real client: it opens connections as calls need them.

    Args:
        service: that answers.
        process: the task's.
        run: of the delivery.
    """

    def __init__(self, service: Service, process: Process, run: int) -> None:
        self._service, self._process, self._run = service, process, run
        self._idle = 0
        self._keys_until = 0.0

    @property
    def ready(self) -> bool:
        """Whether a connection is at hand."""
        return self._idle > 0

    async def open(self) -> None:
        """Find the way to the service, and the keys."""
        await asyncio.sleep(0.01)

    async def connect(self) -> Response | None:
        """Open a connection."""
        await asyncio.sleep(self._service.scenario.connecting)
        while self._service.trouble("connections stall"):
            await asyncio.sleep(0.05)
        self._idle += 1
        return None

    def put(self, request: Request) -> Awaitable[Response]:
        """Make a call, over a connection that is at hand: its bytes go now."""
        service, world = self._service, self._service.world
        self._idle -= 1
        call = Call(request, self._process, self._run, world.now)
        service.calls.append(call)
        service.on_sent(call)
        shortest, longest = service.scenario.latency
        latency = service.chance.uniform(shortest, longest)
        answered: asyncio.Future[Response] = world.create_future()
        world.after(latency / 2, world.outside, self._arrive, call, answered, latency / 2)
        return self._wait(call, answered)

    async def _wait(self, call: Call, answered: asyncio.Future[Response]) -> Response:
        try:
            async with asyncio.timeout(TIMEOUT):
                answer = await answered
        except TimeoutError:
            self._service.unanswered.update(call.request.eventIds)
            return Response(None, "ReadTimeoutError", "no answer")
        if answer.httpStatus is not None:
            self._idle += 1
        call.told = call.acknowledged is not None and answer.errorCode is None
        return answer

    async def renew(self) -> bool:
        await asyncio.sleep(0.01)
        return self._service.trouble("expired") is None

    async def close(self) -> None:
        """Nothing is open."""

    def _arrive(self, call: Call, answered: asyncio.Future[Response], back: float) -> None:
        answer = self._service.answer(call)
        if answer is not None:
            self._service.world.after(back, self._process, _tell, answered, answer)


def _tell(answered: asyncio.Future[Response], answer: Response) -> None:
    if not answered.done():
        answered.set_result(answer)
