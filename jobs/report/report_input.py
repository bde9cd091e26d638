"""The content of a report besides the run's summary: only numbers, without users, sessions, items and records."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from expectations.interval import Interval
from expectations.page import GateReport

_CLASSES_PER_DECADE: Final = 20
"""Classes of latency for each power of ten: a class is 12 % wide."""
_LATENCY_BOUNDS: Final = tuple(10 ** (number / _CLASSES_PER_DECADE) for number in range(6 * _CLASSES_PER_DECADE))
"""The lower bound of each class in milliseconds, up to a quarter of an hour."""


@dataclass(frozen=True, slots=True)
class EventSeries:
    """Events of one type over time.

    Attributes:
        name: the type; None for all other types.
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
        series: the most frequent type first, all other types last; all with the same number of bins.
        earlier: events before the first bin.
        later: events after the last bin.
        interval: the batch's; None if it has none.
    """

    since: datetime
    width: timedelta
    series: tuple[EventSeries, ...]
    earlier: int = 0
    later: int = 0
    interval: Interval | None = None

    @property
    def bins(self) -> int:
        """The number of bins."""
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
    """How long the parts of sessions within a batch are.

    Attributes:
        sizes: sessions in each class of `transforms.measures.SIZE_BOUNDS`.
        durations: sessions in each class of `transforms.measures.DURATION_BOUNDS`.
        largest: events of the largest session.
        longest: seconds of the longest session.
    """

    sizes: tuple[int, ...]
    durations: tuple[int, ...]
    largest: int
    longest: float


@dataclass(frozen=True, slots=True)
class CallPoint:
    """The calls of one stretch of a delivery.

    Attributes:
        seconds: the recorded seconds.
        attempts: calls that began, with retries, by the tasks' clocks.
        retried: calls among them that repeated a call.
        ended: calls that ended.
        throttled: calls among them that the service throttled.
        events: events that ended.
        target: the mean target rate, in calls a second.
        latencies: how many requests had their last call in which `latency_class`.
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
    """How a delivery went, or several in sequence.

    Attributes:
        began: when the recording began, aware.
        width: seconds of each point; the last one may be recorded for less.
        limit: calls a second, at most.
        points: in sequence, without gaps.
        starts: for each delivery, the batch's label and how many seconds after `began` it started.
        refused: events refused for good, by the service's error code.
        receipts: when the first and the last call with a receipt began, aware; None without receipts.
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
    """The gate's outcome for a batch that is delivered.

    Attributes:
        word: `passed` or `warned`.
        runId: the run that built the batch.
        warnings: the gate's warnings, a line each.
    """

    word: str
    runId: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportInput:
    """The content of a run's page.

    Attributes:
        summary: the run's summary.
        started: when the run began, aware.
        gate_report: the gate's report; None if the gate was not reached.
        event_timeline: when the events happened; None if unknown.
        lengths: how long sessions are; None if unknown.
        delivery_timeline: the delivery's; None if there was none.
        trackingId: the tracker's; None if unknown.
        gates: of the batches that the run has started to deliver, by label, in order.
        docs: labels of the batches with a page in the Data Docs.
        documentedRun: the run of the batch's page there; None if it is this run, or unknown.
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
    """Find the class of a latency; a class is 12 % wide, and less than a millisecond counts as one.

    Examples:
        >>> latency_class(0) == latency_class(1), latency_class(100), latency_class(1000)
        (True, 40, 60)
    """
    return bisect_right(_LATENCY_BOUNDS, max(milliseconds, 1.0)) - 1


def calls_needed(share: float) -> int:
    """Compute how many calls a percentile needs, so that at least one call is expected to be slower.

    Args:
        share: 0 to 1.

    Examples:
        >>> calls_needed(0.5), calls_needed(0.95), calls_needed(0.99)
        (2, 20, 100)
    """
    return round(1 / (1 - share))


def known_percentile(classes: Mapping[int, int], share: float) -> float | None:
    """Compute a percentile as `percentile` does; None if there are too few calls for it."""
    return percentile(classes, share) if sum(classes.values()) >= calls_needed(share) else None


def percentile(classes: Mapping[int, int], share: float) -> float | None:
    """Compute a percentile in milliseconds from counted classes, assuming an even distribution within each class.

    Args:
        classes: counts by `latency_class`.
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
