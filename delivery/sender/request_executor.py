"""Executes a request: calls, retries, splits, until it has an outcome. The one owner of retries: boto3's are off."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol

from delivery.call_statistics import CallStatistics
from delivery.model import UNANSWERED, Outcome, Request, Response
from delivery.rate.rate_lease import RateLease
from delivery.responses import ResponseMeaning, SourceSilentError, interpret_response
from delivery.sender.request_queue import PendingRequest, RequestQueue
from delivery.text import redact


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter, under a time budget.

    Attributes:
        budget: seconds after its first call in which a request may be called again.
        base: seconds; the first pause is at most this long.
        cap: seconds; no pause is longer.
        aside: seconds after its first call in which a request without an answer is called again while others get
            answers; then it is set aside. A single event that was set aside is tried for as long again, then given up.
        rest: seconds for which a request that was set aside is at least not called.
        renewal: seconds after the first answer about expired credentials in which new ones must be found.
    """

    budget: float = 120.0
    base: float = 0.1
    cap: float = 10.0
    aside: float = 10.0
    rest: float = 5.0
    renewal: float = 15.0

    def pause(self, made: int, chance: float) -> float:
        """Seconds to wait after `made` calls: chance * min(cap, base * 2 ** (made - 1)).

        Args:
            made: calls made so far, 1 or more.
            chance: uniform in 0 to 1; it uses the whole range, so that callers that failed together spread out.

        Examples:
            >>> [RetryPolicy(base=0.1, cap=1.0).pause(made, 1.0) for made in (1, 2, 3, 4, 5, 99)]
            [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
        """
        return chance * min(self.cap, self.base * 2.0 ** min(made - 1, 64))


_LOOK_AGAIN: Final = 1.0
"""Seconds between two searches for credentials."""
_SILENT: Final = Response(None, "CredentialRetrievalError", "the source of the credentials gives none now")


_ABOUT_THE_REQUEST: Final = frozenset({ResponseMeaning.DELIVERED, ResponseMeaning.REFUSED, ResponseMeaning.FAULT})
"""Answers that can depend on the request."""


class PutEventsCaller(Protocol):
    """The service that answers calls."""

    def open(self) -> Awaitable[None]:
        """Prepare for calls; if that fails, the calls report it."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a call that starts now goes out now."""
        ...

    def connect(self) -> Awaitable[Response | None]:
        """Prepare for one more call; if that fails, return what counts as its answer."""
        ...

    def put(self, request: Request) -> Awaitable[Response]:
        """Make one call, with a connection that is ready."""
        ...

    def renew(self) -> Awaitable[bool]:
        """Look for new credentials; say whether there are any. Raises SourceSilentError if the source is silent."""
        ...


@dataclass(frozen=True, slots=True)
class WallClock:
    """The clock, for a test to replace.

    Attributes:
        now: the time of day, with its time zone.
        monotonic: seconds; the event loop's own.
        chance: uniform in 0 to 1, for jitter.
    """

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    chance: Callable[[], float] = random.random


