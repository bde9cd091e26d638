"""What the gate is told, against figures counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from expectations.facts import event_facts, most_repeated, refused_samples, repetition_facts
from expectations.interval import batch_interval
from expectations.thresholds import CheckSettings
from transforms.schemas import EVENTS, QUARANTINE

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "userId": "u", "visitorId": "v", "sessionId": "s", "eventId": "e", "eventType": "view", "eventValue": 1.5,
    "itemId": "i", "impression": None, "properties": {"device": "ios"}, "recommendationId": None,
    "eventAttributionSource": None, "sentAt": NOON, "sourceFile": "f",
}  # fmt: skip


def events(spark: SparkSession, *changes: dict[str, Any]) -> DataFrame:
    rows = [{**EVENT, "eventId": f"e{n}", **change} for n, change in enumerate(changes)]
    return spark.createDataFrame(rows, EVENTS)


def repetitions(spark: SparkSession, *changes: dict[str, Any]) -> tuple[int, int]:
    row = repetition_facts(events(spark, *changes)).collect()[0]
    return row.eventId_repeated, row.merged


def test_what_single_events_show(spark: SparkSession) -> None:
    day, hour = timedelta(days=1), timedelta(hours=1)
    seen = events(
        spark,
        {"userId": None},
        {"userId": None, "itemId": None},
        {"eventType": "buy", "eventValue": 10.0},
        {"eventType": "buy", "eventValue": 10.1},
        {"eventType": "cart", "eventValue": -0.1},
        {"eventValue": None},
        {"sentAt": datetime(2024, 1, 2, tzinfo=UTC) - hour},
        {"sentAt": datetime(2024, 1, 2, tzinfo=UTC) - hour - timedelta(microseconds=1)},
        {"sentAt": datetime(2024, 1, 2, tzinfo=UTC) + day + hour},
        {"sentAt": datetime(2010, 1, 1, tzinfo=UTC), "properties": None},
        {"sentAt": datetime(2009, 12, 31, 23, tzinfo=UTC), "properties": {"device": "web", "a.b": "1"}},
    )
    settings = CheckSettings(tolerance=hour, minimum=0, maximum=10)
    fields = ["userId", "eventValue", "impression", "properties.device", "properties.a.b", "properties.none"]
    found = event_facts(seen, batch_interval("2024-01-02"), settings, fields).collect()[0].asDict()
    assert found == {
        "anonymous": 2,
        "without_item": 1,
        "sentAt_outside_interval": 4,
        "sentAt_before_2010": 1,
        "eventValue_out_of_range": 2,
        "event_types": 3,
        "earliest": int(datetime(2009, 12, 31, 23, tzinfo=UTC).timestamp()) * 1_000_000,
        "latest": int((datetime(2024, 1, 3, tzinfo=UTC) + hour).timestamp()) * 1_000_000,
        "repeated_here": False,
        "userId": 9,
        "eventValue": 10,
        "impression": 0,
        "properties.device": 10,
        "properties.a.b": 1,
        "properties.none": 0,
    }


def test_of_no_events_there_are_no_times(spark: SparkSession) -> None:
    found = event_facts(spark.createDataFrame([], EVENTS), None, CheckSettings(), ["userId"], 7).collect()[0]
    assert (found.earliest, found.latest, found.repeated_here, found.userId) == (None, None, False, 0)


def test_the_most_repeated_id_and_whether_its_event_is_here(spark: SparkSession) -> None:
    duplicates = spark.createDataFrame([("a",), ("b",), ("a",), ("c",), ("a",), ("b",)], "eventId STRING")
    row = most_repeated(duplicates).collect()[0]
    assert row["rows"] == 3
    for there, expected in (("a", True), ("b", False)):
        seen = events(spark, {"eventId": there}, {"eventId": "z"})
        assert event_facts(seen, None, CheckSettings(), repeated=row["hash"]).collect()[0].repeated_here is expected


def test_who_holds_most_of_the_events(spark: SparkSession) -> None:
    seen = events(
        spark,
        *[{"visitorId": f"v{n % 3}", "userId": "u" if n < 6 else None, "itemId": f"i{n}"} for n in range(10)],
        {"visitorId": "u", "userId": "v0", "itemId": "v0"},  # a value is no other column's
        {"visitorId": None, "itemId": None, "userId": None},
        {"visitorId": None, "itemId": None, "userId": None},
    )
    row = repetition_facts(seen).collect()[0]
    assert (row.largest_visitorId, row.largest_userId, row.largest_itemId) == (4, 6, 1)
    none = repetition_facts(spark.createDataFrame([], EVENTS)).collect()[0]
    assert none.asDict() == dict.fromkeys(none.asDict(), 0)


def test_a_label_without_an_interval_holds_nothing_against_events(spark: SparkSession) -> None:
    old = events(spark, {"sentAt": datetime(1999, 1, 1, tzinfo=UTC)})
    assert event_facts(old, batch_interval("backfill"), CheckSettings()).collect()[0].sentAt_outside_interval == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([{}, {}, {}], (0, 2)),
        ([{}, {"sentAt": NOON + timedelta(milliseconds=999)}], (0, 1)),
        ([{}, {"sentAt": NOON + timedelta(seconds=1)}], (0, 0)),
        ([{}, {"userId": "u2"}], (0, 0)),
        ([{}, {"eventType": "buy"}], (0, 0)),
        ([{}, {"itemId": "j"}], (0, 0)),
        ([{}, {"itemId": None}], (0, 0)),
        ([{"itemId": None}, {"itemId": None}], (0, 1)),
        ([{}, {"properties": {"device": "web"}}], (0, 0)),
        ([{}, {"properties": None}], (0, 0)),
        ([{}, {"eventValue": 9.0, "visitorId": "w", "sessionId": "t"}], (0, 1)),
        ([{"userId": None}, {"userId": None}], (0, 1)),
        ([{"userId": None}, {"userId": None, "sessionId": "t"}], (0, 0)),
        ([{"userId": "x"}, {"userId": None, "sessionId": "x"}], (0, 0)),
        ([{"eventId": "e"}, {"eventId": "e", "itemId": "j"}, {"eventId": "e", "itemId": "k"}], (2, 0)),
        ([], (0, 0)),
    ],
)
def test_what_the_service_will_merge_and_ids_that_are_not_unique(
    spark: SparkSession, changes: list[dict[str, Any]], expected: tuple[int, int]
) -> None:
    assert repetitions(spark, *changes) == expected


def test_a_sample_is_bounded_in_rows_and_in_characters(spark: SparkSession) -> None:
    reasons = [{"code": "a", "field": None, "message": "m"}, {"code": "b", "field": None, "message": "m"}]
    rows = [
        {"stage": "validate", "reasons": reasons[: 1 + n % 2], "record": f"{n:04}" * 250, "sourceFile": "f",
         "ruleSet": "r", "element": None, "attempts": 1}
        for n in range(100)
    ]  # fmt: skip
    samples = refused_samples(spark.createDataFrame(rows, QUARANTINE).repartition(7)).collect()
    assert sorted(row.record[:4] for row in samples if row.code == "a") == [f"{n:04}" for n in range(20)]
    assert sorted(row.record[:4] for row in samples if row.code == "b") == [f"{n:04}" for n in range(1, 40, 2)]
    assert {(len(row.record), row.cut) for row in samples} == {(500, True)}
