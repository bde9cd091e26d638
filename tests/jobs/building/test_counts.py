"""Counts of a run's rows, together with the events that its batch has already."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.building.counts import count_rows
from transforms.columns import visitor_key
from transforms.schemas import EVENTS

START = datetime(2024, 1, 1, tzinfo=UTC)
JUDGED = "visitorId STRING, userId STRING, sessionId STRING, _session STRING, eventId STRING, sentAt TIMESTAMP"


def test_sessions_that_another_mapping_gave_to_several_visitors_are_counted_once(spark: SparkSession) -> None:
    new = [("v3", None, None, "cut", "e", START), ("v3", None, None, "cut", "f", START + timedelta(seconds=5))]
    fates = {"_fate": F.lit("valid"), "_first": F.lit(True), "_visitor": visitor_key()}
    judged = spark.createDataFrame(new, JUDGED).withColumns(fates)
    events = [
        dict.fromkeys(EVENTS.names)
        | {"visitorId": visitor, "sessionId": "given", "eventId": f"{visitor}{n}"}
        | {"eventType": "view", "sentAt": START}
        for visitor in ("v1", "v2")
        for n in range(5)
    ]
    counted = count_rows(judged, spark.createDataFrame(events, EVENTS), given_sessions=False)
    assert counted.counters == {
        "read": 2,
        "filtered": 0,
        "candidates": 12,
        "duplicates": 0,
        "sessions": 2,
        "requests": 2,
        "anonymousSessions": 2,
    }
    assert counted.lengths.largest == 10
