"""Points of a chart: bins of a width that clocks show, few enough to tell apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from jobs.report.report_input import CallPoint, DeliveryTimeline, EventSeries, EventTimeline

MOST: Final = 60
"""Bins of a chart."""
STRAYS: Final = 0.01
"""The share of the events that may lie at either side of the label's interval without being shown."""
_SECOND: Final = timedelta(seconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_SECONDS: Final = (1, 5, 10, 30)
_MINUTES: Final = tuple(_MINUTE * n for n in (1, 5, 10, 30))
_HOURS: Final = tuple(_HOUR * n for n in (1, 2, 6, 12))
_DAYS: Final = tuple(_DAY * n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512))
_WIDTHS: Final = tuple(timedelta(seconds=n) for n in (*_SECONDS, *_MINUTES, *_HOURS, *_DAYS))


def bin_width(span: timedelta, most: int, of: timedelta = _SECOND) -> timedelta:
    """Choose the shortest width by which a span has no more than so many bins.

    Args:
        span: to be divided.
        most: bins.
        of: the width is a multiple of this one, which is a width too.

    Examples:
        >>> str(bin_width(timedelta(days=1), 60)), str(bin_width(timedelta(hours=1), 60))
        ('0:30:00', '0:01:00')
    """
    fit = (width for width in _WIDTHS if width * most >= span and not width % of)
    return next(fit, _WIDTHS[-1])


def arranged(flow: EventTimeline) -> EventTimeline:
    """Make few bins of many: those of the label's interval, and others that hold events, or are between them.

    The few events that lie outside the interval are told apart, and not shown.
    """
    flow = _without_strays(flow)
    filled = [place for place in range(flow.bins) if any(one.counts[place] for one in flow.series)]
    ends = [flow.since + place * flow.width for place in (*filled[:1], *[last + 1 for last in filled[-1:]])]
    if _shows(flow):
        ends += flow.interval or ()
    if not ends:
        return flow
    width = bin_width(max(ends) - min(ends), MOST, flow.width)
    since = _EPOCH + (min(ends) - _EPOCH) // width * width
    bins = -((since - max(ends)) // width)
    series = tuple(EventSeries(one.name, _summed(one, flow, since, width, bins)) for one in flow.series)
    return replace(flow, since=since, width=width, series=series)


def _shows(flow: EventTimeline) -> bool:
    """Whether the label's interval is among the bins."""
    return flow.interval is not None and flow.since <= flow.interval.start and flow.interval.end <= flow.until


def _without_strays(flow: EventTimeline) -> EventTimeline:
    """Where few events lie before the label's interval, or after it, count them as earlier or later."""
    if flow.interval is None or not _shows(flow):
        return flow
    first = (flow.interval.start - flow.since) // flow.width
    last = -((flow.since - flow.interval.end) // flow.width)
    before = sum(sum(one.counts[:first]) for one in flow.series)
    after = sum(sum(one.counts[last:]) for one in flow.series)
    most = STRAYS * (flow.total + flow.earlier + flow.later)
    cut_first, cut_last = (
        first if before + flow.earlier <= most else 0,
        last if after + flow.later <= most else flow.bins,
    )
    return replace(
        flow,
        since=flow.since + cut_first * flow.width,
        series=tuple(EventSeries(one.name, one.counts[cut_first:cut_last]) for one in flow.series),
        earlier=flow.earlier + (before if cut_first else 0),
        later=flow.later + (after if cut_last < flow.bins else 0),
    )


def _summed(series: EventSeries, flow: EventTimeline, since: datetime, width: timedelta, bins: int) -> tuple[int, ...]:
    counts = [0] * bins
    for place, count in enumerate(series.counts):
        if count:
            counts[(flow.since + place * flow.width - since) // width] += count
    return tuple(counts)


MOST_POINTS: Final = 150
"""Points of a chart."""


def shown(course: DeliveryTimeline) -> DeliveryTimeline:
    """Leave out the stretches before the first call and after the last answer, and merge neighbours to few points."""
    busy = [place for place, point in enumerate(course.points) if point.attempts or point.ended]
    if not busy:
        return replace(course, points=())
    points = course.points[busy[0] : busy[-1] + 1]
    together = -(-len(points) // MOST_POINTS)
    merged = [merge(points[place : place + together]) for place in range(0, len(points), together)]
    passed = busy[0] * course.width
    return replace(
        course,
        began=course.began + timedelta(seconds=passed),
        width=course.width * together,
        points=tuple(merged),
        starts=tuple((batch, seconds - passed) for batch, seconds in course.starts),
    )


def merge(points: Sequence[CallPoint]) -> CallPoint:
    """Make one point of several."""
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
    """Add up the classes of latency."""
    total: Counter[int] = Counter()
    for point in points:
        total.update(point.latencies)
    return total


def rates(course: DeliveryTimeline, count: Callable[[CallPoint], int]) -> list[float]:
    """Give a count a second for each point."""
    return [count(point) / course.width for point in course.points]
