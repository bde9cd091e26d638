"""When events happened, counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame, SparkSession

from transforms.measures import events_by_day, events_over_time, top_types

DAY = datetime(2024, 1, 2, tzinfo=UTC)


def events(spark: SparkSession, *rows: tuple[str, float]) -> DataFrame:
    times = [(kind, DAY + timedelta(seconds=seconds)) for kind, seconds in rows]
    return spark.createDataFrame(times, "eventType STRING, sentAt TIMESTAMP")


def test_events_fall_into_the_stretch_that_begins_with_them_or_before(spark: SparkSession) -> None:
    frame = events(spark, ("view", 0), ("view", 9.999999), ("view", 10), ("buy", 10), ("buy", -0.000001), ("buy", 20))
    counted = events_over_time(frame, None, DAY, timedelta(seconds=10), 2).collect()
    assert {tuple(row) for row in counted} == {
        *[("view", 0, 2), ("view", 1, 1), ("buy", 1, 1)],
        *[("buy", -1, 1), ("buy", 2, 1)],  # before the first, after the last
    }


def test_only_the_types_asked_for_are_told_apart(spark: SparkSession) -> None:
    frame = events(spark, ("a", 1), ("b", 1), ("c", 1), ("c", 2))
    counted = events_over_time(frame, ["a"], DAY, timedelta(days=1), 1).collect()
    assert {tuple(row) for row in counted} == {("a", 0, 1), (None, 0, 3)}
    assert [row.eventType for row in top_types(frame, 2).collect()] == ["c", "a"]


def test_days_are_utc(spark: SparkSession) -> None:
    frame = events(spark, ("a", 0), ("a", 86_399.9), ("a", 86_400), ("a", -1))
    assert {tuple(row) for row in events_by_day(frame).collect()} == {(19_723, 1), (19_724, 2), (19_725, 1)}
