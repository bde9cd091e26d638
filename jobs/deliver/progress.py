"""Shows the progress of a delivery: a bar on a terminal, or a log line every 30 seconds."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TextIO

from delivery.control.dispatcher import DeliveryProgress
from jobs.cli.terminal import TerminalWriter, draw_bar, terminal_width

log = logging.getLogger(__name__)

_LOG_SECONDS: Final = 30.0
_DRAW_SECONDS: Final = 0.25
_RATE_SECONDS: Final = 10.0
"""The seconds that rates are averaged over."""
_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE


@dataclass(frozen=True, slots=True)
class ProgressGoal:
    """The goal of a delivery.

    Attributes:
        events: the events to send in all runs.
        before: events that ended before this delivery began.
        what: names what is sent; empty if that is clear.
    """

    events: int
    before: int
    what: str = ""


class ProgressDisplay:
    """Shows the progress of deliveries in sequence.

    Args:
        terminal: to draw a bar on; None to log lines instead.
        clock: seconds, monotonic.
    """

    def __init__(self, terminal: TextIO | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._terminal = TerminalWriter(terminal, _log_loss)
        self._clock = clock
        self._logged_at = clock()
        self._drawn_at: float | None = None
        self._samples: deque[tuple[float, int, int]] = deque()
        """Samples of the last seconds: the time, calls and ended events."""

    def begin(self, goal: ProgressGoal) -> None:
        """Start the next delivery, which counts from zero."""
        self._goal = goal
        self._samples.clear()

    def show(self, progress: DeliveryProgress) -> None:
        """Show the progress, if it is time to."""
        now = self._clock()
        self._add_sample(now, progress)
        if self._terminal.is_there and (self._drawn_at is None or now - self._drawn_at >= _DRAW_SECONDS):
            self._drawn_at = now
            self._draw(progress)
        elif not self._terminal.is_there and now - self._logged_at >= _LOG_SECONDS:
            self._logged_at = now
            log.info("%s", line(self._goal, progress, *self._compute_rates()))

    def close(self) -> None:
        """End the line of the bar, if there is one."""
        if self._drawn_at is not None:
            self._terminal.write("\n")

    def _add_sample(self, now: float, progress: DeliveryProgress) -> None:
        self._samples.append((now, progress.calls.attempts, progress.delivered + progress.refused))
        while self._samples[0][0] < now - _RATE_SECONDS:
            self._samples.popleft()

    def _compute_rates(self) -> tuple[float, float]:
        """Compute the recent rates of calls and events a second. Less than a second counts as a whole second."""
        (since, calls, events), (now, calls_now, events_now) = self._samples[0], self._samples[-1]
        seconds = max(now - since, 1.0)
        return (calls_now - calls) / seconds, (events_now - events) / seconds

    def _draw(self, progress: DeliveryProgress) -> None:
        text = bar(self._goal, progress, *self._compute_rates())
        width = terminal_width()
        self._terminal.write(f"\r{text[:width]:<{width}}")


def _log_loss(error: Exception) -> None:
    log.warning("the terminal can no longer show the bar (%s): progress is logged", error)


def bar(goal: ProgressGoal, progress: DeliveryProgress, calls: float, events: float) -> str:
    """Write a terminal's line: ended of planned events, the rate and the limit, throttled calls, time left."""
    done = _count_done(goal, progress)
    what = f"{goal.what} " if goal.what else ""
    pieces = [
        f"{what}{draw_bar(done / goal.events if goal.events else 1.0)} {done:,} of {goal.events:,} events",
        f"{calls:,.0f} of {progress.max_rate:,.0f} calls/s",
        f"{_throttled_percent(progress):.1f} % throttled",
        _describe_time_left(goal, progress, events),
    ]
    return " | ".join(pieces)


def line(goal: ProgressGoal, progress: DeliveryProgress, calls: float, events: float) -> str:
    """Write a log line: as the bar, with the target rate and its reason, latency and tasks."""
    latency, refused = progress.calls.latency * 1000, progress.refused
    what = f"{goal.what}: " if goal.what else ""
    if _is_starting(progress):
        return f"{what}{_count_done(goal, progress):,} of {goal.events:,} events ended; starting tasks"
    return (
        f"{what}{_count_done(goal, progress):,} of {goal.events:,} events ended ({refused:,} refused); "
        f"limit {progress.max_rate:,g}/s, target {progress.target:,.0f}/s ({progress.why}), achieved {calls:,.0f}/s; "
        f"{_throttled_percent(progress):.1f} % throttled, {progress.calls.retried:,} retried, "
        f"latency {latency:,.0f} ms, {progress.calls.attempts - progress.calls.ended:,} in flight in "
        f"{progress.tasks} tasks; {_describe_time_left(goal, progress, events)}"
    )


def duration(seconds: float) -> str:
    """Write a duration for a reader.

    Examples:
        >>> duration(3), duration(200), duration(9000)
        ('3 s', '3 min 20 s', '2 h 30 min')
    """
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR:,} h {whole % _HOUR // _MINUTE} min"


def _count_done(goal: ProgressGoal, progress: DeliveryProgress) -> int:
    return goal.before + progress.delivered + progress.refused


def _throttled_percent(progress: DeliveryProgress) -> float:
    return 100.0 * progress.calls.throttled / max(progress.calls.ended, 1)


def _is_starting(progress: DeliveryProgress) -> bool:
    return not progress.tasks and not progress.calls.attempts


def _describe_time_left(goal: ProgressGoal, progress: DeliveryProgress, events: float) -> str:
    """Describe the time left, which is unknown before something has been sent."""
    rest = goal.events - _count_done(goal, progress)
    if events <= 0.0:
        return "starting tasks" if _is_starting(progress) else "time left unknown"
    return f"{duration(rest / events)} left"
