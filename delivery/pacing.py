"""How fast: calls of one task, evenly spaced."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Pacer:
    """Lets calls pass evenly, `rate` a second at the most, whatever the number of threads that ask.

    Time that nobody used is not saved up: after a pause calls go on at the rate, never above it.

    Args:
        rate: calls a second, more than 0.
        clock: seconds, monotonic.
        sleep: waits that many seconds.
    """

    def __init__(self, rate: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._interval = 1.0 / rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = clock()

    def wait(self) -> None:
        """Return when the next call may start."""
        with self._lock:
            now = self._clock()
            mine = max(self._next, now)
            self._next = mine + self._interval
        if mine > now:
            self._sleep(mine - now)
