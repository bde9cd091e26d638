"""The requests of a task: those that its reader brings, which of them is called next, and when."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from delivery.ended_requests import EndedRequestSet
from delivery.model import Outcome, Request, Response, Status

_FULL: Final = 400
_LOW: Final = 200
_PATIENCE: Final = 0.5
"""Seconds after which a waiting reader checks again whether the sender still takes requests."""


class RequestBuffer:
    """A queue with room for some hundred requests, so that a partition is never in memory as a whole.

    Args:
        wake: called in the reader's thread when the loop must look again.

    Attributes:
        closed: no more requests come.
        failed: no more come because the rest could not be read.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._waiting: deque[Request] = deque()
        self._room = threading.Condition()
        self._cut = False
        self.closed = False
        self.failed = False

    def put(self, requests: Iterable[Request]) -> bool:
        """Add requests as soon as there is room; False if the sender takes no more."""
        with self._room:
            while len(self._waiting) >= _FULL and not self._cut:
                self._room.wait(_PATIENCE)
        if not self._cut:
            self._waiting.extend(requests)
            self._wake()
        return not self._cut

    def close(self) -> None:
        """Say that no more requests come."""
        self.closed = True
        self._wake()

    def fail(self) -> None:
        """Say that the rest cannot be read: no further request may begin."""
        self.failed = True
        self.close()

    def take(self) -> Request | None:
        """Take the next request; None if there is none now, or if no more come."""
        if not self._waiting:
            return None
        request = self._waiting.popleft()
        if len(self._waiting) == _LOW:
            self._notify()
        return request

    @property
    def ready(self) -> bool:
        """Whether there is a request to take now."""
        return bool(self._waiting)

    @property
    def empty(self) -> bool:
        """Whether there is no request to take, and no more come."""
        return self.closed and not self._waiting

    def cut(self) -> None:
        """Say that the sender takes no more requests."""
        self._cut = True
        self._notify()

    def _notify(self) -> None:
        with self._room:
            self._room.notify_all()


_MOST_WAITING: Final = 1_000
"""Requests that wait for a retry while new ones are taken: a task holds no more in an outage."""


@dataclass(slots=True, order=True)
class PendingRequest:
    """A request that has no outcome yet.

    Attributes:
        due: when it may be called next; seconds of the clock.
        request: what is called.
        calls_made: its calls so far.
        earlier_calls: calls of the split request, if this is its first part.
        first_call_at: when its first call started; for a part of a request without an answer, when that one started.
            Seconds of the clock, None before the first call.
        own_call_at: when its own first call started, after it was last set aside.
        failed_at: when a call of it, or of the split request, first got no answer; None if none did.
        was_set_aside: whether it, or the split request, was set aside.
        expired_at: when the service first said that the credentials have expired; None if it has not.
        startedAt: of the last call, with its time zone.
        latency: of the last call, in seconds.
    """

    due: float
    request: Request = field(compare=False)
    calls_made: int = field(default=0, compare=False)
    earlier_calls: int = field(default=0, compare=False)
    first_call_at: float | None = field(default=None, compare=False)
    own_call_at: float | None = field(default=None, compare=False)
    failed_at: float | None = field(default=None, compare=False)
    was_set_aside: bool = field(default=False, compare=False)
    expired_at: float | None = field(default=None, compare=False)
    startedAt: datetime | None = field(default=None, compare=False)
    latency: float = field(default=0.0, compare=False)

    def begin(self, clock: float, now: datetime) -> None:
        """Note that a call of this request starts."""
        self.first_call_at = clock if self.first_call_at is None else self.first_call_at
        self.own_call_at = clock if self.own_call_at is None else self.own_call_at
        self.startedAt = now
        self.calls_made += 1

    def outcome(self, status: Status, answer: Response) -> Outcome:
        """Return its outcome, after a call."""
        assert self.startedAt is not None
        attempts = self.earlier_calls + self.calls_made
        return Outcome(self.request, status, answer, attempts, self.startedAt, round(self.latency * 1000))


