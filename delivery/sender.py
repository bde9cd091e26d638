"""The way of a request: called when it may be, called again, split, until it has an outcome."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from delivery.answers import Meaning, meaning
from delivery.calls import Calls
from delivery.feed import Feed
from delivery.permit import Permit
from delivery.records import Answer, Outcome, Request, Status
from delivery.retry import RetryPolicy

_PATIENCE: Final = 5.0
"""Seconds that calls under way may take when the sending is to end."""


class Service(Protocol):
    """Who answers calls."""

    def put(self, request: Request) -> Awaitable[Answer]:
        """Make one call."""
        ...

    def renew(self) -> Awaitable[bool]:
        """Look for other credentials; say whether there are."""
        ...


@dataclass(frozen=True, slots=True)
class Time:
    """The clock, for a test to replace.

    Attributes:
        now: the time of day, aware.
        monotonic: seconds; the event loop's own.
        chance: uniform in 0 to 1, for jitter.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    chance: Callable[[], float] = random.random


@dataclass(slots=True, order=True)
class _Way:
    """A request on its way: when it is due again, and its calls so far."""

    due: float
    request: Request = field(compare=False)
    made: int = field(default=0, compare=False)
    before: int = field(default=0, compare=False)
    """Calls of the whole that it is the first part of."""
    begun: float = field(default=0.0, compare=False)
    startedAt: datetime | None = field(default=None, compare=False)
    latency: float = field(default=0.0, compare=False)


