"""Aggregates for plans and reports: a few numbers from many events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from transforms.limits import EVENTS_PER_REQUEST
from transforms.schemas import EVENTS
from transforms.wire import event_json

_GROUP_COLUMNS = ("batch", "userId", "sessionId")
_ENVELOPE = '{"trackingId":"","sessionId":"","eventList":[]}'
_USER_MEMBER = ',"userId":""'


def measure_sending(events: DataFrame, trackingId: str) -> DataFrame:
    """Measure what sending events will take.

    Args:
        events: the `events` table's columns, `batch`, and `status`: how an event ended before, null if it is pending.
        trackingId: that they go to.

    Returns:
        One row, all BIGINT: delivered; refused; waiting, the events to send; requests, the fewest for these events (a
        request holds events of one batch); bytes of the requests' bodies; unimportable, those without a userId or an
        itemId.
    """
    waits = F.col("status").isNull()
    wire = event_json({name: F.col(name) for name in EVENTS.names})
    sized = events.select(
        *_GROUP_COLUMNS,
        "status",
        waits.cast("long").alias("waiting"),
        F.when(waits, F.octet_length(wire)).alias("bytes"),
        (waits & (F.col("userId").isNull() | F.col("itemId").isNull())).cast("long").alias("unimportable"),
    )
    groups = sized.groupBy(*_GROUP_COLUMNS).agg(
        F.count_if(F.col("status") == "delivered").alias("delivered"),
        F.count_if(F.col("status") == "refused").alias("refused"),
        F.sum("waiting").alias("waiting"),
        F.sum("bytes").alias("bytes"),
        F.sum("unimportable").alias("unimportable"),
    )
    requests = F.ceil(F.col("waiting") / EVENTS_PER_REQUEST)
    commas = F.col("waiting") - requests
    return groups.agg(
        _sum_or_zero(F.col("delivered")).alias("delivered"),
        _sum_or_zero(F.col("refused")).alias("refused"),
        _sum_or_zero(F.col("waiting")).alias("waiting"),
        _sum_or_zero(requests).alias("requests"),
        _sum_or_zero(F.col("bytes") + commas + requests * _envelope_bytes(trackingId)).alias("bytes"),
        _sum_or_zero(F.col("unimportable")).alias("unimportable"),
    )


def _envelope_bytes(trackingId: str) -> Column:
    """Count the bytes of a request's body without its events."""
    user = F.coalesce(F.octet_length("userId") + len(_USER_MEMBER), F.lit(0))
    return F.octet_length("sessionId") + user + len(_ENVELOPE) + len(trackingId.encode())


def _sum_or_zero(number: Column) -> Column:
    return F.coalesce(F.sum(number), F.lit(0)).cast("bigint")


_MICROSECOND = timedelta(microseconds=1)


def events_by_day(events: DataFrame) -> DataFrame:
    """Count events by day, to find out when most of them happened.

    Returns:
        day INT, since 1970-01-01, and events BIGINT; one row for each day with events, at most some 3 million.
    """
    return events.groupBy(F.unix_date(F.to_date("sentAt")).alias("day")).agg(F.count("*").alias("events"))


def top_types(events: DataFrame, most: int) -> DataFrame:
    """Find the most frequent event types.

    Returns:
        eventType and events BIGINT; the most frequent first, equals in order of their names.
    """
    counted = events.groupBy("eventType").agg(F.count("*").alias("events"))
    return counted.orderBy(F.desc("events"), "eventType").limit(most)


