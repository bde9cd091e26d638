"""The target rate: the limit, or what the service accepts of it, because the live site shares the quota."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

_SECOND: Final = 1.0
_BELOW: Final = 0.99
"""After throttling: this share of the calls that the service would have accepted."""
_DEEPEST: Final = 0.5
"""No cut takes more than this share at once, because one unusual second proves little."""
_SHOWS_AFTER: Final = 1.25
"""Seconds until a cut has an effect: the second of the quota, and the time of the calls."""
_CREEP: Final = 0.004
"""Share of the limit a second: the additive increase right after a cut."""
_PROBE: Final = 0.0008
"""Share of the limit a second, times the square of the seconds since the cut, to find returned quota soon."""
_REACHED: Final = 0.8
_LEAST: Final = 1.0


class AimdRateController:
    """Additive increase, multiplicative decrease, for a whole delivery.

    The cut takes the share that was throttled, and a little more. A quota is a fixed limit, so a fixed share would
    waste most of it.

    Args:
        max_rate: calls a second that are never exceeded.
        clock: seconds, monotonic.

    Attributes:
        max_rate: as given.
    """

    def __init__(self, max_rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_rate = max_rate
        self._clock = clock
        self._target = max_rate
        self._updated = clock()
        self._cut_at: float | None = None
        self._throttled_rate = max_rate
        self._ended_calls: deque[tuple[float, int, int]] = deque([(clock(), 0, 0)])
        """Totals of accepted and throttled calls since the start, each with its time, of the last second."""

    def note(self, admitted: int, throttled: int) -> None:
        """Take in calls that ended just now."""
        now = self._clock()
        _, before, refused = self._ended_calls[-1]
        self._ended_calls.append((now, before + admitted, refused + throttled))
        while len(self._ended_calls) > 2 and self._ended_calls[1][0] <= now - _SECOND:
            self._ended_calls.popleft()
        if throttled and (self._cut_at is None or now - self._cut_at >= _SHOWS_AFTER):
            self._cut(now)

    def rate(self) -> float:
        """Calls a second to make now."""
        now = self._clock()
        if self._cut_at is not None:
            since = now - self._cut_at
            gain = self.max_rate * (now - self._updated) * (_CREEP + _PROBE * since * since)
            self._target = min(self.max_rate, self._target + gain)
        self._updated = now
        return self._target

    def why(self) -> str:
        """Say where the target comes from."""
        if self._cut_at is None or self.rate() >= self.max_rate:
            return "--max-rate"
        return f"throttled at {self._throttled_rate:,.0f}/s {self._clock() - self._cut_at:.0f} s ago"

    def _cut(self, now: float) -> None:
        target = self.rate()
        admitted, throttled = self._last_second(now)
        share = max(admitted / max(admitted + throttled, 1.0), _DEEPEST)
        # If the tasks did not reach the target, their actual rate was too high already.
        reached = target if admitted + throttled > _REACHED * target else max(admitted + throttled, _LEAST)
        self._throttled_rate = share * reached
        self._target = min(max(_LEAST, _BELOW * self._throttled_rate, _DEEPEST * target), self.max_rate)
        self._cut_at = now

    def _last_second(self, now: float) -> tuple[float, float]:
        """Calls accepted and throttled in the last second; reports cover a period, so the oldest counts in part."""
        (begin, *before), (end, *after) = self._ended_calls[0], self._ended_calls[1]
        part = min(max((now - _SECOND - begin) / (end - begin), 0.0), 1.0) if end > begin else 1.0
        _, admitted, throttled = self._ended_calls[-1]
        first = [old + (new - old) * part for old, new in zip(before, after, strict=True)]
        return admitted - first[0], throttled - first[1]
