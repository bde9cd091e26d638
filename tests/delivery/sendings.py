"""A sending in virtual time: a service that answers by script, a permit that was granted a rate."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

from delivery.model import Outcome, Request, Response
from delivery.rate.rate_lease import RateLease
from delivery.sender.request_executor import RetryPolicy, WallClock
from delivery.sender.request_queue import RequestBuffer
from delivery.sender.sender import Sender
from tests.delivery import virtual

_T = TypeVar("_T")

DELIVERED = Response(200, awsRequestId="aws-1")
THROTTLED = Response(400, "ThrottlingException", "Rate exceeded")
UNAVAILABLE = Response(503, "ServiceUnavailable", "later")
RESET = Response(None, "ConnectionClosedError", "closed")
NOBODY = Response(None, "EndpointConnectionError", "refused")
REFUSED = Response(400, "InvalidInputException", "invalid")
DENIED = Response(403, "AccessDeniedException", "no")
EXPIRED = Response(403, "ExpiredTokenException", "too old")

START = datetime(2024, 1, 1, tzinfo=UTC)
FAST = 1e6
"""Calls a second: so many that virtual time does not pass between two."""
FOR_EVER = 1e9
HANG = float("inf")
PATIENT = RetryPolicy(budget=FOR_EVER, base=0.0, renewal=FOR_EVER)


def request(name: str, events: int = 1) -> Request:
    """Requests' ids are hexadecimal numbers, as those of real ones."""
    ids = tuple(f"{name}-{number}" for number in range(events))
    return Request(name, "u", "s", ids, ("{}",) * events)


def requests(names: str) -> list[Request]:
    return [request(name) for name in names]


def in_turn(*answers: Response, then: Response = DELIVERED) -> Callable[[Request], Response]:
    """Give answers in the order of the calls, whosever they are."""
    rest = iter(answers)
    return lambda _: next(rest, then)


def by_request(**answers: Response) -> Callable[[Request], Response]:
    return lambda each: answers.get(each.requestId, DELIVERED)


class Script:
    """A service that does what it is told, and keeps what it was asked.

    Args:
        answer: to each call, fixed when the call arrives.
        latency: seconds of a call; HANG for one that never ends.
        renewals: whether there are other credentials, look by look; True from then on.
        look: seconds that a look for credentials takes; 0 for one that has its answer at hand.
        opening: seconds until it is ready for calls; HANG for one that never is.
        connecting: seconds that a connection takes; None where each call has one at hand.
    """

    def __init__(
        self,
        answer: Callable[[Request], Response] = lambda _: DELIVERED,
        latency: float | Callable[[Request], float] = 0.0,
        renewals: Iterable[bool] = (),
        look: float = 0.0,
        opening: float = 0.0,
        connecting: float | None = None,
    ) -> None:
        self._answer = answer
        self._latency = latency if callable(latency) else lambda _: latency
        self._renewals = iter(renewals)
        self._look = look
        self._opening = opening
        self.connecting = connecting
        self.connections = 0
        """At hand."""
        self.opened = self.most_connecting = self._being_opened = 0
        self.begun = 0.0
        self.called: list[tuple[float, str]] = []
        """When, in seconds from the start, which request."""
        self.looked: list[float] = []
        self.given_up: list[str] = []
        self.at_once = self.most_at_once = 0

    @property
    def calls(self) -> list[str]:
        return [name for _, name in self.called]

    @property
    def times(self) -> list[float]:
        return [at for at, _ in self.called]

    async def open(self) -> None:
        if self._opening:
            await _pass(self._opening)

    @property
    def ready(self) -> bool:
        return self.connecting is None or self.connections > 0

    async def connect(self) -> Response | None:
        assert self.connecting is not None
        self._being_opened += 1
        self.most_connecting = max(self.most_connecting, self._being_opened)
        try:
            await _pass(self.connecting)
        finally:
            self._being_opened -= 1
        self.opened += 1
        self.connections += 1
        return None

    def put(self, each: Request) -> Coroutine[Any, Any, Response]:
        self.connections -= 1
        return self._put(each)

    async def _put(self, each: Request) -> Response:
        self.called.append((self._now(), each.requestId))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            answer = self._answer(each)
            await _pass(self._latency(each))
        except asyncio.CancelledError:
            self.given_up.append(each.requestId)
            raise
        finally:
            self.at_once -= 1
            self.connections += 1
        return answer

    async def renew(self) -> bool:
        self.looked.append(self._now())
        if self._look:
            await _pass(self._look)
        return next(self._renewals, True)

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self.begun


