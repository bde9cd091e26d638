"""What became of requests and events, from receipts."""

from __future__ import annotations

from datetime import datetime

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession

from transforms.outcomes import fates, letters, remaining, sent_span, tally


def test_an_event_that_was_ever_delivered_is_delivered(spark: SparkSession) -> None:
    receipts = spark.createDataFrame(
        [(["a", "b"], "refused"), (["a"], "delivered"), (["c"], "delivered"), (["c"], "delivered")],
        "eventIds ARRAY<STRING>, status STRING",
    )
    expected = spark.createDataFrame(
        [("a", "delivered"), ("b", "refused"), ("c", "delivered")], "eventId STRING, status STRING"
    )
    assert_df_equality(fates(receipts), expected, ignore_row_order=True)


def test_what_is_left_of_a_plan_is_what_has_no_receipt_whole_or_in_part(spark: SparkSession) -> None:
    requests = spark.createDataFrame([("whole",), ("split",), ("new",)], "requestId STRING")
    receipts = spark.createDataFrame([("whole",), ("split.1",), ("split.2.1",), ("stranger",)], "requestId STRING")
    rows = {row.requestId: row.ended and sorted(row.ended) for row in remaining(requests, receipts).collect()}
    assert rows == {"split": ["split.1", "split.2.1"], "new": None}


def test_a_dead_letter_is_an_event_whose_last_word_was_no(spark: SparkSession) -> None:
    events = spark.createDataFrame([("a", "x"), ("b", "y"), ("c", "z"), ("d", "w")], "eventId STRING, itemId STRING")
    at = [datetime(2024, 1, day) for day in (1, 2, 3)]  # noqa: DTZ001 - the session's zone is UTC
    receipts = spark.createDataFrame(
        [
            (["a"], "refused", at[0]),
            (["a"], "delivered", at[1]),
            (["b"], "refused", at[0]),
            (["b"], "refused", at[1]),
            (["c"], "delivered", at[0]),
            (["c"], "refused", at[2]),
            (["d"], "delivered", at[0]),
        ],
        "eventIds ARRAY<STRING>, status STRING, startedAt TIMESTAMP",
    )
    refusals = spark.createDataFrame(
        [
            ("r1", ["a"], "InvalidInputException", "old", at[0]),
            ("r2", ["b"], "InvalidInputException", "first", at[0]),
            ("r3", ["b"], "ValidationException", "second", at[1]),
            ("r4", ["c"], "InvalidInputException", "late", at[2]),
        ],
        "requestId STRING, eventIds ARRAY<STRING>, errorCode STRING, errorMessage STRING, startedAt TIMESTAMP",
    )
    expected = spark.createDataFrame(
        [("b", "y", "r3", "ValidationException", "second"), ("c", "z", "r4", "InvalidInputException", "late")],
        "eventId STRING, itemId STRING, requestId STRING, errorCode STRING, errorMessage STRING",
    )
    assert_df_equality(letters(events, receipts, refusals), expected, ignore_row_order=True, ignore_nullable=True)


@pytest.mark.parametrize(
    ("ids", "derived"), [(["a" * 64, "0" * 64], True), (["a" * 64, "order-7"], False), (["A" * 64], False), ([], True)]
)
def test_the_span_of_events_and_whether_their_ids_hold_their_times(
    spark: SparkSession, ids: list[str], derived: bool
) -> None:
    times = [datetime(2024, 1, 1, 0, 0, place, 5) for place in range(len(ids))]  # noqa: DTZ001 - the session's zone is UTC
    events = spark.createDataFrame(list(zip(ids, times, strict=True)), "eventId STRING, sentAt TIMESTAMP")
    (row,) = sent_span(events).collect()
    assert row.derived is derived
    if ids:
        assert (row.since, row.until) == (1704067200000005, 1704067200000005 + (len(ids) - 1) * 1_000_000)
    else:
        assert (row.since, row.until) == (None, None)


def test_a_plans_events_are_held_against_its_receipts_by_their_ids(spark: SparkSession) -> None:
    requests = spark.createDataFrame([(["a", "b", "c"],), (["d", "e"],), (["f"],)], "eventIds ARRAY<STRING>")
    own = [(["a", "b"], "delivered"), (["c"], "refused"), (["c"], "refused"), (["d"], "refused"), (["d"], "delivered")]
    strange = [(["x", "y"], "delivered"), (["z"], "refused")]
    receipts = spark.createDataFrame([*own, *strange], "eventIds ARRAY<STRING>, status STRING")
    rows = {row.status: (row.planned, row.unplanned) for row in tally(requests, receipts).collect()}
    assert rows == {"delivered": (3, 2), "refused": (1, 1), None: (2, 0)}
