"""The pacer of a task: when its next call may start, under a rate that changes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import ceil, floor
from typing import Final

_SECOND: Final = 1.005
"""The second that counts is longer, because delayed calls arrive closer together than they were sent."""
_APART: Final = 1.015
"""Calls are wider apart than the rate by this factor: for the same reason, and to leave room for catching up."""
_CATCH_UP: Final = 0.25
"""Seconds whose unused calls may still be made, so that a short pause of the process costs no throughput."""
_CLOSEST: Final = 0.5
"""Calls that catch up are at least this share of the usual distance apart."""
_TICK: Final = 1e-3
"""Seconds that a call that catches up may come too early. Timers of event loops are not finer (epoll uses whole
milliseconds, rounded up), and a wait for each call would cost a fast task some calls."""
_ROUNDING: Final = 1e-6
"""Seconds, or calls, that count as 0: rounding errors of fractions."""


class Pacer:
    """Spaces calls evenly. No second has more calls than the rate allowed in exactly that second.

    So if the rates of tasks never add up to more than a limit, their calls never exceed it in any second either,
    however the rates move between them. A rate that is not a whole number has one more call in some seconds. Only one
    of the tasks that share a limit may have such a rate.

    Args:
        clock: seconds, monotonic.
        rate: calls a second to start with.
    """

    def __init__(self, clock: Callable[[], float], rate: float = 0.0) -> None:
        self._clock = clock
        now = clock()
        self._rate = rate
        self._credit = 0.0
        """Calls that were allowed and not made."""
        self._updated = now
        self._next_spaced = now
        """When the next call that catches up may start."""
        self._call_times: deque[float] = deque()
        self._rates: deque[tuple[float, float]] = deque([(now, rate)])
        """The rates of the last second, each with its start."""

    @property
    def rate(self) -> float:
        """Calls a second, now."""
        return self._rate

    def set_rate(self, rate: float, since: float | None = None) -> None:
        """Change the rate. After a lower one no pause is caught up, because another task may have the former rate.

        Args:
            rate: calls a second; 0 allows no call.
            since: an earlier time of the clock; None for now.
        """
        if rate != self._rate:
            self._earn(max(self._clock() if since is None else since, self._updated))
            if rate < self._rate:
                self._credit = min(self._credit, 1.0)
            self._rate = rate
            self._rates.append((self._updated, rate))
            self._next_spaced = min(self._next_spaced, self._updated + self._closest())

    def wait(self) -> float:
        """Seconds until the next call may start, at the present rate: 0 now, infinity at a rate of 0."""
        now = self._clock()
        self._earn(now)
        if not self._rate:
            return float("inf")
        usual = _APART / self._rate
        spaced = self._next_spaced - now if self._next_spaced > now + _TICK else 0.0
        wait = max((1.0 - self._credit) * usual, spaced, self._room(now, usual))
        return wait if wait > _ROUNDING else 0.0

    def due(self) -> int:
        """Count the calls that were allowed and not made, at least one."""
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
        """Do not catch up an intended pause: the calls that catch up would come in one burst, again each second."""
        self._earn(self._clock())
        self._credit = min(self._credit, 1.0)

    def _closest(self) -> float:
        """Seconds between calls that catch up."""
        return _CLOSEST * _APART / self._rate if self._rate else float("inf")

    def _earn(self, now: float) -> None:
        earned = self._credit + self._rate * (now - self._updated) / _APART
        self._credit = min(earned, 1.0 + self._rate * _CATCH_UP)
        self._updated = now

    def last_second(self) -> tuple[int, float]:
        """Count the calls of the last second: those made, and those that the rates allowed."""
        now = self._clock()
        while self._call_times and self._call_times[0] <= now - _SECOND + _ROUNDING:
            self._call_times.popleft()
        return len(self._call_times), self._permitted(now)

    def calls_ahead(self) -> float:
        """Count the calls that were made before the rates allowed them. Until then no other task may have the rate.

        Evenly spaced calls are at most one ahead, right after a call. Calls that catch up can be more.
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
        """Seconds until the last second may have room for a call, or until it is worth another check."""
        calls, permitted = self.last_second()
        if calls < (ceil(permitted - _ROUNDING) if self._rate % 1.0 else floor(permitted + _ROUNDING)):
            return 0.0
        return min(self._call_times[0] + _SECOND - now, usual) if calls else usual

    def _permitted(self, now: float) -> float:
        """The calls that the rates of the last second allow together."""
        begin = now - _SECOND
        while len(self._rates) > 1 and self._rates[1][0] <= begin:
            self._rates.popleft()
        ends = [*[since for since, _ in self._rates][1:], now]
        spans = ((rate, end - max(since, begin)) for (since, rate), end in zip(self._rates, ends, strict=True))
        return sum(rate * span for rate, span in spans) / _SECOND
