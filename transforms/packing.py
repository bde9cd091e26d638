"""Events into requests: one userId, one sessionId, 1 to 10 events, and no request more than that needs."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from transforms.limits import EVENTS_PER_REQUEST
from transforms.schemas import EVENTS
from transforms.wire import event_json

_GROUP = ("userId", "sessionId")


def pack_requests(events: DataFrame) -> DataFrame:
    """Pack events, in order of sentAt then eventId, into requests of one userId and sessionId.

    Returns:
        requestId, userId, sessionId, number (the request's place in its group, from 0), eventIds ARRAY<STRING> and
        events ARRAY<STRING>, each event as JSON; one row a request, the fewest that the groups allow.
    """
    in_order = Window.partitionBy(*_GROUP).orderBy("sentAt", "eventId")
    place = F.row_number().over(in_order) - 1
    wire = event_json({name: F.col(name) for name in EVENTS.names})
    numbered = events.select(
        *_GROUP,
        F.struct((place % EVENTS_PER_REQUEST).alias("place"), F.col("eventId"), wire.alias("json")).alias("event"),
        F.floor(place / EVENTS_PER_REQUEST).cast("int").alias("number"),
    )
    packed = numbered.groupBy(*_GROUP, "number").agg(F.sort_array(F.collect_list("event")).alias("event"))
    return packed.select(
        request_id(F.col("userId"), F.col("sessionId"), F.col("event.eventId")).alias("requestId"),
        *_GROUP,
        "number",
        F.col("event.eventId").alias("eventIds"),
        F.col("event.json").alias("events"),
    )


def spread(requests: DataFrame, partitions: int) -> DataFrame:
    """Spread requests evenly over partitions, in each of them a session's in order.

    One after another, whatever the sizes of sessions: by a hash, of partitions of 100 requests the fullest would hold
    some 125.
    """
    return requests.repartition(partitions).sortWithinPartitions(*_GROUP, "number")


def request_id(user: Column, session: Column, event_ids: Column) -> Column:
    """Name a request by whose events it holds and which: the same on every run and cluster."""
    return F.sha2(F.concat_ws("|", F.coalesce(user, F.lit("")), session, event_ids), 256)


def measure(events: DataFrame) -> DataFrame:
    """Measure events as the service will see them, without packing them.

    Returns:
        One row, all BIGINT: events, sessions and users (distinct ids), anonymousSessions (those that never bear a
        userId) and requests, the fewest that they need: the sum over (userId, sessionId) of ceil(events / 10).
    """
    groups = events.groupBy(*_GROUP).agg(F.count("*").alias("events"))
    known = F.count_distinct(F.when(F.col("userId").isNotNull(), F.col("sessionId")))
    return groups.agg(
        F.coalesce(F.sum("events"), F.lit(0)).alias("events"),
        F.count_distinct("sessionId").alias("sessions"),
        (F.count_distinct("sessionId") - known).alias("anonymousSessions"),
        F.count_distinct("userId").alias("users"),
        F.coalesce(F.sum(F.ceil(F.col("events") / EVENTS_PER_REQUEST)), F.lit(0)).cast("bigint").alias("requests"),
    )
