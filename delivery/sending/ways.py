"""The requests that a task has begun, or is to begin: which is called next, and when."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from delivery.channel.parts import Done
from delivery.records import Answer, Outcome, Request, Status
from delivery.sending.feed import Feed


@dataclass(slots=True, order=True)
class Way:
    """A request on its way to its end.

    Attributes:
        due: when it may be called next; seconds of the clock.
        request: what is called.
        made: its calls so far.
        before: calls of the whole that it is the first part of.
        begun: when its first call started; seconds of the clock.
        expired: when the service first said that the credentials have expired; None while it has not.
        startedAt: of the last call, aware.
        latency: of the last call, in seconds.
    """

    due: float
    request: Request = field(compare=False)
    made: int = field(default=0, compare=False)
    before: int = field(default=0, compare=False)
    begun: float = field(default=0.0, compare=False)
    expired: float | None = field(default=None, compare=False)
    startedAt: datetime | None = field(default=None, compare=False)
    latency: float = field(default=0.0, compare=False)

    def begin(self, clock: float, now: datetime) -> None:
        """Note that a call of it starts."""
        self.begun = self.begun if self.made else clock
        self.startedAt = now
        self.made += 1

    def outcome(self, status: Status, answer: Answer) -> Outcome:
        """Say how it ended, after a call."""
        assert self.startedAt is not None
        attempts = self.before + self.made
        return Outcome(self.request, status, answer, attempts, self.startedAt, round(self.latency * 1000))


class Ways:
    """Says which request is next: parts of split ones, then retries that are due, then new ones.

    Args:
        feed: of new ones; taken one at a time, as they are next.
        clock: seconds, monotonic.
    """

    def __init__(self, feed: Feed, clock: Callable[[], float]) -> None:
        self._feed = feed
        self._clock = clock
        self._parts: deque[Way] = deque()
        self._again: list[Way] = []

    @property
    def empty(self) -> bool:
        """Whether nothing is next, now or later, unless a call under way adds to it."""
        return self._feed.empty and not self._parts and not self._again

    def wait(self) -> float:
        """Seconds until one is due: 0 now, infinity if another must first be fed."""
        if self._parts or self._feed.ready:
            return 0.0
        return max(self._again[0].due - self._clock(), 0.0) if self._again else float("inf")

    def next(self, done: Done) -> Way | None:
        """Take the next one; None if none is due.

        Args:
            done: what others have ended: it is left out, and of a request that they split only what is left is taken.
        """
        while (way := self._due()) is not None:
            name = way.request.requestId
            if done.has_part_of(name):
                self.split(way)
            elif not done.has(name):
                return way
        return None

    def split(self, way: Way) -> None:
        """Put the halves of a request in its place, next."""
        first, second = (Way(way.due, half) for half in way.request.halves())
        first.before = way.before + way.made
        self._parts.extendleft((second, first))

    def again(self, way: Way, due: float) -> None:
        """Put a request back, to be called again."""
        way.due = due
        heapq.heappush(self._again, way)

    def _due(self) -> Way | None:
        if self._parts:
            return self._parts.popleft()
        now = self._clock()
        if self._again and self._again[0].due <= now:
            return heapq.heappop(self._again)
        request = self._feed.take()
        return Way(now, request) if request is not None else None
