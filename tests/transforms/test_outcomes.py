"""What became of requests and events, from receipts."""

from __future__ import annotations

from datetime import datetime

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from transforms.outcomes import (
    count_statuses,
    dead_letter_rows,
    epoch_in,
    final_statuses,
    is_chosen,
    sent_span,
    unfinished_requests,
)


def test_the_final_state_is_the_last_word_in_the_ledgers_order(spark: SparkSession) -> None:
    receipts = spark.createDataFrame(
        [
            (["a", "b"], "refused", 1),
            (["a"], "delivered", 2),
            (["b"], "delivered", 0),
            (["c"], "delivered", 9),
            (["c"], "refused", 10),
            (["d"], "refused", 3),  # of one run: where it was taken at all, the service has it
            (["d"], "delivered", 3),
            (["d"], "refused", 3),
        ],
        "eventIds ARRAY<STRING>, status STRING, epoch BIGINT",
    )
    expected = spark.createDataFrame(
        [("a", "delivered", 2), ("b", "refused", 1), ("c", "refused", 10), ("d", "delivered", 3)],
        "eventId STRING, status STRING, epoch BIGINT",
    )
    assert_df_equality(final_statuses(receipts), expected, ignore_row_order=True, ignore_nullable=True)


def test_the_epoch_is_read_off_the_names_of_files_whatever_they_are(spark: SparkSession) -> None:
    names = {"00000012.p.r-000001-9.parquet": 12, "123456789.p.r-1-9.parquet": 123_456_789, "part-0.snappy.parquet": 0}
    names |= {"": 0, "7": 0, "1" * 30 + ".p.r-1-9.parquet": 0}
    rows = spark.createDataFrame([(name,) for name in names], "name STRING")
    assert {
        row.name: row.epoch for row in rows.select("name", epoch_in(F.col("name")).alias("epoch")).collect()
    } == names


@pytest.mark.parametrize(
    ("kind", "again", "chosen"),
    [
        ("batch", 0, {"waits"}),
        ("dead-letters", 0, {"refused"}),
        ("resend", 5, {"waits", "refused", "delivered"}),
        ("resend", 4, {"waits", "refused"}),
        ("resend", 3, {"waits"}),
    ],
)
def test_which_events_are_chosen_follows_from_their_final_state(
    spark: SparkSession, kind: str, again: int, chosen: set[str]
) -> None:
    states = [("waits", None, None), ("refused", "refused", 3), ("delivered", "delivered", 4)]
    rows = spark.createDataFrame(states, "name STRING, status STRING, epoch BIGINT")
    found = rows.withColumn("chosen", is_chosen(kind, again)).collect()
    assert {row.name for row in found if row.chosen} == chosen
    assert {row.name for row in found if row.chosen is False} == {name for name, *_ in states} - chosen


def test_what_is_left_of_a_plan_is_what_has_no_receipt_whole_or_in_part(spark: SparkSession) -> None:
    requests = spark.createDataFrame([("whole",), ("split",), ("new",)], "requestId STRING")
    receipts = spark.createDataFrame([("whole",), ("split.1",), ("split.2.1",), ("stranger",)], "requestId STRING")
    rows = {row.requestId: row.ended and sorted(row.ended) for row in unfinished_requests(requests, receipts).collect()}
    assert rows == {"split": ["split.1", "split.2.1"], "new": None}


def test_a_dead_letter_is_an_event_whose_final_state_is_no_with_the_last_words(spark: SparkSession) -> None:
    """`startedAt` is by the clocks of executors, and those of earlier runs were ahead: it has no part in it."""
    events = spark.createDataFrame(
        [("a", "x"), ("b", "y"), ("c", "z"), ("d", "w"), ("e", "v")], "eventId STRING, itemId STRING"
    )
    at = [datetime(2024, 1, day) for day in (3, 2, 1)]  # noqa: DTZ001 - the session's zone is UTC
    receipts = spark.createDataFrame(
        [
            ("r1", ["a"], "refused", "InvalidInputException", at[0], 1),
            ("r1", ["a"], "delivered", None, at[1], 2),
            ("r2", ["b"], "refused", "InvalidInputException", at[0], 1),
            ("r3", ["b"], "refused", "ValidationException", at[1], 2),
            ("r4", ["c"], "delivered", None, at[0], 1),
            ("r4", ["c"], "refused", "InvalidInputException", at[2], 3),
            ("r5", ["d"], "delivered", None, at[0], 1),
            ("r0", ["e"], "refused", "InvalidInputException", at[0], 1),
            ("r6", ["e"], "refused", "ValidationException", at[1], 2),  # its words got lost
        ],
        "requestId STRING, eventIds ARRAY<STRING>, status STRING, errorCode STRING, startedAt TIMESTAMP, epoch BIGINT",
    )
    refusals = spark.createDataFrame(
        [
            ("r0", ["e"], "InvalidInputException", "old", at[0], 1),
            ("r1", ["a"], "InvalidInputException", "old", at[0], 1),
            ("r2", ["b"], "InvalidInputException", "first", at[0], 1),
            ("r3", ["b"], "ValidationException", "second", at[1], 2),
            ("r4", ["c"], "InvalidInputException", "late", at[2], 3),
        ],
        "requestId STRING, eventIds ARRAY<STRING>, errorCode STRING, errorMessage STRING, startedAt TIMESTAMP, "
        "epoch BIGINT",
    )
    expected = spark.createDataFrame(
        [
            ("b", "y", "r3", "ValidationException", "second"),
            ("c", "z", "r4", "InvalidInputException", "late"),
            ("e", "v", "r6", "ValidationException", None),
        ],
        "eventId STRING, itemId STRING, requestId STRING, errorCode STRING, errorMessage STRING",
    )
    assert_df_equality(
        dead_letter_rows(events, receipts, refusals), expected, ignore_row_order=True, ignore_nullable=True
    )


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
    own = [(["a", "b"], "delivered", 1), (["c"], "refused", 1), (["c"], "refused", 1), (["d"], "refused", 2)]
    own += [(["d"], "delivered", 2), (["e"], "delivered", 1), (["e"], "refused", 2)]
    strange = [(["x", "y"], "delivered", 1), (["z"], "refused", 1)]
    receipts = spark.createDataFrame([*own, *strange], "eventIds ARRAY<STRING>, status STRING, epoch BIGINT")
    rows = {row.status: (row.planned, row.unplanned) for row in count_statuses(requests, receipts).collect()}
    assert rows == {"delivered": (3, 2), "refused": (2, 1), None: (1, 0)}
