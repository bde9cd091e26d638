"""A delivery's course, as its charts can show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from jobs.report.facts import Course, Point

MOST: Final = 150
"""Points of a chart."""


def shown(course: Course) -> Course:
    """Leave out the stretches before the first call and after the last answer, and merge neighbours to few points."""
    busy = [place for place, point in enumerate(course.points) if point.attempts or point.ended]
    if not busy:
        return replace(course, points=())
    points = course.points[busy[0] : busy[-1] + 1]
    together = -(-len(points) // MOST)
    merged = [merge(points[place : place + together]) for place in range(0, len(points), together)]
    passed = busy[0] * course.width
    return replace(
        course,
        began=course.began + timedelta(seconds=passed),
        width=course.width * together,
        points=tuple(merged),
        starts=tuple((batch, seconds - passed) for batch, seconds in course.starts),
    )


def merge(points: Sequence[Point]) -> Point:
    """Make one point of several."""
    seconds = sum(point.seconds for point in points)
    return Point(
        seconds=seconds,
        attempts=sum(point.attempts for point in points),
        retried=sum(point.retried for point in points),
        ended=sum(point.ended for point in points),
        throttled=sum(point.throttled for point in points),
        events=sum(point.events for point in points),
        target=sum(point.target * point.seconds for point in points) / seconds if seconds else 0.0,
        latencies=latencies(points),
    )


def latencies(points: Sequence[Point]) -> Mapping[int, int]:
    """Add up the classes of latency."""
    total: Counter[int] = Counter()
    for point in points:
        total.update(point.latencies)
    return total


def rates(course: Course, count: Callable[[Point], int]) -> list[float]:
    """Give a count a second for each point."""
    return [count(point) / course.width for point in course.points]
