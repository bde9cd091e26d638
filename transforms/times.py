"""When a batch's events happened, as few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_MICROSECOND = timedelta(microseconds=1)


def events_by_day(events: DataFrame) -> DataFrame:
    """Count events by day, to find out when most of them happened.

    Returns:
        day INT, since 1970-01-01, and events BIGINT; one row a day that has any: at the most some 3 million.
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
    """Count events by type and stretch of time.

    Args:
        events: eventType and sentAt.
        types: those that are told apart; None for all of them.
        since: where the first stretch begins, aware.
        width: of each.
        bins: how many there are.

    Returns:
        eventType, null for all that are not told apart; bin INT, from 0, -1 for what is earlier, `bins` for what is
        later; events BIGINT.
    """
    kind = F.col("eventType") if types is None else F.when(F.col("eventType").isin(*types), F.col("eventType"))
    micros = F.unix_micros("sentAt") - F.unix_micros(F.lit(since))
    place = F.floor(micros / F.lit(width // _MICROSECOND))
    within = F.greatest(F.lit(-1), F.least(F.lit(bins), place)).cast("int")
    return events.groupBy(kind.alias("eventType"), within.alias("bin")).agg(F.count("*").alias("events"))
