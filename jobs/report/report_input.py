"""What a report tells beside the run's summary: plain numbers, without a user, a session, an item or a record."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from expectations.interval import Interval
from expectations.page import GateReport

_CLASSES_PER_DECADE: Final = 20
"""Classes of latency in each power of ten: one is 12 % wide."""
_LATENCY_BOUNDS: Final = tuple(10 ** (number / _CLASSES_PER_DECADE) for number in range(6 * _CLASSES_PER_DECADE))
"""Milliseconds from which on each class goes, up to a quarter of an hour."""


@dataclass(frozen=True, slots=True)
class EventSeries:
    """Events of one type over time.

    Attributes:
        name: the type; None for all others together.
        counts: events in each bin.
    """

    name: str | None
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Events in all bins."""
        return sum(self.counts)


@dataclass(frozen=True, slots=True)
class EventTimeline:
    """When a batch's events happened.

    Attributes:
        since: where the first bin begins, aware.
        width: of a bin.
        series: the most frequent types first, all others last; each with equally many bins.
        earlier: events before the first bin.
        later: events after the last one.
        interval: what the batch's label names; None where it names none.
    """

    since: datetime
    width: timedelta
    series: tuple[EventSeries, ...]
    earlier: int = 0
    later: int = 0
    interval: Interval | None = None

    @property
    def bins(self) -> int:
        """How many there are."""
        return len(self.series[0].counts) if self.series else 0

    @property
    def until(self) -> datetime:
        """Where the last bin ends."""
        return self.since + self.bins * self.width

    @property
    def total(self) -> int:
        """Events in all bins."""
        return sum(one.total for one in self.series)


@dataclass(frozen=True, slots=True)
class SessionLengths:
    """How long a batch's sessions are, as far as they lie in it.

    Attributes:
        sizes: sessions in each class of `transforms.measures.SIZE_BOUNDS`.
        durations: likewise of DURATION_BOUNDS.
        largest: events of the largest session.
        longest: seconds of the longest.
    """

    sizes: tuple[int, ...]
    durations: tuple[int, ...]
    largest: int
    longest: float


@dataclass(frozen=True, slots=True)
class CallPoint:
    """The calls of one stretch of a delivery.

    Attributes:
        seconds: that were watched.
        attempts: calls that began, retries included, by the clock of who made them.
        retried: of them, those that repeated a call.
        ended: calls that ended.
        throttled: of them, those that the service throttled.
        events: that ended.
        target: calls a second that were aimed at, a mean.
        latencies: how many requests' last calls fell in which class of `latency_class`.
    """

    seconds: float = 0.0
    attempts: int = 0
    retried: int = 0
    ended: int = 0
    throttled: int = 0
    events: int = 0
    target: float = 0.0
    latencies: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeliveryTimeline:
    """How a delivery went, or several one after another.

    Attributes:
        began: when it was first watched, aware.
        width: seconds that each point stands for; the last may have been watched for less.
        limit: calls a second, never passed.
        points: one after another, without gaps.
        starts: of each sending, the batch's label and how many seconds after `began` it was begun.
        refused: events refused for good, by the service's error code.
        receipts: when the first and the last call with a receipt began, aware; None where there is none.
    """

    began: datetime
    width: float
    limit: float
    points: tuple[CallPoint, ...]
    starts: tuple[tuple[str, float], ...] = ()
    refused: Mapping[str, int] = field(default_factory=dict)
    receipts: tuple[datetime, datetime] | None = None


@dataclass(frozen=True, slots=True)
class BatchGate:
    """What the gate says of a batch that is delivered.

    Attributes:
        word: `passed` or `warned`.
        runId: the run that built the batch.
        warnings: what it found unusual, a line each.
    """

    word: str
    runId: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportInput:
    """All that a page tells.

    Attributes:
        summary: the run's, as it is written down.
        started: when the run began, aware.
        gate_report: what the gate has said; None where it was not asked.
        event_timeline: when the events happened; None where that is not known.
        lengths: of sessions, likewise.
        delivery_timeline: of the delivery, likewise.
        trackingId: of the tracker that events go to, likewise.
        gates: of the batches that the run has begun to deliver, by label, in order.
        docs: labels of the batches that have a page in the Data Docs.
        documentedRun: the run that the batch's page there is of; None where it is this one, or nobody knows.
        others: file names of other runs' pages in the same folder, the newest first.
    """

    summary: Mapping[str, Any]
    started: datetime
    gate_report: GateReport | None = None
    event_timeline: EventTimeline | None = None
    lengths: SessionLengths | None = None
    delivery_timeline: DeliveryTimeline | None = None
    trackingId: str | None = None
    gates: Mapping[str, BatchGate] = field(default_factory=dict)
    docs: Collection[str] = ()
    documentedRun: str | None = None
    others: Sequence[str] = ()


def latency_class(milliseconds: float) -> int:
    """Put a latency into a class that is 12 % wide; less than a millisecond counts as one.

    Examples:
        >>> latency_class(0) == latency_class(1), latency_class(100), latency_class(1000)
        (True, 40, 60)
    """
    return bisect_right(_LATENCY_BOUNDS, max(milliseconds, 1.0)) - 1


def calls_needed(share: float) -> int:
    """Say how many calls a percentile needs: so many that one at least is expected to be slower.

    Args:
        share: 0 to 1.

    Examples:
        >>> calls_needed(0.5), calls_needed(0.95), calls_needed(0.99)
        (2, 20, 100)
    """
    return round(1 / (1 - share))


def known_percentile(classes: Mapping[int, int], share: float) -> float | None:
    """Read a percentile as `percentile` does; None where there are too few calls for it."""
    return percentile(classes, share) if sum(classes.values()) >= calls_needed(share) else None


def percentile(classes: Mapping[int, int], share: float) -> float | None:
    """Read a percentile, in milliseconds, off counted classes, within which they are taken to be spread evenly.

    Args:
        classes: how many fell in each `latency_class`.
        share: 0 to 1.

    Examples:
        >>> times = {latency_class(50): 90, latency_class(400): 10}
        >>> 45 < percentile(times, 0.5) < 56, 360 < percentile(times, 0.95) < 450, percentile({}, 0.5)
        (True, True, None)
    """
    rest = share * sum(classes.values())
    for number in sorted(classes):
        if rest <= classes[number]:
            return float(10 ** ((number + rest / classes[number]) / _CLASSES_PER_DECADE))
        rest -= classes[number]
    return None
