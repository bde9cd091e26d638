"""Duplicates and sessions: the one stage that shuffles.

Rows are brought together by visitor (visitorId, else userId, else the given sessionId) and ordered by sentAt. Where
the eventId is derived from the content, repeats lie side by side in that order and fall out in the same pass; only a
mapping that gives eventIds of its own needs a shuffle more, since two visitors may then bear the same id.
"""

from __future__ import annotations

from datetime import timedelta

from pyspark.sql import Column, DataFrame, WindowSpec
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from transforms.bookkeeping import CONTENT_ID, FATE, SPREAD, Fate

_VISITOR = "_visitor"


def drop_repeats_by_given_id(candidates: DataFrame) -> DataFrame:
    """Mark as duplicates the valid candidates whose eventId stands elsewhere; the earliest stays.

    Content and file break ties, so that the same one stays whatever the partitioning.
    """
    same = Window.partitionBy(F.when(F.col(FATE) == Fate.VALID, F.col("eventId")).otherwise(_nobody()))
    rank = F.row_number().over(same.orderBy("sentAt", CONTENT_ID, "sourceFile"))
    repeated = (F.col(FATE) == Fate.VALID) & (rank > 1)
    return candidates.withColumn(FATE, F.when(repeated, F.lit(Fate.DUPLICATE)).otherwise(F.col(FATE)))


def cut_sessions(candidates: DataFrame, gap: timedelta) -> DataFrame:
    """Give every valid candidate its sessionId, and mark those as duplicates that repeat another's content.

    Args:
        candidates: the columns of `events`, `_fate`, `_spread` and `_content_id`; rows of another fate pass untouched.
        gap: a pause strictly longer than this starts a new session.

    Returns:
        The same columns. A derived sessionId depends on the visitor and the first event's sentAt alone.
    """
    keyed = candidates.withColumn(_VISITOR, _visitor_key())
    visitor = Window.partitionBy(_VISITOR, "sessionId").orderBy("sentAt", "eventId", "sourceFile")
    repeated = (F.col(FATE) == Fate.VALID) & (F.lag("eventId").over(visitor) == F.col("eventId"))
    started = F.when(_starts(visitor, gap), F.unix_micros("sentAt"))
    marked = keyed.withColumns({"_repeated": repeated, "_started": started})
    first = F.last("_started", ignorenulls=True).over(visitor.rowsBetween(Window.unboundedPreceding, 0))
    return marked.withColumns(
        {
            "sessionId": F.coalesce(F.col("sessionId"), session_id(F.col(_VISITOR), first)),
            FATE: F.when(F.col("_repeated"), F.lit(Fate.DUPLICATE)).otherwise(F.col(FATE)),
        }
    ).drop(_VISITOR, "_repeated", "_started")


def session_id(visitor: Column, started: Column) -> Column:
    """Derive a sessionId from the visitor's key and the session's first sentAt in microseconds.

    Examples:
        >>> import hashlib
        >>> row = spark.range(1).select(session_id(F.lit("v:v1"), F.lit(1704067200000000))).first()
        >>> row[0] == hashlib.sha256(b"v:v1|1704067200000000").hexdigest()
        True
    """
    return F.sha2(F.concat_ws("|", visitor, started.cast("string")), 256)


def _visitor_key() -> Column:
    """Name whose events belong together; prefixes keep a visitor and a user of the same id apart."""
    known = F.coalesce(
        F.concat(F.lit("v:"), F.col("visitorId")),
        F.concat(F.lit("u:"), F.col("userId")),
        F.concat(F.lit("s:"), F.col("sessionId")),
    )
    return F.when(F.col(FATE) == Fate.VALID, known).otherwise(_nobody())


def _nobody() -> Column:
    """Rows that are no valid candidates belong to nobody, and must not meet in one partition, however alike."""
    return F.concat(F.lit("-:"), F.coalesce(F.col(SPREAD).cast("string"), F.col(CONTENT_ID)))


def _starts(visitor: WindowSpec, gap: timedelta) -> Column:
    before = F.lag(F.unix_micros("sentAt")).over(visitor)
    limit = F.lit(gap // timedelta(microseconds=1))
    return before.isNull() | (F.unix_micros("sentAt") - before > limit)
