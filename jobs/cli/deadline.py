"""When a run stops by itself, to continue the next night."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time at which a run stops, and the option that set it.

    Attributes:
        at: the time, aware; None if the run has no deadline.
        because: the option that set it.
        now: the clock.
    """

    at: datetime | None = None
    because: str = ""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def has_passed(self) -> bool:
        """Whether it has passed."""
        return self.at is not None and self.now() >= self.at

    @contextmanager
    def gently(self, stop: Callable[[], None]) -> Iterator[None]:
        """Call `stop` at the deadline, if it comes while the block runs."""
        if self.at is None:
            yield
            return
        timer = threading.Timer(max((self.at - self.now()).total_seconds(), 0.0), stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def find_deadline(
    started: datetime, until: time | None, most: timedelta | None, zone: tzinfo | None = None
) -> Deadline:
    """Find when a run stops.

    Args:
        started: when it started, aware.
        until: a time of day; None for any.
        most: the longest time that it may take; None for any.
        zone: the clock's time zone; None for the machine's own.

    Examples:
        >>> at_ten = datetime(2024, 1, 2, 22, tzinfo=UTC)
        >>> find_deadline(at_ten, time(6, 0), None, UTC).at == datetime(2024, 1, 3, 6, tzinfo=UTC)
        True
        >>> find_deadline(at_ten, time(23, 0), timedelta(hours=3), UTC).because
        '--until 23:00'
        >>> find_deadline(at_ten, None, None).has_passed
        False
    """
    found = []
    if until is not None:
        found.append((_find_next(started, until, zone), f"--until {until:%H:%M}"))
    if most is not None:
        found.append((started + most, "--max-duration"))
    return Deadline(*min(found)) if found else Deadline()


def _find_next(started: datetime, until: time, zone: tzinfo | None) -> datetime:
    """Find when a clock next shows a time of day, also in a night when the clocks change."""
    today = started.astimezone(zone).date()
    days = (datetime.combine(today + timedelta(days=number), until, zone).astimezone() for number in (0, 1))
    return next(at for at in days if at > started)
