"""The order of rows changes nothing: a task that runs again reads what it is sent in another order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, StringType, StructField, StructType

from expectations.facts import refused_samples
from transforms.duplicates import drop_repeats_by_given_id
from transforms.interactions import name_users
from transforms.outcomes import dead_letter_rows, unfinished_requests
from transforms.packing import pack_requests
from transforms.schemas import EVENTS, QUARANTINE, RECEIPTS, REFUSALS, REQUESTS, VISITS
from transforms.sessions import SessionLimits, cut_sessions, update_visits

AT = datetime(2024, 1, 2, 9, tzinfo=UTC)
COLUMNS = StructType(
    [
        *EVENTS.fields,
        *(StructField(name, StringType()) for name in ("_visitor", "_fate", "_content_id")),
        StructField("_spread", LongType()),
    ]
)
JUDGED = StructType([*COLUMNS.fields, *(StructField(name, LongType()) for name in ("_visit_since", "_visit_first"))])
LIMITS = SessionLimits(timedelta(minutes=30), timedelta(hours=24))
ORDERS = range(3)
Values = dict[str, Any]
Shuffle = Callable[[Sequence[Values], Any], DataFrame]


@pytest.fixture(params=ORDERS)
def shuffled(spark: SparkSession, request: pytest.FixtureRequest) -> Shuffle:
    """Make rows in one of several orders, in one partition or in several; absent columns are null."""

    def make(rows: Sequence[Values], schema: Any) -> DataFrame:
        mixed = random.Random(request.param).sample(rows, len(rows))
        whole = [tuple(row.get(field.name) for field in schema.fields) for row in mixed]
        return spark.createDataFrame(whole, schema).coalesce(1 + request.param % 2)

    return make


def event(name: str, minutes: float = 0, **fields: Any) -> Values:
    return {"eventId": name, "sentAt": AT + timedelta(minutes=minutes), "eventType": "view", "sessionId": "s"} | fields


def test_two_known_visits_that_begin_at_one_instant_are_told_apart_by_their_names(
    spark: SparkSession, shuffled: Shuffle
) -> None:
    micros = int(AT.timestamp()) * 1_000_000
    known = [
        {
            "visitor": "v:a",
            "since": micros - late,
            "first": micros,
            "last": micros + 60_000_000,
            "touched": "2024-01-01",
        }
        for late in range(8)
    ]
    rows = shuffled([event("e", 5, _visitor="v:a", _fate="valid") | {"sessionId": None}], COLUMNS)
    cut = cut_sessions(rows, LIMITS, shuffled(known, VISITS))
    assert [row["_visit_since"] for row in cut.collect()] == [micros]


def test_of_records_with_one_given_id_the_same_one_stays(spark: SparkSession, shuffled: Shuffle) -> None:
    rows = [
        event(
            "e",
            0,
            _visitor=f"v:{n}",
            visitorId=f"{n}",
            _fate="valid",
            _spread=n,
            _content_id=f"{n % 2}",
            sourceFile="f",
        )
        for n in range(8)
    ]
    kept = drop_repeats_by_given_id(shuffled(rows, COLUMNS)).where("_fate = 'valid'").collect()
    assert [row["visitorId"] for row in kept] == ["0"]


def with_epoch(columns: StructType) -> StructType:
    """As the ledger reads them: each with the order of its plan."""
    return StructType([*columns.fields, StructField("epoch", LongType())])


def test_an_event_that_was_taken_and_refused_under_one_plan_is_no_dead_letter(
    spark: SparkSession, shuffled: Shuffle
) -> None:
    receipts = [
        {"requestId": f"r{n}", "eventIds": ["e"], "status": status, "epoch": 3}
        for n, status in enumerate(["delivered", "refused", "refused", "delivered", "refused"])
    ]
    refusals = [{"requestId": "r1", "eventIds": ["e"], "errorCode": "x", "errorMessage": "", "epoch": 3}]
    found = dead_letter_rows(
        shuffled([event("e")], EVENTS),
        shuffled(receipts, with_epoch(RECEIPTS)),
        shuffled(refusals, with_epoch(REFUSALS)),
    )
    assert found.collect() == []


def test_parts_that_have_ended_are_named_in_one_order(spark: SparkSession, shuffled: Shuffle) -> None:
    requests = shuffled([{"requestId": "r", "number": 0, "eventIds": ["e"], "events": ["{}"]}], REQUESTS)
    parts = [f"r.{n}" for n in range(9)]
    receipts = shuffled([{"requestId": part, "eventIds": ["e"], "status": "delivered"} for part in parts], RECEIPTS)
    assert [row["ended"] for row in unfinished_requests(requests, receipts).collect()] == [parts]


def test_requests_are_packed_alike(spark: SparkSession, shuffled: Shuffle) -> None:
    rows = [event(f"e{n:02}", n // 7, userId="u") for n in range(35)]
    packed = pack_requests(shuffled(rows, EVENTS)).orderBy("number").collect()
    assert [row["eventIds"] for row in packed] == [
        [f"e{n:02}" for n in range(at, min(at + 10, 35))] for at in range(0, 35, 10)
    ]


def test_a_session_takes_the_same_user_where_batches_disagree_about_one_event(
    spark: SparkSession, shuffled: Shuffle
) -> None:
    settled = [event("e1", 1, userId=user) for user in ("u3", "u1", "u2")]
    named = name_users(shuffled([event("e0")], EVENTS), shuffled(settled, EVENTS)).collect()
    assert [row["userId"] for row in named] == ["u1"]


def test_the_page_shows_the_same_samples(spark: SparkSession, shuffled: Shuffle) -> None:
    rows = [
        {"reasons": [Row(code="c", field=None, message="m")], "record": "x" * (500 + n % 2), "sourceFile": "f"}
        for n in range(40)
    ]
    shown = refused_samples(shuffled(rows, QUARANTINE)).orderBy("place").collect()
    assert [row["cut"] for row in shown] == [False] * 20


def test_a_visit_is_touched_by_the_batch_that_is_built_whatever_its_label(
    spark: SparkSession, shuffled: Shuffle
) -> None:
    known = [{"visitor": "v:a", "since": 1, "first": 1, "last": 5, "touched": "zz"}]
    known += [{"visitor": "v:b", "since": 1, "first": 1, "last": 5, "touched": "aa"}]
    rows = [event("e", _visitor="v:a", _fate="valid", _visit_since=1, _visit_first=1)]
    judged = shuffled(rows, JUDGED)
    touched = update_visits(judged, shuffled(known, VISITS), "mm").select("visitor", "touched").collect()
    assert {tuple(row) for row in touched} == {("v:a", "mm"), ("v:b", "aa")}


def test_rows_that_are_made_again_after_they_were_lost_are_the_same(spark: SparkSession, shuffled: Shuffle) -> None:
    """A cached partition is lost with its executor: what the next action reads is computed anew."""
    rows = [
        event(
            f"e{n % 20}", n % 3, _visitor=f"v:{n % 4}", visitorId=f"{n % 4}", _fate="valid", _spread=n, sourceFile="f"
        )
        | {"_content_id": f"{n % 5}", "sessionId": None}
        for n in range(60)
    ]
    cut = cut_sessions(drop_repeats_by_given_id(shuffled(rows, COLUMNS)), LIMITS).withColumn("made", F.lit(1))
    cut.persist()
    try:
        before = sorted(map(str, cut.collect()))
        spark.catalog.clearCache()
        assert sorted(map(str, cut.collect())) == before
    finally:
        cut.unpersist()
