"""Events into requests: one userId, one sessionId, 1 to 10 events, and no request more than that needs."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from transforms.lengths import duration_class, size_class
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

    They are counted by (userId, sessionId), then by session, then by class of sessions, so that each shuffle is smaller
    than the one before.

    Returns:
        One row, all BIGINT but `classes`: events, sessions and users (distinct ids), anonymousSessions (those that
        never bear a userId) and requests, the fewest they need: the sum over (userId, sessionId) of ceil(events / 10);
        largest, events of the largest session, and longest, microseconds of the longest, null where there is none;
        classes ARRAY<STRUCT<size INT, duration INT, sessions BIGINT>>, of `transforms.lengths`.
    """
    at = F.unix_micros("sentAt")
    groups = events.groupBy(*_GROUP).agg(
        F.count("*").alias("events"), F.min(at).alias("first"), F.max(at).alias("last")
    )
    sessions = groups.groupBy("sessionId").agg(
        F.sum("events").alias("events"),
        F.sum(F.ceil(F.col("events") / EVENTS_PER_REQUEST)).alias("requests"),
        F.bool_and(F.col("userId").isNull()).alias("anonymous"),
        (F.max("last") - F.min("first")).alias("micros"),
    )
    classes = sessions.groupBy(size_class("events").alias("size"), duration_class("micros").alias("duration")).agg(
        F.count("*").alias("sessions"),
        F.sum("events").alias("events"),
        F.sum("requests").alias("requests"),
        F.count_if("anonymous").alias("anonymous"),
        F.max("events").alias("largest"),
        F.max("micros").alias("longest"),
    )
    whole = classes.agg(
        *[_total(name).alias(name) for name in ("events", "sessions", "requests")],
        _total("anonymous").alias("anonymousSessions"),
        F.max("largest").alias("largest"),
        F.max("longest").alias("longest"),
        F.collect_list(F.struct("size", "duration", "sessions")).alias("classes"),
    )
    return whole.crossJoin(events.agg(F.count_distinct("userId").alias("users")))


def _total(name: str) -> Column:
    return F.coalesce(F.sum(name), F.lit(0)).cast("bigint")