async def _pass(seconds: float) -> None:
    if seconds == HANG:
        await asyncio.get_running_loop().create_future()
    await asyncio.sleep(seconds)


@dataclass
class Sending:
    """A sender at work."""

    sender: Sender
    rate_lease: RateLease
    buffer: RequestBuffer
    task: asyncio.Task[None] = field(init=False)
    outcomes: list[Outcome] = field(default_factory=list)
    ended_after: float = 0.0

    @property
    def brief(self) -> list[tuple[str, str, int]]:
        return [(outcome.request.requestId, outcome.status, outcome.attempts) for outcome in self.outcomes]

    def event_ids(self, status: str) -> list[str]:
        ended = (outcome for outcome in self.outcomes if outcome.status == status)
        return sorted(event for outcome in ended for event in outcome.request.eventIds)

    def own(self, rate: float = FAST, *, asked: float = FOR_EVER) -> None:
        """The driver gives the part, for good unless told since when."""
        self.rate_lease.grant(rate, owns=True, asked=asked)
        self.sender.pump()

    def hear(self, rate: float) -> None:
        """The driver is heard, which says nothing new: calls that are refused do not go on for ever without it."""
        if self.rate_lease.is_held:
            self.own(rate)

    def disown(self) -> None:
        """The driver gives the part to somebody else."""
        self.rate_lease.grant(0.0, owns=False, asked=asyncio.get_running_loop().time())
        self.sender.pump()


def start(
    service: Script,
    source: Iterable[Request],
    *,
    in_flight: int = 1,
    rate: float = FAST,
    retry: RetryPolicy = PATIENT,
    chance: Callable[[], float] = lambda: 1.0,
    ended: Callable[[Outcome], None] | None = None,
    buffer: RequestBuffer | None = None,
) -> Sending:
    """Begin to send; the permit has held the rate for a second already, so the pacer's first second is over."""
    loop = cast(virtual.VirtualLoop, asyncio.get_running_loop())
    rate_lease = RateLease(loop.time)
    time = WallClock(lambda: START + timedelta(seconds=loop.time() - service.begun), loop.time, chance)
    sending = Sending(Sender(service, rate_lease, retry, time, in_flight), rate_lease, buffer or closed_feed(source))
    sending.own(rate)
    sending.sender.on_news = lambda: loop.call_soon(sending.hear, rate)
    loop.stall(1.0)
    service.begun = loop.time()
    sending.task = loop.create_task(_send(sending, service, ended or sending.outcomes.append))
    return sending


async def _send(sending: Sending, service: Script, ended: Callable[[Outcome], None]) -> None:
    try:
        await sending.sender.send(sending.buffer, ended)
    finally:
        sending.ended_after = asyncio.get_running_loop().time() - service.begun


def closed_feed(source: Iterable[Request]) -> RequestBuffer:
    buffer = RequestBuffer(lambda: None)
    buffer.put(source)
    buffer.close()
    return buffer


async def send(service: Script, source: Iterable[Request], **how: Any) -> Sending:
    """Send, to the end."""
    sending = start(service, source, **how)
    await sending.task
    return sending


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """Run in virtual time; see that no task is left in the loop, and that no exception went unheard."""

    async def watched() -> _T:
        complaints: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        result = await work
        left = asyncio.all_tasks() - {asyncio.current_task()}
        gc.collect()  # a task that is forgotten with its exception complains then
        assert (left, complaints) == (set(), [])
        return result

    return virtual.run(watched())
