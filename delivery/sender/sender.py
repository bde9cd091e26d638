"""Sends the requests of a task in parallel, until all have ended or no more may start."""

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
"""Seconds that calls in flight may take when the sending must end."""
_SHORTEST: Final = 1e-6
"""The shortest timer, in seconds: rounding errors may be below the resolution of the clock."""
_NEXT_DUE: Final = 0.01
"""Seconds after which calls that wait for connections are counted again."""


class Sender:
    """Sends requests in one event loop, as many in parallel as the permitted rate needs at the present latency.

    If a request is out of retries while the service answers no others, or an answer means STOP, the sending ends. The
    other requests get no outcome, and the next run sends them.

    Args:
        service: the service that answers.
        rate_lease: when a call may start; stopped here if the sending ends early.
        retry: when to call again.
        time: the clock.
        max_in_flight: the maximum number of calls in flight.

    Attributes:
        starved: whether a call waited only for the rate since this was last set to False.
        on_news: called when the driver must hear at once: no request is left to start while calls are in flight, so
            others may have the rate; a call was refused; a call ended, or cannot start, under the limit of calls.
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
        """Counts of all calls so far."""
        return self._executor.calls

    @property
    def ending(self) -> Response | None:
        """The answer that stopped the sending early; None if none has."""
        return self._executor.ending

    @property
    def unreachable(self) -> Response | None:
        """The last call's answer if nobody answered it; None if somebody did."""
        return self._executor.unreachable

    @property
    def refusal(self) -> Response | None:
        """The last refusal, its message redacted; None if nothing was refused."""
        return self._executor.refusal

    @property
    def failing(self) -> tuple[int, int]:
        """The requests without an answer so far: those that failed before an acknowledged call, and the others."""
        return self._queue.failing(self._executor.acknowledged) if self._queue is not None else (0, 0)

    @property
    def has_others(self) -> bool:
        """Whether any request has not failed."""
        return self._queue is not None and self._queue.has_others(self.in_flight)

    @property
    def ready(self) -> bool:
        """Whether a call could start now, if the rate and the limit of calls allowed it."""
        return self._queue is not None and self._may_start(self._queue) and self._wait_for_work(self._queue) == 0.0

    @property
    def exhausted(self) -> bool:
        """Whether no request is left to start, unless a call in flight fails."""
        return self._queue is not None and self._queue.empty

    @property
    def in_flight(self) -> int:
        """Calls in flight."""
        return len(self._under_way)

    async def send(self, buffer: RequestBuffer, ended: Callable[[Outcome], None]) -> None:
        """Send all requests of the buffer, in order; return when none may start and none is in flight.

        Args:
            buffer: requests; taken only when there is room for them.
            ended: gets each outcome as it comes.

        Raises:
            Exception: the error of `ended` or of the service; the lease is stopped, and calls in flight have finished.
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
        """Start the calls that may start now, and arrange the next time.

        Called when something has changed: new requests, the lease, the end.
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
        except Exception as error:  # the caller cannot handle it
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
        """Start the next call, if it may start now; otherwise arrange another try."""
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
        """Open a connection for each call that is due. The call starts when it has one, if it still may."""
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
        """End the sending because of a fault of this project."""
        self._internal_error = self._internal_error or error
        self._rate_lease.stopped = True

    def _wind_up(self) -> None:
        """End as soon as no call is in flight; after an early stop, calls that hang do not delay the end."""
        if not self._under_way and not self._finished.done():
            self._finished.set_result(None)
        elif self._rate_lease.stopped and self._abort_timer is None:
            self._abort_timer = asyncio.get_running_loop().call_later(_PATIENCE, self._abort)

    def _abort(self) -> None:
        """Give up the calls in flight: their results are unknown, so they are sent again."""
        for call in self._under_way | self._connecting:
            call.cancel()

    async def _clear(self) -> None:
        """Leave nothing behind in the event loop."""
        for timer in (self._timer, self._abort_timer):
            if timer is not None:
                timer.cancel()
        self._abort()
        await asyncio.gather(*self._under_way, *self._connecting, return_exceptions=True)
