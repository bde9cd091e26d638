"""What a person sees of a delivery: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import io
import logging

import pytest

from delivery.call_statistics import CallStatistics
from delivery.control.dispatcher import DeliveryProgress
from jobs.deliver.progress import ProgressDisplay, ProgressGoal, bar, line

GOAL = ProgressGoal(events=10_000, before=1_000)


def at(delivered: int, attempts: int = 0, refused: int = 0) -> DeliveryProgress:
    calls = CallStatistics(
        attempts=attempts, ended=attempts - 15, throttled=3, retried=31, answered=attempts, latency=0.0514
    )
    return DeliveryProgress(
        delivered, refused, 500.0, target=294.4, why="throttled at 300/s 12 s ago", calls=calls, tasks=4
    )


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_bar_tells_how_far_how_fast_what_was_throttled_and_how_long_it_takes() -> None:
    assert bar(GOAL, at(4_000, attempts=315), calls=292.0, events=2_500.0) == (
        "[##########..........] 5,000 of 10,000 events | 292 of 500 calls/s | 1.0 % throttled | 2 s left"
    )


def test_the_line_tells_the_target_and_where_it_comes_from_too() -> None:
    assert line(GOAL, at(3_998, attempts=315, refused=2), calls=292.0, events=20.0) == (
        "5,000 of 10,000 events ended (2 refused); limit 500/s, target 294/s (throttled at 300/s 12 s ago), "
        "achieved 292/s; 1.0 % throttled, 31 retried, latency 51 ms, 15 in flight in 4 tasks; 4 min 10 s left"
    )


def test_before_anything_was_sent_nobody_knows_how_long_it_takes() -> None:
    assert bar(GOAL, at(0), calls=0.0, events=0.0).endswith("time left unknown")


def test_before_a_task_is_there_it_says_what_is_waited_for() -> None:
    nothing = DeliveryProgress(0, 0, 500.0, 500.0, "the limit", CallStatistics(), 0)
    assert line(GOAL, nothing, calls=0.0, events=0.0) == "1,000 of 10,000 events ended; starting tasks"
    assert bar(GOAL, nothing, calls=0.0, events=0.0).endswith(" | starting tasks")


def test_a_log_gets_a_line_every_thirty_seconds(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    display = ProgressDisplay(None, clock)
    display.begin(GOAL)
    with caplog.at_level(logging.INFO):
        for second in range(95):
            clock.now = float(second)
            display.show(at(delivered=second * 50, attempts=second * 5 + 15))
    display.close()
    assert [record.message.split(" events")[0] for record in caplog.records] == [
        "2,500 of 10,000",
        "4,000 of 10,000",
        "5,500 of 10,000",
    ]
    assert all("achieved 5/s" in record.message for record in caplog.records)


def test_a_terminal_gets_one_line_that_is_written_over(caplog: pytest.LogCaptureFixture) -> None:
    clock, stream = Clock(), io.StringIO()
    display = ProgressDisplay(stream, clock)
    display.begin(GOAL)
    with caplog.at_level(logging.INFO):
        for tenth in range(600):
            clock.now = tenth / 10
            display.show(at(delivered=tenth, attempts=tenth + 15))
    display.close()
    drawn = stream.getvalue()
    assert not caplog.records
    assert drawn.count("\n") == 1 and drawn.endswith("\n")
    assert 150 <= drawn.count("\r") <= 240  # four times a second at the most
    assert len({len(piece) for piece in drawn.rstrip("\n").split("\r")[1:]}) == 1  # nothing of a longer one stays
