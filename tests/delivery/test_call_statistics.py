"""Calls, counted: begun, again, ended, in what way, how long they took."""

import json
from dataclasses import asdict

import pytest

from delivery.call_statistics import CallStatistics
from delivery.model import Response
from delivery.responses import interpret_response

DELIVERED, THROTTLED, REFUSED, NOBODY = (
    Response(200, awsRequestId="aws"),
    Response(400, "ThrottlingException"),
    Response(400, "InvalidInputException"),
    Response(None, "Reset"),
)


def test_calls_are_counted_by_what_became_of_them() -> None:
    calls = CallStatistics()
    for again in (False, True, True, False):
        calls.begin(again=again, at=100.0)
    for answer in (THROTTLED, NOBODY, DELIVERED):
        calls.end(answer, interpret_response(answer), 0.1)
    assert calls == CallStatistics(2, 4, 2, 3, 1, 2, pytest.approx(0.1), acknowledged=1)


def test_refusals_in_a_row_begin_anew_with_each_call_that_is_acknowledged() -> None:
    calls, in_a_row = CallStatistics(), []
    for answer in (REFUSED, THROTTLED, REFUSED, DELIVERED, REFUSED, NOBODY):
        calls.end(answer, interpret_response(answer), 0.1)
        in_a_row.append(calls.refusedInARow)
    assert (in_a_row, calls.refused, calls.acknowledged) == ([1, 1, 2, 0, 1, 1], 3, 1)


def test_the_latency_follows_the_newest_calls_by_a_tenth_each() -> None:
    calls = CallStatistics()
    calls.end(DELIVERED, interpret_response(DELIVERED), 1.0)
    assert calls.latency == 1.0
    calls.end(DELIVERED, interpret_response(DELIVERED), 2.0)
    assert calls.latency == pytest.approx(1.1)


def test_a_call_that_nobody_answered_tells_nothing_of_the_latency() -> None:
    calls = CallStatistics()
    calls.end(NOBODY, interpret_response(NOBODY), 30.0)
    calls.end(DELIVERED, interpret_response(DELIVERED), 0.05)
    assert calls.latency == 0.05


def test_counts_add_up_and_the_latency_stays() -> None:
    calls = CallStatistics(1, 2, 3, 4, 5, 6, 0.1, 7, 8, 9)
    calls.add(CallStatistics(10, 20, 30, 40, 50, 60, 0.9, 70, 80, 90))
    assert calls == CallStatistics(11, 22, 33, 44, 55, 66, 0.1, 77, 88, 9)


def test_when_calls_began_is_told_by_slots_of_a_tenth_of_a_second_and_forgotten_in_time() -> None:
    calls = CallStatistics()
    for at in (100.0, 100.09, 100.1, 100.95, 101.0):
        calls.begin(again=False, at=at)
    assert calls.begun == {1000: 2, 1001: 1, 1009: 1, 1010: 1}
    assert CallStatistics(**json.loads(json.dumps(asdict(calls)))).begun == calls.begun
    for tenth in range(60):
        calls.begin(again=True, at=200.0 + tenth / 10)
    assert sorted(calls.begun) == list(range(2010, 2060))
