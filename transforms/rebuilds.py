"""What a rebuild of a batch changes for those who were sent its events already."""

from __future__ import annotations

from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

_BEFORE: Final = 1
_NOW: Final = 2
_DELIVERED: Final = 4


def compare_builds(before: DataFrame, now: DataFrame, delivered: DataFrame) -> DataFrame:
    """Count what becomes of delivered events when one build of a batch replaces another.

    An event that is there still bears its eventId. Of those that are not, as many are taken for re-keyed as the new
    build has events that the old one had not, of the same person, type, time and item: these would be sent again. The
    rest is gone.

    Args:
        before: the rows of `events` of the build that is replaced.
        now: of the one that replaces it.
        delivered: eventId of events that the service has acknowledged, each once or more.

    Returns:
        One row, all BIGINT: delivered, how many events of the build before were; of these, rekeyed and gone.
    """
    rows = _seen(before, _BEFORE).unionByName(_seen(now, _NOW))
    known = delivered.select("eventId", F.lit(None).cast("bigint").alias("content"), F.lit(_DELIVERED).alias("seen"))
    seen = F.bit_or("seen")
    by_id = rows.unionByName(known).groupBy("eventId").agg(seen.alias("seen"), F.max("content").alias("content"))
    kept, missing, fresh = (F.col("seen") == kind for kind in (_BEFORE | _NOW | _DELIVERED, _BEFORE | _DELIVERED, _NOW))
    # What is there still needs no counterpart: it is counted along, in one row of each task.
    by_content = (
        by_id.where(kept | missing | fresh)
        .groupBy(F.when(~kept, F.col("content")).alias("content"))
        .agg(*[F.count_if(each).alias(name) for name, each in (("kept", kept), ("missing", missing), ("fresh", fresh))])
    )
    return by_content.agg(
        _sum(F.col("kept") + F.col("missing")).alias("delivered"),
        _sum(F.least("missing", "fresh")).alias("rekeyed"),
        _sum(F.col("missing") - F.least("missing", "fresh")).alias("gone"),
    )


def _seen(events: DataFrame, kind: int) -> DataFrame:
    who = F.coalesce("visitorId", "userId", "sessionId")
    parts = (who, F.col("eventType"), F.unix_micros("sentAt"), F.col("itemId"))
    # An absent part is none of the texts that a part can be.
    texts = [F.coalesce(F.concat(F.lit("="), part.cast("string")), F.lit("-")) for part in parts]
    return events.select("eventId", F.xxhash64(*texts).alias("content"), F.lit(kind).alias("seen"))


def _sum(column: Column) -> Column:
    return F.coalesce(F.sum(column), F.lit(0))
