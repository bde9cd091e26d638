"""A task's requests, sent: as many side by side as may be, until all have ended or nothing more may start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from delivery.call_statistics import CallStatistics
from delivery.model import Outcome, Response
from delivery.rate.rate_lease import RateLease
from delivery.sender.request_executor import PutEventsCaller, RequestExecutor, RetryPolicy, WallClock
from delivery.sender.request_queue import RequestBuffer, RequestQueue

_PATIENCE: Final = 5.0
"""Seconds that calls under way may take when the sending is to end."""
_SHORTEST: Final = 1e-6
"""Seconds of a timer: the end of a reckoning with fractions may be less than the clock can tell apart."""
_NEXT_DUE: Final = 0.01
"""Seconds after which calls that wait for connections are counted again."""


class Sender:
    """Sends requests in one event loop, as many side by side as the permitted rate needs at the latency there is.

    A request out of retries while the service answers no others, or an answer that means STOP, ends the sending: what
    is left keeps no outcome, and is for the next run.

    Args:
        service: who answers.
        rate_lease: when a call may start; stopped here where the sending ends before its end.
        retry: when to call again.
        time: the clock.
        max_in_flight: calls under way at once, at the most.

    Attributes:
        starved: whether, since somebody last set it to False, a call waited for the rate alone.
        on_news: called when the driver is to hear at once: nothing is left to start while calls are under way, so
            others may have the rate; a call was refused; a call ended, or cannot start, for the limit of calls.
    """

    def __init__(
        self, service: PutEventsCaller, rate_lease: RateLease, retry: RetryPolicy, time: WallClock, max_in_flight: int
    ) -> None:
        self._executor = RequestExecutor(service, rate_lease, retry, time)
        self._rate_lease = rate_lease
        self._clock = time.monotonic
        self._max_in_flight = max_in_flight
        self._under_way: set[asyncio.Task[None]] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._queue: RequestQueue | None = None
        self._internal_error: BaseException | None = None
        self._was_exhausted = self._was_held = self._has_news = False
        self.starved = True
        self.on_news: Callable[[], None] = lambda: None

    @property
    def calls(self) -> CallStatistics:
        """What was called so far."""
        return self._executor.calls

    @property
    def ending(self) -> Response | None:
        """The answer that ended the sending before its end; None while none has."""
        return self._executor.ending

    @property
    def unreachable(self) -> Response | None:
        """The last call's answer where nobody was there to answer it; None where somebody was."""
        return self._executor.unreachable

    @property
    def refusal(self) -> Response | None:
        """The last refusal, its words redacted; None while nothing was refused."""
        return self._executor.refusal

    @property
    def failing(self) -> tuple[int, int]:
        """The requests that got no answer so far: those that failed before a call that was acknowledged, the others."""
        return self._queue.failing(self._executor.acknowledged) if self._queue is not None else (0, 0)

    @property
    def has_others(self) -> bool:
        """Whether there is any request that has not failed."""
        return self._queue is not None and self._queue.has_others(self.in_flight)

    @property
    def ready(self) -> bool:
        """Whether a call could start now, were it not for the rate and the limit of calls."""
        return self._queue is not None and self._may_start(self._queue) and self._wait_for_work(self._queue) == 0.0

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left to start, as long as no call under way fails."""
        return self._queue is not None and self._queue.empty

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return len(self._under_way)

    async def send(self, buffer: RequestBuffer, ended: Callable[[Outcome], None]) -> None:
        """Send all that is fed, in its order; return when there is nothing more that may be sent, or under way.

        Args:
            buffer: requests; taken only as there is room for them.
            ended: told of each outcome as it comes.

        Raises:
            Exception: what `ended` or the service raised; the permit is stopped, calls under way have finished.
        """
        self._buffer, self._on_outcome = buffer, ended
        self._queue = RequestQueue(buffer, self._clock)
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        opening = asyncio.get_running_loop().create_task(self._executor.open())
        opening.add_done_callback(self._settle)
        try:
            await self._finished
        finally:
            self._queue = None
            buffer.cut()
            opening.cancel()
            await self._clear()
        if self._internal_error is not None:
            raise self._internal_error

    def pump(self) -> None:
        """Start what may start now, and see to it that this is called again when more may.

        To be called when something has changed: requests fed, the permit, the end.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue is None:
            return
        self._rate_lease.stopped = self._rate_lease.stopped or self._buffer.failed
        try:
            while self._may_start(self._queue) and self._start_one(self._queue):
                pass
        except Exception as error:  # whoever called this can do nothing about it
            self._fail(error)
        self._tell_news()
        if self._rate_lease.stopped or self._queue.empty:
            self._wind_up()

    def _tell_news(self) -> None:
        was_exhausted, self._was_exhausted = self._was_exhausted, self.exhausted
        was_held, self._was_held = self._was_held, self._rate_lease.is_held and self.ready
        has_news, self._has_news = self._has_news, False
        is_exhausted = self.exhausted and not was_exhausted and bool(self._under_way)
        if has_news or is_exhausted or (self._was_held and not was_held):
            self.on_news()

    def _wait_for_work(self, queue: RequestQueue) -> float:
        return queue.wait(singly=self._rate_lease.singly)

    def _may_start(self, queue: RequestQueue) -> bool:
        over = self._rate_lease.stopped or queue.empty
        at_once = len(self._under_way) + len(self._connecting)
        return at_once < self._max_in_flight and not self._executor.waiting and not over

    def _start_one(self, queue: RequestQueue) -> bool:
        """Start the next call, if it may start now; else ask to be called again."""
        for_work, for_rate = self._wait_for_work(queue), self._rate_lease.wait()
        self.starved = self.starved or for_work == 0.0 < for_rate
        wait = max(for_work, for_rate)
        if wait > 0.0:
            self._call_again(wait)
            return False
        if not self._executor.ready:
            return self._connect(queue)
        pending = queue.next(self._rate_lease.done, singly=self._rate_lease.singly)
        if pending is not None:
            self._run(self._executor.call(pending, queue, self._on_outcome), self._under_way)
        return True

    def _connect(self, queue: RequestQueue) -> bool:
        """Open a connection for each call that is due. The call starts when one is there, if it still may."""
        if len(self._connecting) < self._rate_lease.due():
            self._run(self._executor.connect(queue, self._on_outcome), self._connecting)
            return True
        self._call_again(_NEXT_DUE)
        return False

    def _call_again(self, wait: float) -> None:
        if wait < float("inf"):
            self._timer = asyncio.get_running_loop().call_later(max(wait, _SHORTEST), self.pump)

    def _run(self, work: Coroutine[Any, Any, None], beside: set[asyncio.Task[None]]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        beside.add(task)
        task.add_done_callback(self._settle)

    def _settle(self, call: asyncio.Task[None]) -> None:
        self._under_way.discard(call)
        self._connecting.discard(call)
        if not call.cancelled() and (error := call.exception()) is not None:
            self._fail(error)
        self._has_news = self._rate_lease.limit is not None or self.calls.refusedInARow > 0
        self.pump()

    def _fail(self, error: BaseException) -> None:
        """End the sending for a mistake of ours."""
        self._internal_error = self._internal_error or error
        self._rate_lease.stopped = True

    def _wind_up(self) -> None:
        """End as soon as no call is under way; where the end came early, calls that hang do not hold it up."""
        if not self._under_way and not self._finished.done():
            self._finished.set_result(None)
        elif self._rate_lease.stopped and self._abort_timer is None:
            self._abort_timer = asyncio.get_running_loop().call_later(_PATIENCE, self._abort)

    def _abort(self) -> None:
        """Give up the calls that are under way: nobody knows what became of them, so they are sent again."""
        for call in self._under_way | self._connecting:
            call.cancel()

    async def _clear(self) -> None:
        """Leave nothing behind in the event loop."""
        for timer in (self._timer, self._abort_timer):
            if timer is not None:
                timer.cancel()
        self._abort()
        await asyncio.gather(*self._under_way, *self._connecting, return_exceptions=True)
