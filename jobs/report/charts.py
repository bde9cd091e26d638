"""Draws the charts of a report."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import isnan, nan
from typing import Any, Final

from matplotlib.dates import date2num

from jobs.report.binning import rates
from jobs.report.formatting import percentile_name
from jobs.report.report_input import CallPoint, DeliveryTimeline, EventTimeline, known_percentile
from jobs.report.svg import Drawing, colour, count_axis, drawing, time_axis

FAR: Final = 4.0
"""A limit that is this many times higher than all calls is not drawn, so that the calls are visible."""
OTHER: Final = "c7"
"""The colour of the series of all other types."""
LATENCY_COLOURS: Final = {0.95: "c1", 0.5: "c0"}
"""The percentiles of the latency chart, 0 to 1, with their colours, in the order of drawing."""
_EDGE_STYLE: Final[dict[str, Any]] = {"edgecolor": colour("paper"), "linewidth": 0.5}
"""A thin line separates neighbours of similar brightness."""
MOST_BORDERS: Final = 60
"""The most lines between deliveries in a chart."""


def flow_chart(timeline: EventTimeline) -> str:
    """Draw events over time, with the types stacked."""
    edges = [_to_date_number(timeline.since + place * timeline.width) for place in range(timeline.bins + 1)]
    base = [0] * timeline.bins
    text = (
        f"{timeline.total:,} events from {timeline.since:%Y-%m-%d %H:%M:%S} to {timeline.until:%Y-%m-%d %H:%M:%S} UTC"
    )
    with drawing("flow", "Events over time, by type", text) as drawn:
        for series, swatch in zip(timeline.series, swatches(timeline), strict=True):
            top = [low + count for low, count in zip(base, series.counts, strict=True)]
            drawn.axes.stairs(top, edges, baseline=base, fill=True, facecolor=colour(swatch), **_EDGE_STYLE)
            base = top
        if timeline.interval is not None:
            _draw_borders(
                drawn,
                [moment for moment in timeline.interval if timeline.since < moment < timeline.until],
            )
        count_axis(drawn.axes, max(base), f"events in {span(timeline.width)}")
        time_axis(drawn.axes, timeline.since, timeline.until)
    return drawn.svg


def calls_chart(timeline: DeliveryTimeline) -> str:
    """Draw calls a second by start time, the throttled ones on top, with the target and the limit."""
    edges = _bin_edges(timeline)
    begun = rates(timeline, lambda point: point.attempts)
    # A call is throttled a moment after it began, which may be in the next second.
    throttled = rates(timeline, lambda point: min(point.throttled, point.attempts))
    well = [all_ - some for all_, some in zip(begun, throttled, strict=True)]
    target = [point.target if point.seconds else nan for point in timeline.points]
    text = f"Up to {max(begun):,.0f} calls a second began; the limit is {timeline.limit:,g} a second."
    with drawing("calls", "Calls a second over time", text) as drawn:
        drawn.axes.stairs(well, edges, fill=True, facecolor=colour("c0"), **_EDGE_STYLE)
        drawn.axes.stairs(begun, edges, baseline=well, fill=True, facecolor=colour("c1"), **_EDGE_STYLE)
        drawn.axes.stairs(target, edges, baseline=None, edgecolor=colour("ink"), linewidth=1.4)
        if shows_limit(timeline):
            drawn.axes.axhline(timeline.limit, color=colour("c5"), linestyle=(0, (5, 3)), linewidth=1.4)
        _draw_delivery_starts(drawn, timeline)
        top = max(begun)
        count_axis(
            drawn.axes,
            max(top, timeline.limit) if shows_limit(timeline) else top * 1.5,
            "calls a second",
        )
        time_axis(drawn.axes, *_time_range(timeline))
    return drawn.svg


def shows_limit(timeline: DeliveryTimeline) -> bool:
    """Whether the limit is near enough to the calls to be drawn in one chart with them."""
    return timeline.limit <= FAR * max(rates(timeline, lambda point: point.attempts))


def latency_lines(timeline: DeliveryTimeline) -> dict[float, list[float]]:
    """Give the lines of the latency chart, by percentile: those with enough calls at one point or more.

    Returns:
        Milliseconds for each point; nan if it has too few calls for the percentile.
    """
    lines = {share: [_percentile_or_nan(point, share) for point in timeline.points] for share in LATENCY_COLOURS}
    return {share: line for share, line in lines.items() if not all(map(isnan, line))}


def _percentile_or_nan(point: CallPoint, share: float) -> float:
    found = known_percentile(point.latencies, share)
    return nan if found is None else found


def latency_chart(timeline: DeliveryTimeline) -> str:
    """Draw the percentiles of the latency, where there are enough calls."""
    edges, lines = _bin_edges(timeline), latency_lines(timeline)
    highest = {share: max(value for value in line if not isnan(value)) for share, line in lines.items()}
    text = " ".join(f"{percentile_name(share)}: {top:,.0f} ms at most." for share, top in highest.items())
    top = max(highest.values())
    with drawing("latency", "Latency over time", text) as drawn:
        for share, line in lines.items():
            drawn.axes.stairs(line, edges, baseline=None, edgecolor=colour(LATENCY_COLOURS[share]), linewidth=1.6)
        _draw_delivery_starts(drawn, timeline)
        count_axis(drawn.axes, top, "milliseconds")
        time_axis(drawn.axes, *_time_range(timeline))
    return drawn.svg


def swatches(timeline: EventTimeline) -> list[str]:
    """Give the colours of the series; that of all other types has its own."""
    return [OTHER if one.name is None else f"c{place}" for place, one in enumerate(timeline.series)]


def span(width: timedelta) -> str:
    """Name a bin's width.

    Examples:
        >>> span(timedelta(minutes=30)), span(timedelta(days=1)), span(timedelta(seconds=10)), span(timedelta(hours=2))
        ('30 min', '1 day', '10 s', '2 h')
    """
    for unit, seconds in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if not width.total_seconds() % seconds:
            number = int(width.total_seconds() // seconds)
            return f"{number} {'day' if unit == 'days' and number == 1 else unit}"
    return f"{width.total_seconds():g} s"


def _draw_delivery_starts(drawn: Drawing, timeline: DeliveryTimeline) -> None:
    """Draw a line at the start of each delivery but the first."""
    first, last = _time_range(timeline)
    starts = [timeline.began + timedelta(seconds=seconds) for _, seconds in timeline.starts[1:]]
    if len(starts) <= MOST_BORDERS:
        _draw_borders(drawn, [start for start in starts if first < start < last])


def _draw_borders(drawn: Drawing, moments: list[datetime]) -> None:
    for moment in moments:
        drawn.axes.axvline(_to_date_number(moment), color=colour("faint"), linewidth=0.8, linestyle=(0, (2, 3)))


def _bin_edges(timeline: DeliveryTimeline) -> list[float]:
    width = timedelta(seconds=timeline.width)
    return [_to_date_number(timeline.began + place * width) for place in range(len(timeline.points) + 1)]


def _time_range(timeline: DeliveryTimeline) -> tuple[datetime, datetime]:
    return timeline.began, timeline.began + timedelta(seconds=timeline.width) * len(timeline.points)


def _to_date_number(moment: datetime) -> float:
    return float(date2num(moment))  # type: ignore[no-untyped-call]
