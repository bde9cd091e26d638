"""Finds when a batch's events happened, for its report, by one small aggregate over the written events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from pyspark.sql import DataFrame

from expectations.interval import Interval
from expectations.page import GateReport
from jobs.report.binning import bin_width, rebin_timeline
from jobs.report.report_input import EventSeries, EventTimeline
from transforms.measures import events_by_day, events_over_time, top_types

TYPES: Final = 6
"""Event types that the chart shows on their own."""
FEW_TYPES: Final = 30
"""Up to this number of types, all are counted at once, and the most frequent are chosen afterwards."""
FINE: Final = 1_500
"""Bins that are counted. The chart merges them when it is known where the events are."""
_STRAY_SHARE: Final = 0.001
"""The largest share of the events at either end that the time range may leave out."""
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def find_event_timeline(events: DataFrame, gate_report: GateReport, interval: Interval | None) -> EventTimeline | None:
    """Find when a batch's events happened.

    The time range is the batch's interval, extended by its length at either side. If most events lie outside it, or the
    interval is unknown, the range is the days that hold all but a few events.

    Args:
        events: the batch's.
        gate_report: the gate's report on the batch.
        interval: the batch's; None if unknown.

    Returns:
        The timeline; None without events.
    """
    if not gate_report.counts["events"]:
        return None
    slim = events.select("eventType", "sentAt")
    types = None if _has_few_types(gate_report) else [row["eventType"] for row in top_types(slim, TYPES).collect()]
    if interval is not None:
        length = interval.end - interval.start
        event_timeline = _count_timeline(
            slim, types, Interval(interval.start - length, interval.end + length), interval
        )
        if event_timeline.earlier + event_timeline.later <= event_timeline.total:
            return event_timeline
    return _count_timeline(slim, types, _find_usual_days(slim), interval)


def series_of(counts: Mapping[tuple[str | None, int], int], bins: int) -> tuple[EventSeries, ...]:
    """Make a series of each of the most frequent types, and one of all other types.

    Examples:
        >>> counts = {("view", 0): 5, ("buy", 1): 2, (None, 1): 9, ("view", 2): 7}
        >>> [(one.name, one.counts) for one in series_of(counts, 2)]
        [('view', (5, 0)), ('buy', (0, 2)), (None, (0, 9))]
    """
    totals: Counter[str] = Counter()
    for (name, _), count in counts.items():
        if name is not None:
            totals[name] += count
    top = sorted(totals, key=lambda name: (-totals[name], name))[:TYPES]
    sums: Counter[tuple[str | None, int]] = Counter()
    for (name, place), count in counts.items():
        sums[name if name in top else None, place] += count
    series = (EventSeries(name, tuple(sums[name, place] for place in range(bins))) for name in (*top, None))
    return tuple(one for one in series if one.total)


def _has_few_types(gate_report: GateReport) -> bool:
    """Whether the gate counted few enough event types to collect them all."""
    found = next(finding for finding in gate_report.findings if finding.check.name == "event_types_and_metadata")
    return found.value is not None and found.value <= FEW_TYPES


def _count_timeline(
    events: DataFrame, types: list[str] | None, span: Interval, interval: Interval | None
) -> EventTimeline:
    width = bin_width(span.end - span.start, FINE)
    bins = -((span.start - span.end) // width)
    rows = events_over_time(events, types, span.start, width, bins).collect()
    counts = {(row["eventType"], row["bin"]): int(row["events"]) for row in rows}
    earlier, later = (sum(count for (_, place), count in counts.items() if place == end) for end in (-1, bins))
    return rebin_timeline(EventTimeline(span.start, width, series_of(counts, bins), earlier, later, interval))


def _find_usual_days(events: DataFrame) -> Interval:
    """Find the first and last day of the events, without the few at either end."""
    days = {row["day"]: row["events"] for row in events_by_day(events).collect()}
    most = _STRAY_SHARE * sum(days.values())
    first, last = _skip_strays(sorted(days), days, most), _skip_strays(sorted(days, reverse=True), days, most)
    return Interval(_EPOCH + first * _DAY, _EPOCH + (last + 1) * _DAY)


def _skip_strays(order: list[int], days: dict[int, int], most: float) -> int:
    """Find the first day, in this order, up to which more than `most` events happened."""
    passed = 0
    for day in order:
        passed += days[day]
        if passed > most:
            return day
    return order[-1]
