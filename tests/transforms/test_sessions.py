"""Sessions and duplicates: the gap, whose sessions they are, and which of several equals stays."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.spark_stages import stages_run
from transforms.columns import salt_key, visitor_key
from transforms.duplicates import drop_repeats_by_given_id
from transforms.schemas import VISITS
from transforms.sessions import SessionLimits, cut_sessions

START = datetime(2024, 1, 1, tzinfo=UTC)
LIMITS = SessionLimits(gap=timedelta(minutes=30), longest=timedelta(hours=24))
SCHEMA = (
    "visitorId STRING, userId STRING, sessionId STRING, eventId STRING, sentAt TIMESTAMP, sourceFile STRING, "
    "_fate STRING, _spread BIGINT, _content_id STRING"
)


def candidates(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    defaults = {"visitorId": "v", "userId": None, "sessionId": None, "sourceFile": "f", "_fate": "valid"}
    full = [{**defaults, "_spread": number, "_content_id": row["eventId"], **row} for number, row in enumerate(rows)]
    visitor = F.when(F.col("_fate") == "valid", visitor_key()).otherwise(salt_key())
    return spark.createDataFrame(full, SCHEMA).withColumn("_visitor", visitor)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def sessions(frame: DataFrame) -> dict[str, str]:
    return {row.eventId: row._session for row in frame.collect() if row._fate == "valid"}


def test_a_gap_of_exactly_the_limit_does_not_cut_and_a_microsecond_more_does(spark: SparkSession) -> None:
    rows = [
        {"eventId": "a", "sentAt": at(0)},
        {"eventId": "b", "sentAt": at(1800)},
        {"eventId": "c", "sentAt": at(3600.000001)},
    ]
    found = sessions(cut_sessions(candidates(spark, *rows), LIMITS))
    assert found["a"] == found["b"] != found["c"]


def test_a_derived_session_id_depends_on_visitor_and_first_event_alone(spark: SparkSession) -> None:
    first = {"eventId": "z", "sentAt": at(0)}
    expected = hashlib.sha256(b"v:v|1704067200000000").hexdigest()
    alone = sessions(cut_sessions(candidates(spark, first), LIMITS))
    followed = sessions(cut_sessions(candidates(spark, {"eventId": "a", "sentAt": at(9)}, first), LIMITS))
    assert alone == {"z": expected} and followed == {"z": expected, "a": expected}


def test_a_visitor_and_a_user_of_the_same_id_are_two(spark: SparkSession) -> None:
    rows = [
        {"eventId": "a", "visitorId": "x", "sentAt": at(0)},
        {"eventId": "b", "visitorId": None, "userId": "x", "sentAt": at(0)},
    ]
    found = sessions(cut_sessions(candidates(spark, *rows), LIMITS))
    assert found["a"] != found["b"]


def test_a_login_in_mid_session_does_not_cut_it(spark: SparkSession) -> None:
    rows = [{"eventId": "a", "sentAt": at(0)}, {"eventId": "b", "userId": "u", "sentAt": at(60)}]
    found = sessions(cut_sessions(candidates(spark, *rows), LIMITS))
    assert found["a"] == found["b"]


def test_given_sessions_are_kept_and_do_not_mix_with_cut_ones(spark: SparkSession) -> None:
    rows = [
        {"eventId": "a", "sentAt": at(0)},
        {"eventId": "b", "sessionId": "given", "sentAt": at(1000)},
        {"eventId": "c", "sentAt": at(2000)},
    ]
    found = sessions(cut_sessions(candidates(spark, *rows), LIMITS))
    assert found["b"] == "given"
    assert found["a"] != found["c"]  # 2,000 s apart; the given session's event lies not between them


def test_of_equal_events_one_stays(spark: SparkSession) -> None:
    rows = [{"eventId": "a", "sentAt": at(0), "sourceFile": name} for name in "cab"]
    cut = cut_sessions(candidates(spark, *rows), LIMITS).collect()
    assert sorted((row._fate, row.sourceFile) for row in cut) == [
        ("duplicate", "b"),
        ("duplicate", "c"),
        ("valid", "a"),
    ]


def test_equals_are_found_among_others_of_the_same_instant(spark: SparkSession) -> None:
    rows = [{"eventId": event, "sentAt": at(0), "sourceFile": file} for file in "fg" for event in "ab"]
    cut = cut_sessions(candidates(spark, *rows), LIMITS).collect()
    assert sorted((row.eventId, row.sourceFile) for row in cut if row._fate == "valid") == [("a", "f"), ("b", "f")]


def test_of_equal_given_ids_the_earliest_stays_whoever_bears_them(spark: SparkSession) -> None:
    rows = [
        {"eventId": "e", "visitorId": "late", "sentAt": at(5), "_content_id": "1"},
        {"eventId": "e", "visitorId": "early", "sentAt": at(1), "_content_id": "2"},
        {"eventId": "e", "visitorId": "refused", "sentAt": at(0), "_fate": "quarantined"},
    ]
    kept = drop_repeats_by_given_id(candidates(spark, *rows)).collect()
    assert {row.visitorId: row._fate for row in kept} == {
        "late": "duplicate",
        "early": "valid",
        "refused": "quarantined",
    }


def test_a_given_id_never_meets_rows_that_have_none(spark: SparkSession) -> None:
    rows: list[dict[str, Any]] = [
        {"eventId": "-:0", "sentAt": at(5)},
        {"eventId": None, "sentAt": None, "_fate": "filtered", "_spread": 0},
    ]
    kept = drop_repeats_by_given_id(candidates(spark, *rows)).collect()
    assert sorted(row._fate for row in kept) == ["filtered", "valid"]


def test_of_one_line_logged_twice_the_first_stays(spark: SparkSession) -> None:
    rows = [{"eventId": "e", "sentAt": at(0), "_content_id": "c", "_spread": place} for place in (7, 3, 5)]
    kept = drop_repeats_by_given_id(candidates(spark, *rows)).collect()
    assert {row._spread: row._fate for row in kept} == {3: "valid", 5: "duplicate", 7: "duplicate"}


def test_rows_that_are_no_candidates_change_no_session(spark: SparkSession) -> None:
    rows = [
        {"eventId": "a", "sentAt": at(0)},
        {"eventId": "x", "sentAt": at(1000), "_fate": "quarantined"},
        {"eventId": "b", "sentAt": at(2000)},
    ]
    found = sessions(cut_sessions(candidates(spark, *rows), LIMITS))
    assert len(set(found.values())) == 2


def test_one_shuffle_and_one_sort_serve_duplicates_and_sessions(
    spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = cut_sessions(candidates(spark, {"eventId": "a", "sentAt": at(0)}), LIMITS)
    cut.explain()
    assert capsys.readouterr().out.count("Sort [") == 1
    assert stages_run(spark, cut.collect) == 2


def test_rows_are_counted_by_visitor_without_another_shuffle_where_visits_are_known(spark: SparkSession) -> None:
    visits = spark.createDataFrame([("v:v", 1, 1, 2, "b")], VISITS)
    cut = cut_sessions(candidates(spark, {"eventId": "a", "sentAt": at(0)}), LIMITS, visits)
    counted = cut.groupBy("_visitor", "sessionId", "_session").count()
    assert stages_run(spark, counted.collect) == 2
