"""Law 3: batches built one after another give the same events and sessions as one build over all."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from transforms.columns import visitor_key
from transforms.duplicates import earlier_events
from transforms.schemas import VISITS
from transforms.sessions import SessionLimits, cut_sessions, update_visits

LIMITS = SessionLimits(gap=timedelta(minutes=30), longest=timedelta(hours=24))


def candidates(spark: SparkSession, batch: list[Any]) -> DataFrame:
    rows = [(click.visitor, click.user, click.event_id, click.at, f"file-{n % 3}") for n, click in enumerate(batch)]
    frame = spark.createDataFrame(
        rows, "visitorId STRING, userId STRING, eventId STRING, sentAt TIMESTAMP, file STRING"
    )
    named = frame.withColumn("sessionId", F.lit(None).cast("string")).withColumn("_visitor", visitor_key())
    return named.withColumn("_fate", F.lit("valid")).withColumnRenamed("file", "sourceFile")


def test_each_way_of_cutting_gives_the_sessions_of_one_whole(
    spark: SparkSession, clickstream: Any, cutting: str
) -> None:
    kept: list[Any] = []
    earlier: list[list[Any]] = []
    visits: list[Any] = []
    spark.conf.set("spark.sql.shuffle.partitions", 2)
    try:
        for number, batch in enumerate(clickstream.batches(cutting)):
            before = [row for rows in earlier[-2:] for row in rows]
            known = spark.createDataFrame(before, "visitorId STRING, userId STRING, eventId STRING, sentAt TIMESTAMP")
            known = known.withColumn("sessionId", F.lit("derived"))
            carried = spark.createDataFrame(visits, VISITS)
            cut = cut_sessions(candidates(spark, batch), LIMITS, carried, earlier_events(known, given_sessions=False))
            rows = cut.where("_fate = 'valid'").collect()
            kept += [(row.eventId, row._session) for row in rows]
            earlier.append([(row.visitorId, row.userId, row.eventId, row.sentAt) for row in rows])
            again = spark.createDataFrame(rows, cut.schema) if rows else cut.limit(0)
            visits = update_visits(again, carried, f"{number:04d}").collect()
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", 4)
    assert len(kept) == len(clickstream.clicks)
    assert set(kept) == clickstream.sessions()
