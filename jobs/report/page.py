"""A run's page: one HTML document that needs no network and no script. From numbers to text; nothing is read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from expectations.rules import RULES
from jobs.report import charts
from jobs.report.bars import Bar, codes, durations, event_fates, reasons, record_fates, sizes
from jobs.report.binning import latencies, merge, shown
from jobs.report.formatting import duration, percentage, run_status, size
from jobs.report.report_input import DeliveryTimeline, EventTimeline, ReportInput, percentile

LEAST_POINTS: Final = 3
"""Stretches of a second that a chart of a delivery needs to show anything."""
MOST_STARTS: Final = 50
"""Sendings that are listed."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart and what explains it.

    Attributes:
        svg: to stand in the page.
        legend: a colour's name and what it stands for.
    """

    svg: Markup
    legend: tuple[tuple[str, str], ...]


def page(told: ReportInput) -> str:
    """Write the page of a run: a whole HTML document."""
    summary = told.summary
    course = shown(told.course) if told.course else None
    return _render(
        told=told,
        summary=summary,
        standing=run_status(summary),
        fates=_fates(summary),
        reasons=reasons(summary.get("reasons") or {}, summary.get("candidates", 0), RULES),
        flow=_flow(told.flow) if told.flow else None,
        sizes=sizes(told.lengths) if told.lengths else (),
        durations=durations(told.lengths) if told.lengths else (),
        course=course,
        codes=codes(course.refused) if course else (),
        calls=_calls(course) if course and len(course.points) >= LEAST_POINTS else None,
        latency=_latency(course) if course and len(course.points) >= LEAST_POINTS and _measured(course) else None,
        total=merge(course.points) if course else None,
        median=percentile(latencies(course.points), 0.5) if course else None,
        p95=percentile(latencies(course.points), 0.95) if course else None,
        most_starts=MOST_STARTS,
    )


def _fates(summary: Mapping[str, Any]) -> tuple[Bar, ...]:
    if "read" in summary:
        return record_fates(summary)
    return event_fates(summary) if "delivered" in summary else ()


def _flow(flow: EventTimeline) -> Figure:
    legend = zip(charts.swatches(flow), [one.name or "all other types" for one in flow.series], strict=True)
    # What is between tags is matplotlib's, and escaped; no type's name is in it.
    return Figure(Markup(charts.flow_chart(flow)), tuple(legend))  # noqa: S704


def _calls(course: DeliveryTimeline) -> Figure:
    legend = (("c0", "calls, not throttled"), ("c1", "throttled"), ("ink", "target"))
    limit = (("dashed", f"limit, {course.limit:,g} a second"),) if charts.shows_limit(course) else ()
    return Figure(Markup(charts.calls_chart(course)), legend + limit)  # noqa: S704 - as above


def _measured(course: DeliveryTimeline) -> bool:
    """Whether a latency is known at all."""
    return any(point.latencies for point in course.points)


def _latency(course: DeliveryTimeline) -> Figure:
    legend = (("c0", "median"), ("c1", "95th percentile"))
    return Figure(Markup(charts.latency_chart(course)), legend)  # noqa: S704 - as above


def _render(**values: object) -> str:
    ours, shared = resources.files("jobs.report") / "templates", resources.files("expectations") / "templates"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percentage, "number": _number, "duration": duration, "size": size, "time": _time}
    environment.globals["style"] = (shared / "style.css").read_text("utf-8") + (ours / "report.css").read_text("utf-8")
    return environment.from_string((ours / "report.html.j2").read_text("utf-8")).render(**values)


def _number(number: float) -> str:
    """Write a number for a reader: whole, or with one digit where it is small and is not whole."""
    return f"{number:,.1f}" if number != round(number) and number < 100 else f"{number:,.0f}"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
