"""Measures calls a second over full seconds, as the limit is defined."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from delivery.call_statistics import SLOTS

_MOST_SLOTS: Final = 100 * SLOTS
_KEPT_SLOTS: Final = 30 * SLOTS
"""Slots that keep their own count. Reports of tasks arrive sooner than this."""


@dataclass(frozen=True, slots=True)
class FullSeconds:
    """The seconds between the first and the last call, without the partial ones at either end.

    Attributes:
        calls: calls that began in these seconds, with retries.
        seconds: the number of seconds.
    """

    calls: int = 0
    seconds: int = 0

    def __add__(self, other: FullSeconds) -> FullSeconds:
        """Add the numbers of two deliveries."""
        return FullSeconds(self.calls + other.calls, self.seconds + other.seconds)

    @property
    def rate(self) -> float | None:
        """The mean of calls a second; None if the delivery ended before a second was full.

        Examples:
            >>> FullSeconds(290, 3).rate, FullSeconds().rate
            (96.7, None)
        """
        return round(self.calls / self.seconds, 1) if self.seconds else None


class CallRate:
    """Counts the calls of one delivery by the time at which they began, in bounded memory."""

    def __init__(self) -> None:
        self._slots: Counter[int] = Counter()
        self._older_calls = 0
        """Calls of older slots, all of them full."""
        self._first_slot: int | None = None

    def add(self, begun: Mapping[int, int]) -> None:
        """Add calls, by the slot in which they began."""
        self._slots.update(begun)
        if len(self._slots) > _MOST_SLOTS:
            self._first_slot = min(self._slots) if self._first_slot is None else self._first_slot
            oldest = max(self._slots) - _KEPT_SLOTS
            for slot in [slot for slot in self._slots if slot < oldest]:
                count = self._slots.pop(slot)
                self._older_calls += count if slot > self._first_slot else 0

    def full_seconds(self) -> FullSeconds:
        """Count the full seconds, and the calls that began in them."""
        if not self._slots:
            return FullSeconds()
        first = min(self._slots) if self._first_slot is None else self._first_slot
        seconds = max(max(self._slots) - 1 - first, 0) // SLOTS
        inside = range(first + 1, first + 1 + seconds * SLOTS)
        return FullSeconds(
            self._older_calls + sum(self._slots[slot] for slot in self._slots if slot in inside), seconds
        )