def events_over_time(
    events: DataFrame, types: Sequence[str] | None, since: datetime, width: timedelta, bins: int
) -> DataFrame:
    """Count events by type and bin of time.

    Args:
        events: eventType and sentAt.
        types: types that are counted on their own; None for all types.
        since: where the first bin begins, aware.
        width: of each.
        bins: how many there are.

    Returns:
        eventType, null for all other types; bin INT, from 0, -1 for earlier events, `bins` for later ones; events
        BIGINT.
    """
    kind = F.col("eventType") if types is None else F.when(F.col("eventType").isin(*types), F.col("eventType"))
    micros = F.unix_micros("sentAt") - F.unix_micros(F.lit(since))
    place = F.floor(micros / F.lit(width // _MICROSECOND))
    within = F.greatest(F.lit(-1), F.least(F.lit(bins), place)).cast("int")
    return events.groupBy(kind.alias("eventType"), within.alias("bin")).agg(F.count("*").alias("events"))


SIZE_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 1_000)
"""Events in a session: the upper bounds of the classes; one more class has no bound. A request holds 10 events."""
DURATION_BOUNDS: Final = (0, 10, 60, 300, 900, 1_800, 3_600, 7_200, 21_600, 86_400)
"""Seconds from a session's first event to its last: the upper bounds of the classes, as above."""


def size_class(events: Column) -> Column:
    """Give the index of a session's class in SIZE_BOUNDS, from 0.

    Examples:
        >>> df = spark.createDataFrame([(1,), (2,), (5,), (6,), (1001,)], "events BIGINT")
        >>> [row[0] for row in df.select(size_class(F.col("events"))).collect()]
        [0, 1, 2, 3, 8]
    """
    return _find_class(events, SIZE_BOUNDS)


def duration_class(micros: Column) -> Column:
    """Give the index of a session's class in DURATION_BOUNDS, from 0."""
    return _find_class(micros, [bound * 1_000_000 for bound in DURATION_BOUNDS])


def _find_class(value: Column, bounds: Sequence[int]) -> Column:
    """Count the bounds that a value exceeds."""
    return reduce(lambda place, bound: place + (value > bound).cast("int"), bounds, F.lit(0))


_IN_OLD_BUILD: Final = 1
_IN_NEW_BUILD: Final = 2
_IN_RECEIPTS: Final = 4


def compare_builds(before: DataFrame, now: DataFrame, delivered: DataFrame) -> DataFrame:
    """Count what happens to delivered events when one build of a batch replaces another.

    An event is kept if the new build has its eventId. A missing event counts as re-keyed if the new build has a new
    event of the same person, type, time and item: that one would be sent again. All others are gone.

    Args:
        before: the rows of `events` of the old build.
        now: the rows of the new build.
        delivered: eventId of the events that the service acknowledged; an id can occur several times.

    Returns:
        One row, all BIGINT: delivered, the delivered events of the old build; of them, rekeyed and gone.
    """
    rows = _mark_build(before, _IN_OLD_BUILD).unionByName(_mark_build(now, _IN_NEW_BUILD))
    known = delivered.select("eventId", F.lit(None).cast("bigint").alias("content"), F.lit(_IN_RECEIPTS).alias("seen"))
    seen = F.bit_or("seen")
    by_id = rows.unionByName(known).groupBy("eventId").agg(seen.alias("seen"), F.max("content").alias("content"))
    kept, missing, fresh = (
        F.col("seen") == kind
        for kind in (_IN_OLD_BUILD | _IN_NEW_BUILD | _IN_RECEIPTS, _IN_OLD_BUILD | _IN_RECEIPTS, _IN_NEW_BUILD)
    )
    # Kept events need no counterpart: they share the group of null, one row of each task.
    by_content = (
        by_id.where(kept | missing | fresh)
        .groupBy(F.when(~kept, F.col("content")).alias("content"))
        .agg(*[F.count_if(each).alias(name) for name, each in (("kept", kept), ("missing", missing), ("fresh", fresh))])
    )
    return by_content.agg(
        _sum_or_zero(F.col("kept") + F.col("missing")).alias("delivered"),
        _sum_or_zero(F.least("missing", "fresh")).alias("rekeyed"),
        _sum_or_zero(F.col("missing") - F.least("missing", "fresh")).alias("gone"),
    )


def _mark_build(events: DataFrame, kind: int) -> DataFrame:
    who = F.coalesce("visitorId", "userId", "sessionId")
    parts = (who, F.col("eventType"), F.unix_micros("sentAt"), F.col("itemId"))
    # The text for an absent part differs from each text that a part can have.
    texts = [F.coalesce(F.concat(F.lit("="), part.cast("string")), F.lit("-")) for part in parts]
    return events.select("eventId", F.xxhash64(*texts).alias("content"), F.lit(kind).alias("seen"))
