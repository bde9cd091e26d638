"""Counts the calls of a task."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final

from delivery.model import Response
from delivery.responses import ResponseMeaning

_SMOOTH: Final = 0.1
"""The weight of the newest call in the mean latency."""
SLOTS: Final = 10
"""Slots in a second: calls are counted by the slot in which they began."""
_KEPT: Final = 5 * SLOTS
"""Slots that a message holds; the driver gets each long before it is forgotten."""


@dataclass(slots=True)
class CallStatistics:
    """What a task, or a delivery, has called so far.

    Attributes:
        requests: requests for which a call was made; each part of a split request counts.
        attempts: calls, retries included.
        retried: how many of them repeated a call of the same request.
        ended: how many of them have ended.
        throttled: how many of them the service throttled.
        answered: how many of them got any answer.
        acknowledged: how many of them the service acknowledged.
        refused: how many of them the service refused because of their content.
        refusedInARow: how many of them it has refused since its last acknowledgement.
        latency: seconds, a moving mean over the answered calls.
        begun: how many of them began in each of the last slots of Unix time, by slot number, `SLOTS` a second.
    """

    requests: int = 0
    attempts: int = 0
    retried: int = 0
    ended: int = 0
    throttled: int = 0
    answered: int = 0
    latency: float = 0.0
    acknowledged: int = 0
    refused: int = 0
    refusedInARow: int = 0
    begun: dict[int, int] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        self.begun = {int(slot): count for slot, count in self.begun.items()}  # JSON turns the keys into text

    def values(self) -> dict[str, Any]:
        """Return the fields by name. `asdict` would make a deep copy of each number for every question."""
        return {**{one.name: getattr(self, one.name) for one in fields(self)}, "begun": dict(self.begun)}

    def begin(self, *, again: bool, at: float) -> None:
        """Count a call that starts, at a Unix time in seconds."""
        slot = int(at * SLOTS)
        self.begun[slot] = self.begun.get(slot, 0) + 1
        if len(self.begun) > _KEPT:
            del self.begun[next(iter(self.begun))]
        self.attempts += 1
        self.retried += again
        self.requests += not again

    def end(self, answer: Response, what: ResponseMeaning, seconds: float) -> None:
        """Count a call that has ended.

        Args:
            answer: that it came back with.
            what: the answer means.
            seconds: that it took.
        """
        self.ended += 1
        self.throttled += what is ResponseMeaning.THROTTLED
        if what is ResponseMeaning.DELIVERED:
            self.acknowledged += 1
            self.refusedInARow = 0
        elif what is ResponseMeaning.REFUSED:
            self.refused += 1
            self.refusedInARow += 1
        if answer.httpStatus is not None:
            self.answered += 1
            self.latency += (seconds - self.latency) * (_SMOOTH if self.answered > 1 else 1.0)

    def add(self, other: CallStatistics) -> None:
        """Add the counts of another task. Latency, refusals in a row and begin times do not change."""
        self.requests += other.requests
        self.attempts += other.attempts
        self.retried += other.retried
        self.ended += other.ended
        self.throttled += other.throttled
        self.answered += other.answered
        self.acknowledged += other.acknowledged
        self.refused += other.refused
