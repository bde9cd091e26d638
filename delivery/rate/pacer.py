"""How fast: when a task's next call may start, under a rate that changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil, floor
from typing import Final

_SECOND: Final = 1.005
"""What counts as one: calls that were delayed on their way arrive closer together than they were sent."""
_APART: Final = 1.015
"""Calls are so much further apart than the rate says: for the same reason, and to make up for pauses out of it."""
_CATCH_UP: Final = 0.25
"""Seconds whose unused calls may still be made: a pause of the process or the machine costs no throughput."""
_CLOSEST: Final = 0.5
"""Calls that catch up are at least so much of the usual distance apart."""
_TICK: Final = 1e-3
"""Seconds that a call that catches up may come too early: event loops' timers tell no shorter times (epoll's take
whole milliseconds, rounded up), and one wait each would cost a fast task some calls."""
_ROUNDING: Final = 1e-6
"""Seconds that are no wait, calls that are no call: only the end of a reckoning with fractions."""


class Pacer:
    """Spaces calls evenly; no second holds more calls than the rate gave in that very second.

    So the calls of tasks whose rates never add up to more than a limit never pass it in any second either, however
    the rates move between them. A rate that is no whole number of calls is made up for by a call more in some seconds:
    of the tasks that share a limit one alone may have such a rate.

    Args:
        clock: seconds, monotonic.
        rate: calls a second to start with.
    """

    def __init__(self, clock: Callable[[], float], rate: float = 0.0) -> None:
        self._clock = clock
        now = clock()
        self._rate = rate
        self._credit = 0.0
        """Calls earned and not made."""
        self._updated = now
        self._next_spaced = now
        """When calls that catch up may go on."""
        self._call_times: deque[float] = deque()
        self._rates: deque[tuple[float, float]] = deque([(now, rate)])
        """Since when which rate, over the last second."""

    @property
    def rate(self) -> float:
        """Calls a second, now."""
        return self._rate

    def set_rate(self, rate: float, since: float | None = None) -> None:
        """Change the rate. A lower one makes up for no pause: what was given up may be another task's by then.

        Args:
            rate: calls a second; 0 lets no call pass.
            since: a time of the clock that has passed meanwhile; None for now.
        """
        if rate != self._rate:
            self._earn(max(self._clock() if since is None else since, self._updated))
            if rate < self._rate:
                self._credit = min(self._credit, 1.0)
            self._rate = rate
            self._rates.append((self._updated, rate))
            self._next_spaced = min(self._next_spaced, self._updated + self._closest())

    def wait(self) -> float:
        """Seconds until the next call may start, as far as one can tell: 0 now, infinity at a rate of 0."""
        now = self._clock()
        self._earn(now)
        if not self._rate:
            return float("inf")
        usual = _APART / self._rate
        spaced = self._next_spaced - now if self._next_spaced > now + _TICK else 0.0
        wait = max((1.0 - self._credit) * usual, spaced, self._room(now, usual))
        return wait if wait > _ROUNDING else 0.0

    def due(self) -> int:
        """Count the calls that were earned and not made, one at the least."""
        self._earn(self._clock())
        return max(1, int(self._credit))

    def take(self) -> None:
        """A call starts now."""
        now = self._clock()
        self._earn(now)
        self._credit -= 1.0
        self._next_spaced = max(self._next_spaced, now) + self._closest()
        self._call_times.append(now)

    def forget_pause(self) -> None:
        """Make up for no pause that there was: it was meant, and what catches up comes again each second, in a lump."""
        self._earn(self._clock())
        self._credit = min(self._credit, 1.0)

    def _closest(self) -> float:
        """Seconds that calls that catch up keep from each other."""
        return _CLOSEST * _APART / self._rate if self._rate else float("inf")

    def _earn(self, now: float) -> None:
        earned = self._credit + self._rate * (now - self._updated) / _APART
        self._credit = min(earned, 1.0 + self._rate * _CATCH_UP)
        self._updated = now

    def last_second(self) -> tuple[int, float]:
        """Count the calls of the last second: those made, those that the rates gave."""
        now = self._clock()
        while self._call_times and self._call_times[0] <= now - _SECOND + _ROUNDING:
            self._call_times.popleft()
        return len(self._call_times), self._permitted(now)

    def calls_ahead(self) -> float:
        """Count the calls that were made before the rates gave them: until they do, nobody else may have the rate.

        Evenly spaced calls are one ahead at the most, right after a call; calls that catch up are more.
        """
        self.last_second()
        rates, until = reversed(self._rates), self._clock()
        since, rate = next(rates)
        permitted = most = 0.0
        for count, moment in enumerate(reversed(self._call_times), 1):
            while since > moment:
                permitted, until = permitted + rate * (until - since), since
                since, rate = next(rates, (moment, rate))
            permitted, until = permitted + rate * (until - moment), moment
            most = max(most, count - permitted)
        return most

    def _room(self, now: float, usual: float) -> float:
        """Seconds until the last second may hold fewer calls than it may, or until it is worth another look."""
        calls, permitted = self.last_second()
        if calls < (ceil(permitted - _ROUNDING) if self._rate % 1.0 else floor(permitted + _ROUNDING)):
            return 0.0
        return min(self._call_times[0] + _SECOND - now, usual) if calls else usual

    def _permitted(self, now: float) -> float:
        """The calls that the rates of the last second make together."""
        begin = now - _SECOND
        while len(self._rates) > 1 and self._rates[1][0] <= begin:
            self._rates.popleft()
        ends = [*[since for since, _ in self._rates][1:], now]
        spans = ((rate, end - max(since, begin)) for (since, rate), end in zip(self._rates, ends, strict=True))
        return sum(rate * span for rate, span in spans) / _SECOND
