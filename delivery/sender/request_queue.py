"""The requests of a task that have begun or may begin: which is called next, and when."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from delivery.ended_requests import EndedRequestSet
from delivery.model import Outcome, Request, Response, Status
from delivery.sender.request_buffer import RequestBuffer

_MOST_WAITING: Final = 1_000
"""Requests that wait for a retry while new ones are taken: a task holds no more in an outage."""


@dataclass(slots=True, order=True)
class PendingRequest:
    """A request that has no outcome yet.

    Attributes:
        due: when it may be called next; seconds of the clock.
        request: what is called.
        made: its calls so far.
        before: calls of the split request, if this is its first part.
        begun: when its first call started; for a part of a request without an answer, when that one started. Seconds
            of the clock, None before the first call.
        since: when its own first call started, after it was last set aside.
        failed: when a call of it, or of the split request, first got no answer; None if none did.
        aside: whether it, or the split request, was set aside.
        expired: when the service first said that the credentials have expired; None if it has not.
        startedAt: of the last call, with its time zone.
        latency: of the last call, in seconds.
    """

    due: float
    request: Request = field(compare=False)
    made: int = field(default=0, compare=False)
    before: int = field(default=0, compare=False)
    begun: float | None = field(default=None, compare=False)
    since: float | None = field(default=None, compare=False)
    failed: float | None = field(default=None, compare=False)
    aside: bool = field(default=False, compare=False)
    expired: float | None = field(default=None, compare=False)
    startedAt: datetime | None = field(default=None, compare=False)
    latency: float = field(default=0.0, compare=False)

    def begin(self, clock: float, now: datetime) -> None:
        """Note that a call of this request starts."""
        self.begun = clock if self.begun is None else self.begun
        self.since = clock if self.since is None else self.since
        self.startedAt = now
        self.made += 1

    def outcome(self, status: Status, answer: Response) -> Outcome:
        """Return its outcome, after a call."""
        assert self.startedAt is not None
        attempts = self.before + self.made
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
        self._again: list[PendingRequest] = []
        self._aside: list[PendingRequest] = []
        self._failing: dict[str, float] = {}
        """When requests without an answer so far first failed, by id."""

    @property
    def empty(self) -> bool:
        """Whether no request is next, now or later, unless a call in flight adds one."""
        return self._buffer.empty and not self._waiting

    @property
    def _waiting(self) -> int:
        return len(self._parts) + len(self._again) + len(self._aside)

    def wait(self, *, singly: bool = False) -> float:
        """Seconds until one is due: 0 now, infinity if the buffer must first get another."""
        if self._may_feed and self._buffer.ready:
            return 0.0
        if self._parts and (not singly or self._buffer.empty):
            return 0.0
        due = [heap[0].due for heap in (self._again, self._aside if not self._may_feed else []) if heap]
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
        first.before = pending.before + pending.made
        self._parts.extendleft((second, first))

    def again(self, pending: PendingRequest, due: float) -> None:
        """Put a request back for a retry."""
        pending.due = due
        heapq.heappush(self._again, pending)

    def set_aside(self, pending: PendingRequest, due: float) -> None:
        """Put a request back for a retry when there is nothing else to call."""
        pending.due, pending.begun, pending.since, pending.aside = due, None, None, True
        heapq.heappush(self._aside, pending)

    def note(self, pending: PendingRequest, *, failed: bool) -> None:
        """Note whether a call of a request got no answer; calls of other requests do not count."""
        if failed:
            pending.failed = self._clock() if pending.failed is None else pending.failed
            self._failing[pending.request.requestId] = pending.failed
        else:
            pending.failed = None
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
        return not self._buffer.empty and len(self._again) + len(self._aside) < _MOST_WAITING

    def _due(self, singly: bool) -> PendingRequest | None:
        if self._parts and not singly:
            return self._parts.popleft()
        now = self._clock()
        if self._again and self._again[0].due <= now:
            return heapq.heappop(self._again)
        request = self._buffer.take() if self._may_feed else None
        if request is not None:
            return PendingRequest(now, request)
        if self._parts and self._buffer.empty:
            return self._parts.popleft()
        if self._aside and not self._may_feed and self._aside[0].due <= now:
            return heapq.heappop(self._aside)
        return None

    def _single_out(self, pending: PendingRequest) -> PendingRequest:
        """Keep the rest of a new request for later."""
        if pending.made or len(pending.request.events) == 1 or "." in pending.request.requestId:
            return pending
        single, rest = pending.request.single_out()
        first, *others = self._parts_of(pending, (single, *rest))
        self._parts.extend(others)
        return first

    def _parts_of(self, pending: PendingRequest, parts: Iterable[Request]) -> list[PendingRequest]:
        """Make pending requests of the parts; if the request got no answer, they continue with its times."""
        self._failing.pop(pending.request.requestId, None)
        made = [PendingRequest(pending.due, part, failed=pending.failed) for part in parts]
        for part in made:
            if pending.failed is not None:
                part.begun, part.aside = pending.begun, True
                self._failing[part.request.requestId] = pending.failed
        return made