class RequestQueue:
    """Decides which request is next: parts of split ones, then due retries, then new ones, then those set aside.

    If calls must be single events of different requests, parts come after new ones, because one request that is refused
    event by event says nothing about the others.

    Args:
        buffer: new requests; taken one at a time, when they are next.
        clock: seconds, monotonic.
    """

    def __init__(self, buffer: RequestBuffer, clock: Callable[[], float]) -> None:
        self._buffer = buffer
        self._clock = clock
        self._parts: deque[PendingRequest] = deque()
        self._retries: list[PendingRequest] = []
        self._set_aside: list[PendingRequest] = []
        self._failing: dict[str, float] = {}
        """When requests without an answer so far first failed, by id."""

    @property
    def empty(self) -> bool:
        """Whether no request is next, now or later, unless a call in flight adds one."""
        return self._buffer.empty and not self._waiting

    @property
    def _waiting(self) -> int:
        return len(self._parts) + len(self._retries) + len(self._set_aside)

    def wait(self, *, singly: bool = False) -> float:
        """Seconds until one is due: 0 now, infinity if the buffer must first get another."""
        if self._may_feed and self._buffer.ready:
            return 0.0
        if self._parts and (not singly or self._buffer.empty):
            return 0.0
        due = [heap[0].due for heap in (self._retries, self._set_aside if not self._may_feed else []) if heap]
        return max(min(due) - self._clock(), 0.0) if due else float("inf")

    def next(self, done: EndedRequestSet, *, singly: bool = False) -> PendingRequest | None:
        """Take the next one; None if none is due.

        Args:
            done: requests that others have ended: they are left out, and of a split one only its open parts are taken.
            singly: take single events of new requests, before the parts of others.
        """
        while (pending := self._due(singly)) is not None:
            name = pending.request.requestId
            if done.has_part_of(name):
                self.split(pending)
            elif not done.has(name):
                return self._single_out(pending) if singly else pending
        return None

    def split(self, pending: PendingRequest) -> None:
        """Put the halves of a request in its place, next."""
        first, second = self._parts_of(pending, pending.request.halves())
        first.earlier_calls = pending.earlier_calls + pending.calls_made
        self._parts.extendleft((second, first))

    def retry(self, pending: PendingRequest, due: float) -> None:
        """Put a request back for a retry."""
        pending.due = due
        heapq.heappush(self._retries, pending)

    def set_aside(self, pending: PendingRequest, due: float) -> None:
        """Put a request back for a retry when there is nothing else to call."""
        pending.due, pending.first_call_at, pending.own_call_at, pending.was_set_aside = due, None, None, True
        heapq.heappush(self._set_aside, pending)

    def note_answer(self, pending: PendingRequest, *, failed: bool) -> None:
        """Note whether a call of a request got no answer; calls of other requests do not count."""
        if failed:
            pending.failed_at = self._clock() if pending.failed_at is None else pending.failed_at
            self._failing[pending.request.requestId] = pending.failed_at
        else:
            pending.failed_at = None
            self._failing.pop(pending.request.requestId, None)

    def failing(self, answered: float) -> tuple[int, int]:
        """Count the requests without an answer so far.

        Args:
            answered: when the latest acknowledged call started: requests that failed before have seen it succeed.

        Returns:
            Those that failed before, and the others.
        """
        seen = sum(failed < answered for failed in self._failing.values())
        return seen, len(self._failing) - seen

    def has_others(self, under_way: int) -> bool:
        """Whether any request has not failed, with so many calls in flight."""
        return not self._buffer.empty or under_way + self._waiting > len(self._failing)

    @property
    def _may_feed(self) -> bool:
        """Whether new requests may be taken: there are some, and not too many wait for a retry."""
        return not self._buffer.empty and len(self._retries) + len(self._set_aside) < _MOST_WAITING

    def _due(self, singly: bool) -> PendingRequest | None:
        if self._parts and not singly:
            return self._parts.popleft()
        now = self._clock()
        if self._retries and self._retries[0].due <= now:
            return heapq.heappop(self._retries)
        request = self._buffer.take() if self._may_feed else None
        if request is not None:
            return PendingRequest(now, request)
        if self._parts and self._buffer.empty:
            return self._parts.popleft()
        if self._set_aside and not self._may_feed and self._set_aside[0].due <= now:
            return heapq.heappop(self._set_aside)
        return None

    def _single_out(self, pending: PendingRequest) -> PendingRequest:
        """Keep the rest of a new request for later."""
        if pending.calls_made or len(pending.request.events) == 1 or "." in pending.request.requestId:
            return pending
        single, rest = pending.request.single_out()
        first, *others = self._parts_of(pending, (single, *rest))
        self._parts.extend(others)
        return first

    def _parts_of(self, pending: PendingRequest, parts: Iterable[Request]) -> list[PendingRequest]:
        """Make pending requests of the parts; if the request got no answer, they continue with its times."""
        self._failing.pop(pending.request.requestId, None)
        waiting = [PendingRequest(pending.due, part, failed_at=pending.failed_at) for part in parts]
        for part in waiting:
            if pending.failed_at is not None:
                part.first_call_at, part.was_set_aside = pending.first_call_at, True
                self._failing[part.request.requestId] = pending.failed_at
        return waiting
