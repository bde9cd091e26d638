"""The quota: calls in a sliding second, those of our client and those of others."""

import math
from collections import deque


class SlidingSecond:
    """Calls by their times, and how many the fullest second held.

    A span is half-open: of calls at 0.0 and at 1.0 seconds, no span holds both. Times are in seconds, of a clock
    that never goes back.
    """

    def __init__(self) -> None:
        """Start with no call."""
        self._times: deque[float] = deque()
        self.peak = 0
        """The most calls that one second has held so far."""

    def held(self, now: float) -> int:
        """Return how many calls the second up to `now` holds."""
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
    """Admits our client's calls while the second up to each holds less than the quota, exactly.

    The second holds another client's calls too, which are never refused: what they take is taken.
    """

    def __init__(self, quota: int = 0, other_rate: float = 0.0) -> None:
        """Start with none of our calls, at `quota` calls a second (0 admits all), `other_rate` of them another's."""
        self._quota = quota
        self._admitted = SlidingSecond()
        self._others = OtherClient(other_rate)
        self._first: float | None = None
        self._last = 0.0

    @property
    def peak(self) -> int:
        """The most of our calls that one second has held so far."""
        return self._admitted.peak

    @property
    def other_calls(self) -> int:
        """How many calls the other client has made since the first of ours, up to the last."""
        return 0 if self._first is None else self._others.count(self._first, self._last)

    def admit(self, now: float) -> bool:
        """Count a call of ours at `now` (seconds, of a clock that never goes back), or return False if full."""
        if self._first is None:
            self._first = now
        self._last = now
        if self._quota and self._admitted.held(now) + self._others.count(now - 1.0, now) >= self._quota:
            return False
        self._admitted.add(now)
        return True

    def change(self, quota: int, other_rate: float, now: float) -> None:
        """Go on with another quota and another client's rate from `now` on; the past stays as it was."""
        self._quota = quota
        self._others.change(other_rate, now)


_NANOSECONDS = 1_000_000_000


class OtherClient:
    """Calls that come evenly, for as long as the clock has run and will run: each 1/rate seconds by the clock.

    Nothing makes these calls: how many there were between two moments is reckoned when somebody asks.

    Examples:
        >>> site = OtherClient(2)
        >>> [site.count(now - 1.0, now) for now in (0.0, 0.25, 0.5, 1e6)]
        [2, 2, 2, 2]
        >>> site.change(0.5, now=10.0)
        >>> [site.count(now - 1.0, now) for now in (10.0, 10.25, 10.5, 11.0, 12.0, 13.0)]
        [2, 2, 1, 0, 1, 0]
    """

    def __init__(self, rate: float) -> None:
        """Make `rate` calls a second, 0 or more; fractions are calls further than a second apart."""
        self._phases: list[tuple[float, float]] = [(-math.inf, rate)]

    def change(self, rate: float, now: float) -> None:
        """Make `rate` calls a second from `now` (seconds) on; those made before stay made."""
        self._phases.append((now, rate))

    def count(self, after: float, until: float) -> int:
        """Return how many calls were made after the one moment (in seconds) and until the other, included."""
        total = 0
        for since, rate in reversed(self._phases):
            if rate and since < until:
                total += _calls_by(until, rate) - _calls_by(max(since, after), rate)
            if since <= after:
                break
            until = min(since, until)
        return total


def _calls_by(moment: float, rate: float) -> int:
    # In whole numbers, so that no second holds a call too many because a product was rounded.
    calls, seconds = rate.as_integer_ratio()
    return round(moment * _NANOSECONDS) * calls // (seconds * _NANOSECONDS)
