"""Records how a delivery went, as the driver sees it, in bounded memory."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from delivery.call_statistics import SLOTS, CallStatistics
from delivery.control.dispatcher import DeliveryProgress
from delivery.model import OutcomeRow
from jobs.report.report_input import CallPoint, DeliveryTimeline, latency_class

MOST: Final = 600
"""The most stretches that are kept. Beyond that, neighbours are merged in pairs."""
_FIRST_WIDTH: Final = 1.0
"""The first width of a stretch, in seconds. Tasks report their calls five times a second."""
_ROUNDING_SECONDS: Final = 1e-4
"""The rounding error of times, in seconds."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class _Stretch:
    """The counts of one stretch of time, as in `CallPoint`; target_calls is the target multiplied by its seconds."""

    seconds: float = 0.0
    attempts: int = 0
    retried: int = 0
    ended: int = 0
    throttled: int = 0
    events: int = 0
    target_calls: float = 0.0
    latencies: Counter[int] = field(default_factory=Counter)

    def add(self, other: _Stretch) -> None:
        self.seconds += other.seconds
        self.attempts += other.attempts
        self.retried += other.retried
        self.ended += other.ended
        self.throttled += other.throttled
        self.events += other.events
        self.target_calls += other.target_calls
        self.latencies.update(other.latencies)

    def point(self) -> CallPoint:
        target = self.target_calls / self.seconds if self.seconds else 0.0
        counts = (self.attempts, self.retried, self.ended, self.throttled, self.events)
        return CallPoint(self.seconds, *counts, target, dict(self.latencies))


class TimelineRecorder:
    """Records one delivery, or several in sequence.

    Args:
        max_rate: the limit in calls a second.
        clock: seconds, monotonic.
        began: the time now, aware.
    """

    def __init__(
        self, max_rate: float, clock: Callable[[], float] = time.monotonic, began: datetime | None = None
    ) -> None:
        self._max_rate = max_rate
        self._clock = clock
        self._began = began or datetime.now(UTC)
        self._start = self._last = clock()
        self._width = _FIRST_WIDTH
        self._stretches: list[_Stretch] = []
        self._starts: list[tuple[str, float]] = []
        self._calls, self._events = CallStatistics(), 0
        self._refused: Counter[str] = Counter()
        self._receipts: tuple[int, int] | None = None

    def begin(self, batch: str) -> None:
        """Start the next delivery, whose counts start at zero.

        Args:
            batch: the label.
        """
        self._last = self._clock()
        self._calls, self._events = CallStatistics(), 0
        self._starts.append((batch, self._last - self._start))

    def show(self, progress: DeliveryProgress) -> None:
        """Add the progress since the last call. Call it often, and once at the end of the delivery."""
        now, calls, events = self._clock(), progress.calls, progress.delivered + progress.refused
        passed, before = now - self._last, self._calls
        self._find_stretch(now).add(
            _Stretch(
                seconds=passed,
                retried=calls.retried - before.retried,
                ended=calls.ended - before.ended,
                throttled=calls.throttled - before.throttled,
                events=events - self._events,
                target_calls=passed * progress.target,
            )
        )
        self._last, self._calls, self._events = now, calls, events

    def count_calls(self, begun: Mapping[int, int]) -> None:
        """Add calls, by the slot of Unix time in which they began.

        If the task's clock differs from this one, a call is counted at the nearest recorded time.
        """
        now = self._clock()
        for slot, count in begun.items():
            passed = slot / SLOTS - self._began.timestamp() + _ROUNDING_SECONDS
            self._find_stretch(min(max(self._start + passed, self._start), now)).attempts += count

    def keep(self, rows: list[OutcomeRow]) -> None:
        """Add receipts that have become durable, each once."""
        if not rows:
            return
        stretch = self._find_stretch(self._clock())
        stretch.latencies.update(latency_class(row["latencyMs"]) for row in rows)
        for row in rows:
            if row["status"] == "refused":
                self._refused[row["errorCode"] or "none"] += len(row["eventIds"])
        times = [row["startedAt"] for row in rows]
        self._receipts = _join_spans(self._receipts, (min(times), max(times)))

    def delivery_timeline(self) -> DeliveryTimeline:
        """Give the timeline so far."""
        return DeliveryTimeline(
            began=self._began,
            width=self._width,
            limit=self._max_rate,
            points=tuple(stretch.point() for stretch in self._stretches),
            starts=tuple(self._starts),
            refused=dict(self._refused.most_common()),
            receipts=self._receipts and (_to_moment(self._receipts[0]), _to_moment(self._receipts[1])),
        )

    def _find_stretch(self, now: float) -> _Stretch:
        """Find the stretch of a time; add it if necessary."""
        place = int((now - self._start) / self._width)
        while place >= MOST:
            self._merge_pairs()
            place //= 2
        self._stretches.extend(_Stretch() for _ in range(place + 1 - len(self._stretches)))
        return self._stretches[place]

    def _merge_pairs(self) -> None:
        """Merge every two stretches into one."""
        for even, odd in zip(self._stretches[::2], self._stretches[1::2], strict=False):
            even.add(odd)
        self._stretches = self._stretches[::2]
        self._width *= 2


def _join_spans(one: tuple[int, int] | None, other: tuple[int, int]) -> tuple[int, int]:
    return other if one is None else (min(one[0], other[0]), max(one[1], other[1]))


def _to_moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
