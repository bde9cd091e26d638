"""Merges the bins and points of charts into a readable number, with round widths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from jobs.report.report_input import CallPoint, DeliveryTimeline, EventSeries, EventTimeline

MOST: Final = 60
"""The most bins of a chart."""
STRAYS: Final = 0.01
"""The largest share of events at either side of the interval that the chart may leave out."""
_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_SECONDS: Final = (1, 5, 10, 30)
_MINUTES: Final = tuple(_MINUTE * n for n in (1, 5, 10, 30))
_HOURS: Final = tuple(_HOUR * n for n in (1, 2, 6, 12))
_DAYS: Final = tuple(_DAY * n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
_WIDTHS: Final = tuple(timedelta(seconds=n) for n in (*_SECONDS, *_MINUTES, *_HOURS, *_DAYS))


def bin_width(span: timedelta, most: int, of: timedelta = _SECOND) -> timedelta:
    """Choose the shortest width with which a span has at most so many bins.

    Args:
        span: the span to divide.
        most: the most bins.
        of: a width; the chosen width is a multiple of it.

    Examples:
        >>> str(bin_width(timedelta(days=1), 60)), str(bin_width(timedelta(hours=1), 60))
        ('0:30:00', '0:01:00')
    """
    fit = (width for width in _WIDTHS if width * most >= span and not width % of)
    return next(fit, _WIDTHS[-1])


def rebin_timeline(event_timeline: EventTimeline) -> EventTimeline:
    """Merge many bins into few, which cover the batch's interval and all events.

    A few events outside the interval are counted as earlier or later, and not shown.
    """
    event_timeline = _cut_strays(event_timeline)
    filled = [place for place in range(event_timeline.bins) if any(one.counts[place] for one in event_timeline.series)]
    ends = [
        event_timeline.since + place * event_timeline.width
        for place in (*filled[:1], *[last + 1 for last in filled[-1:]])
    ]
    if _includes_interval(event_timeline):
        ends += event_timeline.interval or ()
    if not ends:
        return event_timeline
    width = bin_width(max(ends) - min(ends), MOST, event_timeline.width)
    since = _EPOCH + (min(ends) - _EPOCH) // width * width
    bins = -((since - max(ends)) // width)
    series = tuple(
        EventSeries(one.name, _rebin_counts(one, event_timeline, since, width, bins)) for one in event_timeline.series
    )
    return replace(event_timeline, since=since, width=width, series=series)


def _includes_interval(event_timeline: EventTimeline) -> bool:
    """Whether the bins cover the batch's interval."""
    return (
        event_timeline.interval is not None
        and event_timeline.since <= event_timeline.interval.start
        and event_timeline.interval.end <= event_timeline.until
    )


def _cut_strays(event_timeline: EventTimeline) -> EventTimeline:
    """If only a few events lie before the batch's interval, or after it, count them as earlier or later."""
    if event_timeline.interval is None or not _includes_interval(event_timeline):
        return event_timeline
    first = (event_timeline.interval.start - event_timeline.since) // event_timeline.width
    last = -((event_timeline.since - event_timeline.interval.end) // event_timeline.width)
    before = sum(sum(one.counts[:first]) for one in event_timeline.series)
    after = sum(sum(one.counts[last:]) for one in event_timeline.series)
    most = STRAYS * (event_timeline.total + event_timeline.earlier + event_timeline.later)
    cut_first, cut_last = (
        first if before + event_timeline.earlier <= most else 0,
        last if after + event_timeline.later <= most else event_timeline.bins,
    )
    return replace(
        event_timeline,
        since=event_timeline.since + cut_first * event_timeline.width,
        series=tuple(EventSeries(one.name, one.counts[cut_first:cut_last]) for one in event_timeline.series),
        earlier=event_timeline.earlier + (before if cut_first else 0),
        later=event_timeline.later + (after if cut_last < event_timeline.bins else 0),
    )


def _rebin_counts(
    series: EventSeries, event_timeline: EventTimeline, since: datetime, width: timedelta, bins: int
) -> tuple[int, ...]:
    counts = [0] * bins
    for place, count in enumerate(series.counts):
        if count:
            counts[(event_timeline.since + place * event_timeline.width - since) // width] += count
    return tuple(counts)


MOST_POINTS: Final = 150
"""The most points of a chart."""


def trim_timeline(delivery_timeline: DeliveryTimeline) -> DeliveryTimeline:
    """Cut the points before the first call and after the last answer, and merge neighbours into few points."""
    busy = [place for place, point in enumerate(delivery_timeline.points) if point.attempts or point.ended]
    if not busy:
        return replace(delivery_timeline, points=())
    points = delivery_timeline.points[busy[0] : busy[-1] + 1]
    together = -(-len(points) // MOST_POINTS)
    merged = [merge(points[place : place + together]) for place in range(0, len(points), together)]
    passed = busy[0] * delivery_timeline.width
    return replace(
        delivery_timeline,
        began=delivery_timeline.began + timedelta(seconds=passed),
        width=delivery_timeline.width * together,
        points=tuple(merged),
        starts=tuple((batch, seconds - passed) for batch, seconds in delivery_timeline.starts),
    )


def merge(points: Sequence[CallPoint]) -> CallPoint:
    """Merge points into one."""
    seconds = sum(point.seconds for point in points)
    return CallPoint(
        seconds=seconds,
        attempts=sum(point.attempts for point in points),
        retried=sum(point.retried for point in points),
        ended=sum(point.ended for point in points),
        throttled=sum(point.throttled for point in points),
        events=sum(point.events for point in points),
        target=sum(point.target * point.seconds for point in points) / seconds if seconds else 0.0,
        latencies=latencies(points),
    )


def latencies(points: Sequence[CallPoint]) -> Mapping[int, int]:
    """Sum up the classes of latency."""
    total: Counter[int] = Counter()
    for point in points:
        total.update(point.latencies)
    return total


def rates(delivery_timeline: DeliveryTimeline, count: Callable[[CallPoint], int]) -> list[float]:
    """Give a count for each point, per second."""
    return [count(point) / delivery_timeline.width for point in delivery_timeline.points]
