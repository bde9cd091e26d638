"""The way of a request: paced, called, called again, split, until it has an outcome."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from delivery.answers import Meaning, meaning
from delivery.client import Put
from delivery.pacing import Pacer
from delivery.records import Answer, Outcome, Request, Status
from delivery.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class Time:
    """The clock, for a test to replace.

    Attributes:
        now: the time of day, aware.
        monotonic: seconds.
        sleep: waits that many seconds.
        chance: uniform in 0 to 1, for jitter.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    chance: Callable[[], float] = random.random


@dataclass(slots=True)
class _Calls:
    """The calls of one request so far."""

    made: int = 0
    throttled: int = 0
    answer: Answer | None = None
    startedAt: datetime | None = None
    latency: timedelta = field(default_factory=timedelta)


class Sender:
    """Sends requests, several in flight, each to its end.

    One request out of retries, or an answer that means STOP, ends the sending: what is left comes out as pending,
    without a call, for the next run.

    Args:
        put: makes one call.
        pacer: every call waits for it, retries too.
        retry: when to call again.
        time: the clock.
        in_flight: requests under way at once, at the most.
    """

    def __init__(self, put: Put, pacer: Pacer, retry: RetryPolicy, time: Time, in_flight: int) -> None:
        self._put = put
        self._pacer = pacer
        self._retry = retry
        self._time = time
        self._in_flight = in_flight
        self._stopped = threading.Event()

    def send(self, requests: Iterable[Request]) -> Iterator[Outcome]:
        """Send requests in their order; give outcomes as they come.

        Requests are taken only as there is room for them, so that a partition never lies in memory whole. An
        exception, or closing the iterator, ends the sending: calls under way finish, no other is made.
        """
        with ThreadPoolExecutor(self._in_flight, thread_name_prefix="put-events") as pool:
            try:
                yield from self._send(requests, pool)
            except BaseException:
                self._stopped.set()  # leaving the pool waits for its threads: they are not to go on retrying
                raise

    def _send(self, requests: Iterable[Request], pool: ThreadPoolExecutor) -> Iterator[Outcome]:
        under_way: set[Future[list[Outcome]]] = set()
        for request in requests:
            if len(under_way) >= self._in_flight:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                yield from _outcomes(done)
            under_way.add(pool.submit(self.deliver, request))
        yield from _outcomes(as_completed(under_way))

    def deliver(self, request: Request) -> list[Outcome]:
        """Bring one request to its end: one outcome, or one for each part that a split left."""
        calls = self._call(request)
        if calls.answer is None or calls.made == 0:
            return [_outcome(request, "pending", calls)]
        what = meaning(calls.answer)
        if what is Meaning.DELIVERED:
            return [_outcome(request, "delivered", calls)]
        if what is Meaning.REFUSED:
            return self._refused(request, calls)
        self._stopped.set()
        return [_outcome(request, "pending", calls)]

    def _refused(self, request: Request, calls: _Calls) -> list[Outcome]:
        if len(request.events) == 1:
            return [_outcome(request, "refused", calls)]
        first, second = request.halves()
        return [*_with_calls(self.deliver(first), calls), *self.deliver(second)]

    def _call(self, request: Request) -> _Calls:
        """Call until the answer needs no other call, or the retries are used up, or the sending has ended."""
        calls = _Calls()
        while self._may_call():
            self._one_call(request, calls)
            assert calls.answer is not None
            if meaning(calls.answer) not in (Meaning.THROTTLED, Meaning.FAULT):
                break
            if calls.made >= self._retry.attempts:
                break
            self._time.sleep(self._retry.pause(calls.made, self._time.chance()))
        return calls

    def _may_call(self) -> bool:
        """Wait for the pacer, unless the sending has ended; it may end meanwhile."""
        if not self._stopped.is_set():
            self._pacer.wait()
        return not self._stopped.is_set()

    def _one_call(self, request: Request, calls: _Calls) -> None:
        calls.startedAt, started = self._time.now(), self._time.monotonic()
        calls.answer = self._put(request)
        calls.latency = timedelta(seconds=self._time.monotonic() - started)
        calls.made += 1
        calls.throttled += meaning(calls.answer) is Meaning.THROTTLED


def _outcomes(done: Iterable[Future[list[Outcome]]]) -> Iterator[Outcome]:
    for future in done:
        yield from future.result()


def _outcome(request: Request, status: Status, calls: _Calls) -> Outcome:
    return Outcome(
        request=request,
        status=status,
        answer=calls.answer,
        attempts=calls.made,
        throttled=calls.throttled,
        retried=max(calls.made - 1, 0),
        startedAt=calls.startedAt,
        latencyMs=calls.latency // timedelta(milliseconds=1),
    )


def _with_calls(outcomes: list[Outcome], calls: _Calls) -> list[Outcome]:
    """Count a refused whole's calls with its first part, so that no call is lost from the sum."""
    first, *rest = outcomes
    counted = replace(
        first,
        attempts=first.attempts + calls.made,
        throttled=first.throttled + calls.throttled,
        retried=first.retried + calls.made - 1,
    )
    return [counted, *rest]