class _CredentialSearch:
    """Looks for new credentials repeatedly.

    Attributes:
        found: there are new ones.
        silent: at its last answer their source gave none, or it has never answered.
    """

    def __init__(self, service: PutEventsCaller) -> None:
        self._service = service
        self.found, self.silent = False, True

    async def finds(self, until: float) -> bool:
        """Look until new ones are found, or until a time of the event loop's clock."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                while not await self._look():
                    await asyncio.sleep(_LOOK_AGAIN)
        return self.found

    async def _look(self) -> bool:
        try:
            self.found = await self._service.renew()
            self.silent = False
        except SourceSilentError:
            self.silent = True
        return self.found


class RequestExecutor:
    """Makes calls, and acts on their answers.

    Args:
        service: the service that answers.
        rate_lease: stopped if no other call may start.
        retry: when to call again.
        time: the clock.

    Attributes:
        calls: counts of all calls so far.
        ending: the answer that stopped the sending early; None if none has.
        unreachable: the last call's answer if nobody answered it; None if somebody did.
        refusal: the last one, its message redacted; None if nothing was refused.
        acknowledged: when the latest acknowledged call had started.
        waiting: whether new credentials are being looked for: calls would fail, or go out all at once afterwards.
    """

    def __init__(self, service: PutEventsCaller, rate_lease: RateLease, retry: RetryPolicy, time: WallClock) -> None:
        self._service = service
        self._rate_lease = rate_lease
        self._retry = retry
        self._time = time
        self.calls = CallStatistics()
        self.ending: Response | None = None
        self.unreachable: Response | None = None
        self.refusal: Response | None = None
        self.acknowledged = float("-inf")
        self.waiting = False

    async def open(self) -> None:
        """Prepare the service."""
        self.waiting = True
        try:
            await self._service.open()
        finally:
            self.waiting = False

    @property
    def ready(self) -> bool:
        """Whether a call that starts now goes out now."""
        return self._service.ready

    async def connect(self, queue: RequestQueue, ended: Callable[[Outcome], None]) -> None:
        """Prepare for one more call. A failure is the answer to the next call that may start.

        Args:
            queue: where the request of that call comes from, and goes back to.
            ended: gets its outcome if it has ended.
        """
        fault = await self._service.connect()
        if fault is None or self._rate_lease.wait() == float("inf"):
            return
        pending = queue.next(self._rate_lease.done, singly=self._rate_lease.singly)
        if pending is not None:
            self._begin(pending)
            await self._take_answer(pending, fault, self._time.monotonic(), queue, ended)

    def call(
        self, pending: PendingRequest, queue: RequestQueue, ended: Callable[[Outcome], None]
    ) -> Coroutine[Any, Any, None]:
        """Make one call of a request. The call begins before this returns, however late the event loop does the rest.

        Args:
            pending: the request.
            queue: where it goes back to if it has not ended.
            ended: gets its outcome if it has.
        """
        self._begin(pending)
        return self._call(pending, self._service.put(pending.request), queue, ended)

    def _begin(self, pending: PendingRequest) -> None:
        self._rate_lease.take()
        now = self._time.now()
        pending.begin(self._time.monotonic(), now)
        self.calls.begin(again=pending.calls_made > 1, at=now.timestamp())

    async def _call(
        self,
        pending: PendingRequest,
        coming: Awaitable[Response],
        queue: RequestQueue,
        ended: Callable[[Outcome], None],
    ) -> None:
        begun = self._time.monotonic()
        await self._take_answer(pending, await coming, begun, queue, ended)

    async def _take_answer(
        self,
        pending: PendingRequest,
        answer: Response,
        begun: float,
        queue: RequestQueue,
        ended: Callable[[Outcome], None],
    ) -> None:
        pending.latency = self._time.monotonic() - begun
        what = interpret_response(answer)
        self.calls.end(answer, what, pending.latency)
        self.unreachable = answer if what is ResponseMeaning.UNREACHABLE else None
        if what in _ABOUT_THE_REQUEST:
            queue.note_answer(pending, failed=what is ResponseMeaning.FAULT)
        match what:
            case ResponseMeaning.DELIVERED:
                self.acknowledged = max(self.acknowledged, begun)
                ended(pending.outcome("delivered", answer))
            case ResponseMeaning.REFUSED:
                self._refuse(pending, answer, queue, ended)
            case ResponseMeaning.FAULT:
                self._fail(pending, answer, queue, ended)
            case ResponseMeaning.STOP:
                self._stop(answer)
            case ResponseMeaning.EXPIRED:
                await self._renew(pending, answer, queue)
            case _:
                self._try_again(pending, answer, queue)

    def _refuse(
        self, pending: PendingRequest, answer: Response, queue: RequestQueue, ended: Callable[[Outcome], None]
    ) -> None:
        self._rate_lease.note_refusal()
        self.refusal = replace(answer, errorMessage=redact(answer.errorMessage, pending.request))
        if len(pending.request.events) > 1:
            queue.split(pending)
        else:
            ended(pending.outcome("refused", answer))

    def _fail(
        self, pending: PendingRequest, answer: Response, queue: RequestQueue, ended: Callable[[Outcome], None]
    ) -> None:
        """Call a request without an answer again; if others get answers, set it aside, split it, then give it up."""
        assert pending.first_call_at is not None
        assert pending.own_call_at is not None
        now, alone = self._time.monotonic(), len(pending.request.events) == 1
        due = now + self._retry.pause(pending.calls_made, self._time.chance())
        if self._rate_lease.finishing:
            patience = 0.0 if pending.was_set_aside and not alone else self._retry.aside
            if now < pending.own_call_at + patience:
                queue.retry(pending, due)
            elif not pending.was_set_aside:
                queue.set_aside(pending, now + self._retry.rest)
            elif alone:
                ended(pending.outcome("refused", _unanswered(pending, answer)))
            else:
                queue.split(pending)
        elif due <= pending.first_call_at + self._retry.budget:
            queue.retry(pending, due)
        elif alone or not self.calls.answered:
            self._stop(answer)
            queue.retry(pending, due)
        else:
            queue.split(pending)  # a part of it may get an answer, which distinguishes a bad request from an outage

    def _try_again(self, pending: PendingRequest, answer: Response, queue: RequestQueue) -> None:
        assert pending.own_call_at is not None
        due = self._time.monotonic() + self._retry.pause(pending.calls_made, self._time.chance())
        if due > pending.own_call_at + self._retry.budget:
            self._stop(answer)
        queue.retry(pending, due)

    async def _renew(self, pending: PendingRequest, answer: Response, queue: RequestQueue) -> None:
        """Call again with new credentials, if some are found in time."""
        now = self._time.monotonic()
        pending.expired_at = now if pending.expired_at is None else pending.expired_at
        queue.retry(pending, now)
        if now >= pending.expired_at + self._retry.renewal:
            self._stop(answer)
        elif not self.waiting:
            await self._look_for_credentials(answer, pending.expired_at)

    async def _look_for_credentials(self, answer: Response, expired: float) -> None:
        """Look for new ones: for some seconds if their source gives the same again, longer if it gives none."""
        search = _CredentialSearch(self._service)
        self.waiting = True
        try:
            if not await search.finds(expired + self._retry.renewal) and not search.silent:
                self._stop(answer)
            elif not search.found and not await search.finds(expired + self._retry.budget):
                self._stop(_SILENT)
        finally:
            self.waiting = False

    def _stop(self, answer: Response) -> None:
        """End the sending: calls in flight finish."""
        self._rate_lease.stopped = True
        self.ending = self.ending or answer


def _unanswered(pending: PendingRequest, answer: Response) -> Response:
    """Make the answer of a single event that the service did not answer."""
    last = answer.errorCode if answer.httpStatus is None else f"HTTP {answer.httpStatus} {answer.errorCode}"
    words = f"no answer in {pending.calls_made} calls of this event alone; the last one ended with {last}"
    return Response(answer.httpStatus, UNANSWERED, words, answer.awsRequestId)
