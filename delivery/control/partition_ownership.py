"""Who may send which part: one attempt at a time, so that retries and speculation send nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from delivery.ended_requests import EndedRequestLog


@dataclass(slots=True)
class _Part:
    owner: str | None = None
    owned_until: float = 0.0
    """When the ownership ends, if the owner sends no message."""
    successor: str | None = None
    """The attempt that connected last: it owns the part next."""
    awaited_until: float = 0.0
    """Until when the part waits for the successor, if it sends no message."""
    complete: bool = False
    ended: EndedRequestLog = field(default_factory=EndedRequestLog)


class PartitionOwnership:
    """Ownership of the parts of a delivery, on the driver.

    An attempt sends only while it owns its part, and knows until when. It counts from its question, not from the
    answer, so its ownership never ends later at the attempt than here. Spark starts another attempt if the first is
    slow or lost. Of two attempts at one part the later gets it. The earlier hands it over when its calls have ended. If
    it is silent, it loses the part when its time is over. If the later is silent for as long, the next one that asks
    gets the part.

    Args:
        clock: seconds, monotonic.
        grace: seconds that an attempt owns its part after its last message.
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
        """An attempt asks: say whether it owns the part, from its question until the grace ends."""
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
        """Whether an attempt owns a part, no successor waits, and the part is not complete."""
        part = self._parts[number]
        return part.owner == attempt == part.successor and not part.complete

    def leave(self, number: int, attempt: str) -> None:
        """Note that an attempt makes no more calls, for now or for good."""
        part = self._parts[number]
        if part.owner == attempt:
            part.owner = None

    def remove_attempt(self, number: int, attempt: str) -> None:
        """An attempt has ended for good, so it is no longer a successor."""
        self.leave(number, attempt)
        part = self._parts[number]
        if part.successor == attempt:
            part.successor = None

    def mark_complete(self, number: int) -> None:
        """A part is complete: nobody needs to wait for it."""
        self._parts[number].complete = True

    def is_complete(self, number: int) -> bool:
        """Whether a part is complete."""
        return self._parts[number].complete

    def ended_log(self, number: int) -> EndedRequestLog:
        """The ended requests of a part."""
        return self._parts[number].ended
