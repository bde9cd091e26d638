"""Requests: the fewest there can be, each of one user and session, events in order."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from chispa import assert_df_equality
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.spark_stages import stages_run
from transforms.packing import measure_requests, pack_requests, spread_groups
from transforms.schemas import EVENTS

START = datetime(2024, 1, 1, tzinfo=UTC)


def events(spark: SparkSession, groups: dict[tuple[str | None, str], int]) -> DataFrame:
    rows = [
        {"userId": user, "sessionId": session, "eventId": f"{user}-{session}-{n:03d}", "eventType": "view"}
        | {"sentAt": START + timedelta(seconds=count - n)}
        for (user, session), count in groups.items()
        for n in range(count)
    ]
    return spark.createDataFrame([{name: row.get(name) for name in EVENTS.names} for row in rows], EVENTS)


def valid(frame: DataFrame) -> DataFrame:
    return frame.withColumns({"_fate": F.lit("valid"), "_first": F.lit(True)})


def packed(frame: DataFrame) -> list[dict[str, Any]]:
    return [row.asDict() for row in pack_requests(frame).orderBy("userId", "sessionId", "number").collect()]


def test_ten_to_a_request_in_order_of_time(spark: SparkSession) -> None:
    requests = packed(events(spark, {("u", "s"): 21}))
    assert [len(request["eventIds"]) for request in requests] == [10, 10, 1]
    ids = [event for request in requests for event in request["eventIds"]]
    assert ids == [f"u-s-{n:03d}" for n in reversed(range(21))]  # the later its number, the earlier it was sent
    assert [json.loads(event)["eventId"] for request in requests for event in request["events"]] == ids


def test_no_request_holds_two_users_or_sessions(spark: SparkSession) -> None:
    requests = packed(events(spark, {(None, "s"): 2, ("u", "s"): 3, ("u", "t"): 1}))
    assert [(request["userId"], request["sessionId"], len(request["eventIds"])) for request in requests] == [
        (None, "s", 2),
        ("u", "s", 3),
        ("u", "t", 1),
    ]


def test_request_ids_are_the_same_whatever_the_partitioning(spark: SparkSession) -> None:
    frame = events(spark, {("u", "s"): 25, (None, "s"): 14})
    first = {request["requestId"] for request in packed(frame.repartition(1))}
    other = {request["requestId"] for request in packed(frame.repartition(7))}
    assert first == other and len(first) == 5


GROUPS = st.dictionaries(
    st.tuples(st.sampled_from([None, "u", "w"]), st.sampled_from("stuvwxyz")), st.integers(1, 31), min_size=8
)


@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(groups=GROUPS)
def test_requests_are_the_fewest_that_the_groups_allow(
    spark: SparkSession, groups: dict[tuple[str | None, str], int]
) -> None:
    frame = events(spark, groups)
    fewest = sum(-(-count // 10) for count in groups.values())
    assert len(packed(frame)) == fewest
    counted = measure_requests(valid(frame)).collect()
    assert {name: sum(one[name] for one in counted) for name in ("rows", "records", "sessions", "anonymous")} == {
        "rows": sum(groups.values()),
        "records": sum(groups.values()),
        "sessions": len({session for _, session in groups}),
        "anonymous": len({session for _, session in groups} - {session for user, session in groups if user}),
    }
    assert sum(one.requests for one in counted) == fewest


def test_nothing_makes_no_request(spark: SparkSession) -> None:
    assert measure_requests(valid(spark.createDataFrame([], EVENTS))).collect() == []


def test_rows_that_are_no_events_are_counted_apart(spark: SparkSession) -> None:
    rows = [
        ("valid", True, "s", 5),
        ("valid", False, "s", 9),
        ("duplicate", True, None, 7),
        ("filtered", True, None, 8),
    ]
    schema = "_fate STRING, _first BOOLEAN, sessionId STRING, second INT"
    absent = {name: F.lit(None).cast("string") for name in ("userId", "eventId")}
    frame = spark.createDataFrame(rows, schema).withColumns({**absent, "sentAt": F.timestamp_seconds("second")})
    counted = {(one["_fate"], one.rows, one.records, one.newest) for one in measure_requests(frame).collect()}
    assert counted == {("valid", 2, 1, 9_000_000), ("duplicate", 1, 1, 7_000_000), ("filtered", 1, 1, 8_000_000)}


def test_measuring_within_what_a_session_lies_in_shuffles_classes_alone(spark: SparkSession) -> None:
    frame = valid(events(spark, {("u", "s"): 12, (None, "s"): 1, ("w", "t"): 2})).withColumn(
        "_visitor", F.col("sessionId")
    )
    within = measure_requests(frame.repartition(2, "_visitor"), within=["_visitor"])
    assert stages_run(spark, within.collect) == 3  # after the repartition's shuffle one of at most a few dozen classes
    assert_df_equality(within, measure_requests(frame), ignore_row_order=True)


def test_sessions_are_told_by_their_length(spark: SparkSession) -> None:
    # of one moment; of two users and 60 s, which is 10 < 60 <= 60; of 11 events in 30 min and a microsecond
    rows = [(None, "one", 0), (None, "both", 0), ("u", "both", 60_000_000)]
    rows += [("w", "long", n) for n in range(10)] + [("w", "long", 1_800_000_001)]
    schema = "userId STRING, sessionId STRING, micros BIGINT"
    frame = spark.createDataFrame(rows, schema).withColumns(
        {"sentAt": F.timestamp_micros("micros"), "eventId": F.lit(None).cast("string")}
    )
    counted = measure_requests(valid(frame)).collect()
    assert {(one.size, one.duration, one.sessions) for one in counted} == {(0, 0, 1), (1, 2, 1), (4, 6, 1)}
    assert {(one.largest, one.longest) for one in counted} == {(1, 0), (2, 60_000_000), (11, 1_800_000_001)}
    assert {(one.size, one.anonymous, one.requests) for one in counted} == {(0, 1, 1), (1, 0, 2), (4, 0, 2)}


@pytest.mark.parametrize("partitions", [2, 8, 32])
def test_requests_are_spread_evenly_whatever_the_sizes_of_sessions(spark: SparkSession, partitions: int) -> None:
    singles = partitions * 50
    frame = spark.range(partitions * 50 * 10 + singles).select(
        F.when(F.col("id") < singles, F.col("id").cast("string"))
        .otherwise("a session as large as all others")
        .alias("s"),
        F.col("id").cast("string").alias("eventId"),
        F.timestamp_seconds("id").alias("sentAt"),
    )
    absent = [F.lit(None).cast(field.dataType).alias(field.name) for field in EVENTS.fields]
    given = [
        column
        for column, field in zip(absent, EVENTS.fields, strict=True)
        if field.name not in ("sessionId", "eventId", "sentAt")
    ]
    events = frame.select(F.col("s").alias("sessionId"), "eventId", "sentAt", *given)
    held = (
        spread_groups(pack_requests(events), partitions)
        .select(F.spark_partition_id().alias("p"), "part", "sessionId", "number")
        .collect()
    )
    sizes = Counter(row.p for row in held)
    mean = len(held) / partitions
    assert mean == 100 and len(sizes) == partitions and max(sizes.values()) <= 1.4 * mean
    assert all(row.p == row.part for row in held)
    for partition in sizes:
        numbers = [row.number for row in held if row.p == partition and row.sessionId.startswith("a session")]
        assert len(numbers) > 10 and numbers == sorted(numbers)


def test_which_request_lies_in_which_part_is_the_same_on_every_computation(spark: SparkSession) -> None:
    """As after a lost executor: the same rows come from other tasks and in another order, what has ended likewise."""
    names = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(200)]
    schema = "requestId STRING, userId STRING, sessionId STRING, number INT, ended ARRAY<STRING>"

    def parts(seed: int, tasks: int) -> dict[str, int]:
        dice = random.Random(seed)
        rows = [
            (name, "u", f"s{place // 3}", place % 3, dice.sample(["a", "b", "c"], 3))
            for place, name in enumerate(names)
        ]
        requests = spark.createDataFrame(dice.sample(rows, len(rows)), schema).repartition(tasks)
        return {row.requestId: row.part for row in spread_groups(requests, 7).collect()}

    first = parts(1, 1)
    assert len(first) == 200 and set(first.values()) == set(range(7))
    assert parts(2, 5) == parts(3, 16) == first
