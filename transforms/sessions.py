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
_CUT = "_cut"
_KNOWN_SESSION = "_known_session"


def drop_repeats_by_given_id(candidates: DataFrame) -> DataFrame:
    """Mark as duplicates the valid candidates whose eventId stands elsewhere; the earliest stays.

    Content and file break ties, so that the same one stays whatever the partitioning.
    """
    same = Window.partitionBy(F.when(F.col(FATE) == Fate.VALID, F.col("eventId")).otherwise(_nobody()))
    rank = F.row_number().over(same.orderBy("sentAt", CONTENT_ID, "sourceFile"))
    repeated = (F.col(FATE) == Fate.VALID) & (rank > 1)
    return candidates.withColumn(FATE, F.when(repeated, F.lit(Fate.DUPLICATE)).otherwise(F.col(FATE)))


def mark_known(candidates: DataFrame, events: DataFrame, *, given_sessions: bool) -> DataFrame:
    """Add to candidates the events that their batch has already, and mark those as duplicates that are among them.

    Args:
        candidates: as `cut_sessions` takes them.
        events: the rows of `events`.
        given_sessions: whether the log names sessions; then an id that looks derived, 64 hex digits, is taken for one.

    Returns:
        The candidates' columns and `_known_session`: the derived sessionId of a known event.
    """
    known_ids = events.select(F.col("eventId").alias("_known_id"))
    mine = F.when(F.col(FATE) == Fate.VALID, F.col("eventId")).otherwise(_nobody())
    new = candidates.join(known_ids, mine == F.col("_known_id"), "left").withColumn(
        FATE, F.when(F.col("_known_id").isNotNull(), F.lit(Fate.DUPLICATE)).otherwise(F.col(FATE))
    )
    somebody = F.coalesce("visitorId", "userId").isNotNull()
    looks_derived = F.col("sessionId").rlike(r"\A[0-9a-f]{64}\z") if given_sessions else F.lit(True)
    derived = somebody & looks_derived
    known = events.withColumns(
        {
            FATE: F.lit(Fate.KNOWN),
            SPREAD: F.monotonically_increasing_id(),
            _KNOWN_SESSION: F.when(derived, F.col("sessionId")),
            "sessionId": F.when(~derived, F.col("sessionId")),
        }
    )
    return new.drop("_known_id").unionByName(known, allowMissingColumns=True)


def cut_sessions(candidates: DataFrame, gap: timedelta) -> DataFrame:
    """Give every valid candidate its sessionId, and mark those as duplicates that repeat another's content.

    Args:
        candidates: the columns of `events`, `_fate`, `_spread` and `_content_id`; rows of another fate pass untouched.
            Where `mark_known` has added events, these keep their sessions: who comes between them joins the session
            before, else the one after, and none is renamed.
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
    joined = [_joined(visitor)] if _KNOWN_SESSION in candidates.columns else []
    return (
        marked.withColumn(_CUT, first)
        .withColumns(
            {
                "sessionId": F.coalesce("sessionId", *joined, session_id(F.col(_VISITOR), F.col(_CUT))),
                FATE: F.when(F.col("_repeated"), F.lit(Fate.DUPLICATE)).otherwise(F.col(FATE)),
            }
        )
        .drop(_VISITOR, "_repeated", "_started", _CUT, _KNOWN_SESSION)
    )


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
    return F.when(F.col(FATE).isin(Fate.VALID, Fate.KNOWN), known).otherwise(_nobody())


def _joined(visitor: WindowSpec) -> Column:
    """Name the known session that an event falls into: of the same cut, the one before, else the one after."""
    known = F.when(F.col(_KNOWN_SESSION).isNotNull(), F.struct(_CUT, _KNOWN_SESSION))
    before = F.last(known, ignorenulls=True).over(visitor.rowsBetween(Window.unboundedPreceding, 0))
    after = F.first(known, ignorenulls=True).over(visitor.rowsBetween(0, Window.unboundedFollowing))
    return F.coalesce(*[F.when(near[_CUT] == F.col(_CUT), near[_KNOWN_SESSION]) for near in (before, after)])


def _nobody() -> Column:
    """Rows that are no valid candidates belong to nobody, and must not meet in one partition, however alike."""
    return F.concat(F.lit("-:"), F.coalesce(F.col(SPREAD).cast("string"), F.col(CONTENT_ID)))


def _starts(visitor: WindowSpec, gap: timedelta) -> Column:
    before = F.lag(F.unix_micros("sentAt")).over(visitor)
    limit = F.lit(gap // timedelta(microseconds=1))
    return before.isNull() | (F.unix_micros("sentAt") - before > limit)
