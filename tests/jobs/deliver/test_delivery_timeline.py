"""A delivery's course: whatever its length few points, and in them every call."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from delivery.call_statistics import CallStatistics
from delivery.control.dispatcher import DeliveryProgress
from jobs.deliver.delivery_timeline import MOST, TimelineRecorder
from jobs.report.binning import MOST_POINTS as MOST_SHOWN
from jobs.report.binning import rates, trim_timeline
from jobs.report.report_input import percentile

BEGAN = datetime(2024, 1, 3, 3, 14, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timeline(clock: Clock) -> TimelineRecorder:
    return TimelineRecorder(100.0, clock, BEGAN)


def at(calls: int, throttled: int = 0, target: float = 100.0) -> DeliveryProgress:
    made = CallStatistics(attempts=calls, retried=throttled, ended=calls, throttled=throttled, answered=calls)
    return DeliveryProgress(calls * 8, calls, 100.0, target=target, why="", calls=made, tasks=1)


def run_output(seconds: float) -> int:
    """The slot of Unix time so many seconds after the timeline began."""
    return round((BEGAN.timestamp() + seconds) * 10)


def receipt(**more: Any) -> dict[str, Any]:
    row = {
        "status": "delivered",
        "eventIds": ["e"],
        "errorCode": None,
        "latencyMs": 50,
        "startedAt": 1_704_250_440_000_000,
    }
    return {**row, **more}


def test_each_second_holds_what_was_called_in_it(timeline: TimelineRecorder, clock: Clock) -> None:
    timeline.begin("b")
    for tenth, calls in ((5, 40), (10, 70), (15, 100), (22, 130)):
        clock.now = 1_000 + tenth / 10
        timeline.show(at(calls, throttled=calls // 10, target=50.0 + tenth))
    # Told late, in no order, and by a clock that is ahead.
    timeline.count_calls({run_output(1.0): 40, run_output(0.9): 10, run_output(0.0): 30, run_output(9.0): 7})
    timeline.count_calls({run_output(1.9): 5})
    points = timeline.delivery_timeline().points
    assert [point.attempts for point in points] == [40, 45, 7]
    assert [point.throttled for point in points] == [4, 6, 3]
    assert [point.events for point in points] == [360, 540, 270]
    assert [point.seconds for point in points] == pytest.approx([0.5, 1.0, 0.7])
    assert points[1].target == pytest.approx(0.5 * 60 + 0.5 * 65)


@pytest.mark.parametrize("seconds", [599, 601, 4_000, 86_400])
def test_however_long_it_takes_the_points_are_few_and_lose_nothing(
    timeline: TimelineRecorder, clock: Clock, seconds: int
) -> None:
    timeline.begin("b")
    for second in range(1, seconds):
        clock.now = 1_000.0 + second
        timeline.show(at(second * 3, throttled=second))
        timeline.count_calls({run_output(second): 3})
        timeline.keep([receipt(latencyMs=second % 200)])
    delivery_timeline = timeline.delivery_timeline()
    for one in (delivery_timeline, trim_timeline(delivery_timeline)):
        assert sum(point.attempts for point in one.points) == 3 * (seconds - 1)
        assert sum(point.throttled for point in one.points) == seconds - 1
        assert sum(sum(point.latencies.values()) for point in one.points) == seconds - 1
        assert one.width * len(one.points) >= seconds - 1
    assert MOST / 2 - 1 <= len(delivery_timeline.points) <= MOST or seconds < MOST
    assert len(trim_timeline(delivery_timeline).points) <= MOST_SHOWN


def test_the_next_sending_counts_from_zero_and_a_long_wait_between_is_seen(
    timeline: TimelineRecorder, clock: Clock
) -> None:
    timeline.begin("monday")
    clock.now += 1.5
    timeline.show(at(100))
    timeline.count_calls({run_output(0.4): 100})
    clock.now += 5_000
    timeline.begin("tuesday")
    clock.now += 0.5
    timeline.show(at(30))
    timeline.count_calls({run_output(5_001.7): 30})
    delivery_timeline = timeline.delivery_timeline()
    assert delivery_timeline.starts == (("monday", 0.0), ("tuesday", 5_001.5))
    assert [point.attempts for point in delivery_timeline.points if point.attempts] == [100, 30]
    assert len(delivery_timeline.points) <= MOST and sum(
        point.seconds for point in delivery_timeline.points
    ) == pytest.approx(2.0)


@pytest.mark.parametrize("seconds", [0.7, 1.5, 30.0, 700.0])
def test_no_bar_is_above_a_limit_that_the_calls_kept_however_late_the_driver_hears(
    timeline: TimelineRecorder, clock: Clock, seconds: float
) -> None:
    timeline.begin("b")
    starts = [0.37 + number * 1.015 / 100 for number in range(int(seconds * 100 / 1.015))]
    told = 0
    while told < len(starts):
        clock.now += 0.45  # nothing is heard for a while, then all at once
        now = clock.now - 1_000.0
        new = [at for at in starts[told : told + 200] if at < now]
        timeline.show(at(told := told + len(new)))
        timeline.count_calls(Counter(run_output(at - 0.05) for at in new))
    delivery_timeline = trim_timeline(timeline.delivery_timeline())
    bars = rates(delivery_timeline, lambda point: point.attempts)
    assert sum(point.attempts for point in delivery_timeline.points) == len(starts)
    assert max(bars) <= 100.0 and (seconds < 2 or max(bars) > 95.0)


def test_receipts_tell_latency_refusals_and_their_span(timeline: TimelineRecorder) -> None:
    fast = [receipt(latencyMs=20) for _ in range(90)]
    slow = receipt(latencyMs=400, status="refused", errorCode="InvalidInputException", eventIds=["a", "b"])
    timeline.keep([*fast, *[slow] * 10, receipt(startedAt=1_704_250_500_250_000)])
    delivery_timeline = timeline.delivery_timeline()
    assert delivery_timeline.refused == {"InvalidInputException": 20}
    assert delivery_timeline.receipts == (
        BEGAN - timedelta(minutes=20),
        BEGAN - timedelta(minutes=20) + timedelta(seconds=60.25),
    )
    median, p95 = (percentile(delivery_timeline.points[0].latencies, share) for share in (0.5, 0.95))
    assert median == pytest.approx(20, rel=0.12) and p95 == pytest.approx(400, rel=0.12)


def test_what_nobody_called_has_no_points(timeline: TimelineRecorder, clock: Clock) -> None:
    clock.now += 5
    timeline.show(at(0))
    assert trim_timeline(timeline.delivery_timeline()).points == ()
