"""The quota: calls in a sliding second, our client's and those of others."""

from collections import deque

from emulator.others import OtherClient


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


class Window:
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
