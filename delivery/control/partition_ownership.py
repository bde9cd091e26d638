"""Who may send which part: one attempt at a time, so that retries, speculation and lost executors do not double."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from delivery.ended_requests import EndedRequestLog


@dataclass(slots=True)
class _Part:
    owner: str | None = None
    owned_until: float = 0.0
    """When the owner's time is over, if it is not heard again."""
    successor: str | None = None
    """The attempt that came last: it is to have the part."""
    awaited_until: float = 0.0
    """Until when the successor is waited for, if it is not heard again."""
    complete: bool = False
    ended: EndedRequestLog = field(default_factory=EndedRequestLog)


class PartitionOwnership:
    """Ownership of the parts of a delivery, on the driver.

    An attempt sends only while it owns its part, and knows itself until when: a time that starts when it asked, not
    when it was answered, so that it never ends later there than here. Of two attempts at one part the later is to have
    it (Spark starts another one where the first is slow or lost): the earlier hands it over when its calls have ended,
    or, if it cannot be heard, loses it when its time is over. Where the later is not heard for as long, it goes to who
    still asks.

    Args:
        clock: seconds, monotonic.
        grace: seconds that an attempt owns its part after it was last heard.
    """

    def __init__(self, clock: Callable[[], float], grace: float) -> None:
        self._clock = clock
        self._grace = grace
        self._parts: dict[int, _Part] = {}

    def add_attempt(self, number: int, attempt: str) -> None:
        """Note that an attempt at a part has started."""
        part = self._parts.setdefault(number, _Part())
        part.successor, part.awaited_until = attempt, self._clock() + self._grace

    def renew(self, number: int, attempt: str) -> bool:
        """Note that an attempt asks; say whether it owns the part, now and for the grace from its question on."""
        part, now = self._parts[number], self._clock()
        if part.successor is None or part.awaited_until <= now:
            part.successor = attempt
        if part.successor == attempt:
            part.awaited_until = now + self._grace
            if part.owner is None or part.owned_until <= now:
                part.owner = attempt
        if part.owner == attempt:
            part.owned_until = now + self._grace
        return self.owns(number, attempt)

    def owns(self, number: int, attempt: str) -> bool:
        """Whether a part is an attempt's own, nobody else is to have it, and something is left of it."""
        part = self._parts[number]
        return part.owner == attempt == part.successor and not part.complete

    def leave(self, number: int, attempt: str) -> None:
        """Note that an attempt makes no more calls, for now or for good."""
        part = self._parts[number]
        if part.owner == attempt:
            part.owner = None

    def remove_attempt(self, number: int, attempt: str) -> None:
        """Note that an attempt has ended for good: it is no successor any more."""
        self.leave(number, attempt)
        part = self._parts[number]
        if part.successor == attempt:
            part.successor = None

    def mark_complete(self, number: int) -> None:
        """Note that nothing is left of a part: who waits for it need not."""
        self._parts[number].complete = True

    def is_complete(self, number: int) -> bool:
        """Whether nothing is left of a part."""
        return self._parts[number].complete

    def ended_log(self, number: int) -> EndedRequestLog:
        """What has ended of a part."""
        return self._parts[number].ended