class Sender:
    """Sends requests in one event loop, as many side by side as the permitted rate needs at the latency there is.

    A request out of retries, or an answer that means STOP, ends the sending: what is left keeps no outcome, and is for
    the next run.

    Args:
        service: who answers.
        permit: when a call may start.
        retry: when to call again.
        time: the clock.
        in_flight: calls under way at once, at the most.

    Attributes:
        calls: what was called so far.
        ending: the answer that ended the sending before its end; None while none has.
        unreachable: the last call's answer where nobody was there to answer it; None where somebody was.
        starved: whether, since somebody last set it to False, a call waited for the rate alone.
    """

    def __init__(self, service: Service, permit: Permit, retry: RetryPolicy, time: Time, in_flight: int) -> None:
        self._service = service
        self._permit = permit
        self._retry = retry
        self._time = time
        self._in_flight = in_flight
        self._under_way: set[asyncio.Task[None]] = set()
        self._renewals: set[asyncio.Task[None]] = set()
        self._again: list[_Way] = []
        self._first: deque[_Way] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._last_moment: asyncio.TimerHandle | None = None
        self._feed: Feed | None = None
        self.calls = Calls()
        self.ending: Answer | None = None
        self.unreachable: Answer | None = None
        self.starved = True

    async def send(self, feed: Feed, ended: Callable[[Outcome], None]) -> None:
        """Send all that is fed, in its order; return when there is nothing more that may be sent, or under way.

        Args:
            feed: requests; taken only as there is room for them.
            ended: told of each outcome as it comes.
        """
        self._feed, self._ended = feed, ended
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pump()
        try:
            await self._finished
        finally:
            feed.cut()
            if self._last_moment is not None:
                self._last_moment.cancel()

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return len(self._under_way)

    def pump(self) -> None:
        """Start what may start now, and see to it that this is called again when more may.

        To be called when something has changed: requests fed, the permit, the end.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._feed is None:
            return
        if self._permit.stopped or self._feed.failed:
            self._wind_up()
        while not self._is_over() and len(self._under_way) < self._in_flight and self._start_one():
            pass
        if self._is_over() and not self._under_way and not self._finished.done():
            self._finished.set_result(None)

    def _is_over(self) -> bool:
        assert self._feed is not None
        return self._permit.stopped or (self._feed.empty and not self._first and not self._again)

    def _wind_up(self) -> None:
        """See to it that calls that hang do not hold up the end."""
        self._permit.stopped = True
        if self._last_moment is None:
            self._last_moment = asyncio.get_running_loop().call_later(_PATIENCE, self._abort)

    def _abort(self) -> None:
        """Give up the calls that are under way: nobody knows what became of them, so they are sent again."""
        for call in self._under_way:
            call.cancel()

    def _start_one(self) -> bool:
        """Start the next call, if it may start now; else ask to be called again."""
        wait = self._permit.wait()
        if wait > 0.0:
            self.starved = True
            self._call_again(wait)
            return False
        way = self._next()
        if way is None:
            return False
        self._permit.take()
        call = asyncio.get_running_loop().create_task(self._call(way))
        self._under_way.add(call)
        return True

    def _call_again(self, wait: float) -> None:
        if wait < float("inf"):
            self._timer = asyncio.get_running_loop().call_later(wait, self.pump)

    def _next(self) -> _Way | None:
        """The next that is due and that nobody else has ended: parts, then retries, then new requests."""
        while (way := self._next_due()) is not None:
            done, name = self._permit.done, way.request.requestId
            if done.has_part_of(name):
                self._split(way)
            elif not done.has(name):
                return way
        return None

    def _next_due(self) -> _Way | None:
        if self._first:
            return self._first.popleft()
        now = self._time.monotonic()
        if self._again and self._again[0].due <= now:
            return heapq.heappop(self._again)
        assert self._feed is not None
        request = self._feed.take()
        if request is not None:
            return _Way(now, request)
        if self._again:
            self._call_again(self._again[0].due - now)
        return None

    async def _call(self, way: _Way) -> None:
        begun = self._time.monotonic()
        way.begun = way.begun if way.made else begun
        way.startedAt = self._time.now()
        way.made += 1
        self.calls.begin(again=way.made > 1)
        try:
            answer = await self._service.put(way.request)
        finally:
            self._under_way.discard(asyncio.current_task())  # type: ignore[arg-type] - a coroutine of a task
            if self._permit.stopped:
                asyncio.get_running_loop().call_soon(self.pump)
        way.latency = self._time.monotonic() - begun
        self.calls.end(answer, way.latency)
        self.unreachable = answer if meaning(answer) is Meaning.UNREACHABLE else None
        self._decide(way, answer)
        self.pump()

    def _decide(self, way: _Way, answer: Answer) -> None:
        match meaning(answer):
            case Meaning.DELIVERED:
                self._end(way, "delivered", answer)
            case Meaning.REFUSED if len(way.request.events) > 1:
                self._split(way)
            case Meaning.REFUSED:
                self._end(way, "refused", answer)
            case Meaning.STOP:
                self._stop(answer)
            case Meaning.EXPIRED:
                self._renew(way, answer)
            case _:
                self._try_again(way, answer)

    def _end(self, way: _Way, status: Status, answer: Answer) -> None:
        attempts = way.before + way.made
        self._ended(Outcome(way.request, status, answer, attempts, way.startedAt, round(way.latency * 1000)))

    def _split(self, way: _Way) -> None:
        """Send the halves of a request in its place, next."""
        first, second = (_Way(way.due, half) for half in way.request.halves())
        first.before = way.before + way.made
        self._first.extendleft((second, first))

    def _try_again(self, way: _Way, answer: Answer) -> None:
        now = self._time.monotonic()
        way.due = now + self._retry.pause(way.made, self._time.chance())
        if way.due > way.begun + self._retry.budget:
            self._stop(answer)
        heapq.heappush(self._again, way)

    def _renew(self, way: _Way, answer: Answer) -> None:
        """Call again with other credentials, if some are found soon."""
        if self._time.monotonic() - way.begun > self._retry.renewal:
            self._stop(answer)
        way.due = self._time.monotonic() + self._retry.cap
        heapq.heappush(self._again, way)
        renewal = asyncio.get_running_loop().create_task(self._renewed(way))
        self._renewals.add(renewal)
        renewal.add_done_callback(self._renewals.discard)

    async def _renewed(self, way: _Way) -> None:
        changed = await self._service.renew()
        way.due = self._time.monotonic() + (0.0 if changed else self._retry.base * 10)
        heapq.heapify(self._again)
        self.pump()

    def _stop(self, answer: Answer) -> None:
        """End the sending: calls under way finish."""
        self._permit.stopped = True
        self.ending = self.ending or answer
