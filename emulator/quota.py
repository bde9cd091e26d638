"""The quota: calls in a sliding second, of this client and of another one."""

import math
from collections import deque


class SlidingSecond:
    """Calls by their times, and the number in the fullest second.

    A second is half-open: no second has both a call at 0.0 and one at 1.0 seconds. Times are in seconds, of a clock
    that never goes back.
    """

    def __init__(self) -> None:
        """Start with no call."""
        self._times: deque[float] = deque()
        self.peak = 0
        """The number of calls in the fullest second so far."""

    def held(self, now: float) -> int:
        """Return the number of calls in the second up to `now`."""
        times = self._times
        while times and times[0] <= now - 1.0:
            times.popleft()
        return len(times)

    def add(self, now: float) -> None:
        """Count a call at `now`."""
        self._times.append(now)
        held = self.held(now)
        self.peak = max(self.peak, held)


class QuotaWindow:
    """Admits calls of this client while the second up to each has fewer calls than the quota, exactly.

    The second includes the calls of another client. These are never refused, and use up the quota.
    """

    def __init__(self, quota: int = 0, other_rate: float = 0.0) -> None:
        """Start without calls, at `quota` calls a second (0 admits all), `other_rate` of them by the other client."""
        self._quota = quota
        self._admitted = SlidingSecond()
        self._others = OtherClient(other_rate)
        self._first: float | None = None
        self._last = 0.0

    @property
    def peak(self) -> int:
        """The number of this client's calls in the fullest second so far."""
        return self._admitted.peak

    @property
    def other_calls(self) -> int:
        """The number of calls of the other client between this client's first and last call."""
        return 0 if self._first is None else self._others.count(self._first, self._last)

    def admit(self, now: float) -> bool:
        """Count a call of this client at `now` (seconds, of a clock that never goes back); return False if full."""
        if self._first is None:
            self._first = now
        self._last = now
        if self._quota and self._admitted.held(now) + self._others.count(now - 1.0, now) >= self._quota:
            return False
        self._admitted.add(now)
        return True

    def change(self, quota: int, other_rate: float, now: float) -> None:
        """Use another quota and another rate of the other client from `now`; the past does not change."""
        self._quota = quota
        self._others.change(other_rate, now)


_NANOSECONDS = 1_000_000_000


class OtherClient:
    """Evenly spaced calls without begin and end: one each 1/rate seconds of the clock.

    Nothing makes these calls. Their number between two moments is computed on demand.

    Examples:
        >>> site = OtherClient(2)
        >>> [site.count(now - 1.0, now) for now in (0.0, 0.25, 0.5, 1e6)]
        [2, 2, 2, 2]
        >>> site.change(0.5, now=10.0)
        >>> [site.count(now - 1.0, now) for now in (10.0, 10.25, 10.5, 11.0, 12.0, 13.0)]
        [2, 2, 1, 0, 1, 0]
    """

    def __init__(self, rate: float) -> None:
        """Make `rate` calls a second, 0 or more; below 1, calls are more than a second apart."""
        self._phases: list[tuple[float, float]] = [(-math.inf, rate)]

    def change(self, rate: float, now: float) -> None:
        """Make `rate` calls a second from `now` (seconds); earlier calls still count."""
        self._phases.append((now, rate))

    def count(self, after: float, until: float) -> int:
        """Return the number of calls after the first moment (in seconds), up to and including the second."""
        total = 0
        for since, rate in reversed(self._phases):
            if rate and since < until:
                total += _calls_by(until, rate) - _calls_by(max(since, after), rate)
            if since <= after:
                break
            until = min(since, until)
        return total


def _calls_by(moment: float, rate: float) -> int:
    # In whole numbers, so that rounding never gives a second one call too many.
    calls, seconds = rate.as_integer_ratio()
    return round(moment * _NANOSECONDS) * calls // (seconds * _NANOSECONDS)
