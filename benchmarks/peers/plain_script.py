"""A plain script from raw logs to PutEvents: sessions by window functions, then boto3 in foreachPartition.

spark-submit plain_script.py RAW SCHEMA URL EVENTS_A_CALL

It batches by user and session, at most EVENTS_A_CALL: 10, or 1 as published connectors do. It keeps no refused records
and no receipts. A failed call ends it.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import boto3
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.window import Window


def valid(records: DataFrame) -> DataFrame:
    """Leave out records that the service would refuse, and repeats."""
    identified = [F.when(~F.lower(F.trim(F.col(name))).isin("", "null"), F.col(name)) for name in ("visitor", "user")]
    kept = records.where("action <> 'ping' AND at IS NOT NULL AND length(sku) <= 256").withColumns(
        {"visitor": identified[0], "user": identified[1], "eventId": F.sha2(F.concat_ws("|", *records.columns), 256)}
    )
    return kept.where("visitor IS NOT NULL").dropDuplicates(["eventId"])


def with_sessions(events: DataFrame) -> DataFrame:
    """Start a session after half an hour without an event."""
    by_visitor = Window.partitionBy("visitor").orderBy("at")
    pause = F.col("at") - F.lag("at").over(by_visitor)
    begun = F.when(pause.isNull() | (pause > 1_800_000), F.col("at"))
    since: Column = F.last("begun", ignorenulls=True).over(by_visitor)
    return events.withColumn("begun", begun).withColumn("session", F.concat_ws("-", "visitor", since))


def sender(url: str, size: int) -> Callable[[Iterator[Row]], None]:
    """Make the function that sends a partition."""

    def send(rows: Iterator[Row]) -> None:
        client = boto3.client("personalize-events", region_name="eu-west-1", endpoint_url=url)
        for (user, session), group in itertools.groupby(rows, lambda row: (row.user, row.session)):
            events = [event(row) for row in group]
            who = {"sessionId": session} if user is None else {"sessionId": session, "userId": user}
            for start in range(0, len(events), size):
                client.put_events(trackingId="bench", eventList=events[start : start + size], **who)

    return send


def event(row: Row) -> dict[str, Any]:
    """Make the event of a row for boto3."""
    made = {"eventId": row.eventId, "eventType": row.action, "itemId": row.sku, "sentAt": row.at / 1_000}
    if row.price is not None:
        made["eventValue"] = row.price
    return {**made, "properties": json.dumps({"device": row.device})}


def main(raw: str, schema: str, url: str, size: str) -> None:
    """Send all."""
    spark = SparkSession.builder.appName("plain script").getOrCreate()
    events = with_sessions(valid(spark.read.schema(schema).json(raw)))
    placed = events.repartition(2, "user", "session").sortWithinPartitions("user", "session", "at", "eventId")
    placed.foreachPartition(sender(url, int(size)))


if __name__ == "__main__":
    main(*sys.argv[1:])
