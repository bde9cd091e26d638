"""Renders a run's page: one HTML document that needs no network and no script. It reads nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from expectations.rules import RULES
from jobs.report import charts
from jobs.report.bars import Bar, codes, durations, event_fates, fill_rates, reasons, record_fates, sizes
from jobs.report.binning import latencies, merge, trim_timeline
from jobs.report.formatting import duration, number, percentage, percentile_name, run_status, size
from jobs.report.report_input import (
    CallPoint,
    DeliveryTimeline,
    EventTimeline,
    ReportInput,
    calls_needed,
    known_percentile,
)

LEAST_POINTS: Final = 3
"""The fewest points that a delivery's chart needs."""
MOST_STARTS: Final = 50
"""The most deliveries that are listed."""
PERCENTILES: Final = (0.5, 0.95, 0.99)
"""The percentiles of the latency that the page lists, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Percentile:
    """A percentile of the latency.

    Attributes:
        name: the percentile's name.
        value: in milliseconds; None if there are too few calls.
        needed: calls that it needs.
        calls: calls with a known latency.
    """

    name: str
    value: float | None
    needed: int
    calls: int


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart and its legend.

    Attributes:
        svg: the chart.
        legend: pairs of a colour's name and its meaning.
    """

    svg: Markup
    legend: tuple[tuple[str, str], ...]


def page(report_input: ReportInput) -> str:
    """Write the page of a run: a whole HTML document."""
    summary = report_input.summary
    timeline = trim_timeline(report_input.delivery_timeline) if report_input.delivery_timeline else None
    return _render(
        report_input=report_input,
        summary=summary,
        standing=run_status(summary),
        fates=_make_fate_bars(summary),
        reasons=reasons(summary.get("reasons") or {}, summary.get("candidates", 0), RULES),
        event_chart=_draw_events(report_input.event_timeline) if report_input.event_timeline else None,
        filled=fill_rates(report_input.gate_report.filled, report_input.gate_report.counts["events"])
        if report_input.gate_report
        else (),
        gates=Counter(gate.word for gate in report_input.gates.values()),
        sizes=sizes(report_input.lengths) if report_input.lengths else (),
        durations=durations(report_input.lengths) if report_input.lengths else (),
        delivery_timeline=timeline,
        codes=codes(timeline.refused) if timeline else (),
        calls=_draw_calls(timeline) if timeline and len(timeline.points) >= LEAST_POINTS else None,
        latency=_draw_latency(timeline)
        if timeline and len(timeline.points) >= LEAST_POINTS and charts.latency_lines(timeline)
        else None,
        total=merge(timeline.points) if timeline else None,
        percentiles=_list_percentiles(timeline.points) if timeline else (),
        most_starts=MOST_STARTS,
    )


def _make_fate_bars(summary: Mapping[str, Any]) -> tuple[Bar, ...]:
    if "read" in summary:
        return record_fates(summary)
    return event_fates(summary) if "delivered" in summary else ()


def _draw_events(timeline: EventTimeline) -> Figure:
    legend = zip(charts.swatches(timeline), [one.name or "all other types" for one in timeline.series], strict=True)
    # matplotlib escapes its texts, and no type's name is among them.
    return Figure(Markup(charts.flow_chart(timeline)), tuple(legend))  # noqa: S704


def _draw_calls(timeline: DeliveryTimeline) -> Figure:
    legend = (("c0", "calls, not throttled"), ("c1", "throttled"), ("ink", "target"))
    limit = (("dashed", f"limit, {timeline.limit:,g} a second"),) if charts.shows_limit(timeline) else ()
    return Figure(Markup(charts.calls_chart(timeline)), legend + limit)  # noqa: S704 - as above


def _draw_latency(timeline: DeliveryTimeline) -> Figure:
    shares = sorted(charts.latency_lines(timeline))
    legend = tuple((charts.LATENCY_COLOURS[share], percentile_name(share)) for share in shares)
    return Figure(Markup(charts.latency_chart(timeline)), legend)  # noqa: S704 - as above


def _list_percentiles(points: Sequence[CallPoint]) -> tuple[Percentile, ...]:
    classes = latencies(points)
    calls = sum(classes.values())
    return tuple(
        Percentile(percentile_name(share), known_percentile(classes, share), calls_needed(share), calls)
        for share in PERCENTILES
    )


def _render(**values: object) -> str:
    ours, shared = resources.files("jobs.report") / "templates", resources.files("expectations") / "templates"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "percent": percentage,
        "number": number,
        "duration": duration,
        "size": size,
        "time": _write_time,
    }
    environment.globals["style"] = (shared / "style.css").read_text("utf-8") + (ours / "report.css").read_text("utf-8")
    return environment.from_string((ours / "report.html.j2").read_text("utf-8")).render(**values)


def _write_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
