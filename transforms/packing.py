"""Packs events into requests: one userId, one sessionId, 1 to 10 events, in the fewest requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from transforms.columns import FATE, FIRST
from transforms.limits import EVENTS_PER_REQUEST
from transforms.measures import duration_class, size_class
from transforms.schemas import EVENTS
from transforms.wire import event_json

_GROUP_COLUMNS = ("userId", "sessionId")


def pack_requests(events: DataFrame) -> DataFrame:
    """Pack events, in order of sentAt then eventId, into requests of one userId and sessionId.

    Returns:
        requestId, userId, sessionId, number (the request's index in its group, from 0), eventIds ARRAY<STRING> and
        events ARRAY<STRING>, each event as JSON; one row for each request.
    """
    in_order = Window.partitionBy(*_GROUP_COLUMNS).orderBy("sentAt", "eventId")
    place = F.row_number().over(in_order) - 1
    wire = event_json({name: F.col(name) for name in EVENTS.names})
    numbered = events.select(
        *_GROUP_COLUMNS,
        F.struct((place % EVENTS_PER_REQUEST).alias("place"), F.col("eventId"), wire.alias("json")).alias("event"),
        F.floor(place / EVENTS_PER_REQUEST).cast("int").alias("number"),
    )
    packed = numbered.groupBy(*_GROUP_COLUMNS, "number").agg(F.sort_array(F.collect_list("event")).alias("event"))
    return packed.select(
        request_id(F.col("userId"), F.col("sessionId"), F.col("event.eventId")).alias("requestId"),
        *_GROUP_COLUMNS,
        "number",
        F.col("event.eventId").alias("eventIds"),
        F.col("event.json").alias("events"),
    )


def spread_groups(requests: DataFrame, parts: int) -> DataFrame:
    """Spread requests over partitions; `part` is the number of the partition. Each holds a session's requests in order.

    A request's part depends on its id alone. So a task that runs again reads the same requests, in whatever order the
    stage before it delivers them. A round robin would be more even, but would depend on that order. All parts share
    one rate: when one ends, the others use its share.
    """
    part = F.pmod(F.hash("requestId"), F.lit(parts))  # as Spark computes it, so that each part is one partition
    return (
        requests.repartition(parts, "requestId")
        .sortWithinPartitions(*_GROUP_COLUMNS, "number")
        .withColumn("part", part)
    )


def request_id(user: Column, session: Column, event_ids: Column) -> Column:
    """Derive a request's id from its user, session and events: the same on every run and cluster."""
    return F.sha2(F.concat_ws("|", F.coalesce(user, F.lit("")), session, event_ids), 256)


def measure_requests(
    rows: DataFrame, *, within: Sequence[str] = (), counting: Mapping[str, Column] | None = None
) -> DataFrame:
    """Count rows by fate; measure the events among them as requests and sessions.

    They are counted by (userId, sessionId), then by session, then by class of sessions, without packing them. Both
    ids are hashed first (sessions to 128 bits, users to 64), so that keys are short.

    Args:
        rows: `_fate`, `_first`, userId, sessionId, sentAt and eventId; only events have a sessionId.
        within: columns that the rows are partitioned by, as Spark knows, with each session in one partition. Then
            only the classes are shuffled.
        counting: conditions by name; rows for which they hold are counted too.

    Returns:
        One row a class of sessions (`transforms.measures`) and fate: `_fate`, size INT and duration INT; BIGINT: rows,
        records (those that are `_first`), sessions, requests (the fewest: of each userId and sessionId,
        ceil(events / 10)), anonymous (sessions without a userId), largest (events of a session), longest
        (microseconds), newest (sentAt in microseconds), ids (the exclusive or of the hashes of the eventIds) and what
        is counted too.
    """
    conditions = counting or {}
    at = F.unix_micros("sentAt")
    session = [F.xxhash64("sessionId").alias("one"), F.xxhash64(F.lit("other"), "sessionId").alias("other")]
    user = F.when(F.col("userId").isNotNull(), F.xxhash64("userId")).alias("user")
    groups = rows.groupBy(FATE, *within, *session, user).agg(
        F.count("*").alias("rows"),
        F.count_if(FIRST).alias("records"),
        F.min(at).alias("first"),
        F.max(at).alias("last"),
        F.bit_xor(F.when(F.col("eventId").isNotNull(), F.xxhash64("eventId"))).alias("ids"),
        *[F.count_if(condition).alias(name) for name, condition in conditions.items()],
    )
    sessions = groups.groupBy(FATE, *within, "one", "other").agg(
        F.sum("rows").alias("rows"),
        F.sum("records").alias("records"),
        F.sum(F.ceil(F.col("rows") / EVENTS_PER_REQUEST)).alias("requests"),
        F.bool_and(F.col("user").isNull()).alias("anonymous"),
        F.min("first").alias("first"),
        F.max("last").alias("last"),
        F.bit_xor("ids").alias("ids"),
        *[F.sum(name).alias(name) for name in conditions],
    )
    micros = F.col("last") - F.col("first")
    return sessions.groupBy(
        FATE, size_class(F.col("rows")).alias("size"), duration_class(micros).alias("duration")
    ).agg(
        F.sum("rows").alias("rows"),
        F.sum("records").alias("records"),
        F.count("*").alias("sessions"),
        F.sum("requests").alias("requests"),
        F.count_if("anonymous").alias("anonymous"),
        F.max("rows").alias("largest"),
        F.max(micros).alias("longest"),
        F.max("last").alias("newest"),
        F.bit_xor("ids").alias("ids"),
        *[F.sum(name).alias(name) for name in conditions],
    )
