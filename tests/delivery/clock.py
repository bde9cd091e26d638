"""A clock that stands still until a test moves it."""

from __future__ import annotations


class Clock:
    """Seconds, as `time.monotonic` gives them.

    Attributes:
        now: the time.
    """

    def __init__(self, now: float = 100.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += seconds
