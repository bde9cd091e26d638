"""Finds repeated events: in the same batch, or in an earlier one."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, WindowSpec
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from transforms.columns import CONTENT_ID, FATE, SPREAD, VISITOR, Fate, salt_key, visitor_key


def earlier_events(events: DataFrame, *, given_sessions: bool) -> DataFrame:
    """Make rows of the lake's events, which are shuffled together with the candidates that may repeat them.

    Args:
        events: the rows of `events`.
        given_sessions: whether the candidates' log names sessions.

    Returns:
        `_visitor`, sessionId (null if it was derived), eventId, sentAt, `_fate`: few and narrow columns, because there
        may be more of these rows than candidates.
    """
    has_visitor = F.coalesce("visitorId", "userId").isNotNull()
    derived = F.when(has_visitor, F.lit(None).cast("string")).otherwise(F.col("sessionId"))
    # 64 hex digits can be given or derived, so the event gets a row for each case.
    is_ambiguous = has_visitor & F.col("sessionId").rlike(r"\A[0-9a-f]{64}\z")
    session_ids = F.when(is_ambiguous, F.array("sessionId", derived)).otherwise(F.array("sessionId"))
    return events.select(
        visitor_key().alias(VISITOR),
        (F.explode(session_ids) if given_sessions else derived).alias("sessionId"),
        "eventId",
        "sentAt",
        F.lit(Fate.EARLIER).alias(FATE),
    )


def is_repeat(in_order: WindowSpec) -> Column:
    """Whether a valid candidate's eventId is that of the row before.

    Args:
        in_order: the rows of one visitor in order of sentAt, then eventId. Repeats are neighbours in it, because the
            eventId is derived from the content.
    """
    return (F.col(FATE) == Fate.VALID) & (F.lag("eventId").over(in_order) == F.col("eventId"))


def drop_repeats_by_given_id(candidates: DataFrame, earlier: DataFrame | None = None) -> DataFrame:
    """Mark as duplicates the valid candidates that repeat an eventId; the earliest one stays valid.

    This needs a shuffle of its own, because two visitors can have the same given eventId. Content and file break ties,
    so the result does not depend on the partitioning. Of equal rows the first one read stays, so that a task that
    runs again marks the same rows.

    Args:
        candidates: with eventId, sentAt, sourceFile, `_fate`, `_visitor`, `_spread` and `_content_id`.
        earlier: events of the lake, which always stay.
    """
    rows = candidates
    if earlier is not None:
        known = earlier.select("eventId", F.lit(Fate.EARLIER).alias(FATE))
        rows = candidates.unionByName(known, allowMissingColumns=True)
    has_id = F.col(FATE).isin(Fate.VALID, Fate.EARLIER)
    same_event = Window.partitionBy(F.when(has_id, F.col("eventId")), F.when(~has_id, salt_key()))
    rank = F.row_number().over(
        same_event.orderBy(F.col(FATE) != Fate.EARLIER, "sentAt", CONTENT_ID, "sourceFile", SPREAD)
    )
    is_later = (F.col(FATE) == Fate.VALID) & (rank > 1)
    marked = rows.withColumn("_is_later", is_later)
    fate = F.when(F.col("_is_later"), F.lit(Fate.DUPLICATE)).otherwise(F.col(FATE))
    visitor = F.when(F.col("_is_later"), salt_key()).otherwise(F.col(VISITOR))
    return marked.where(F.col(FATE) != Fate.EARLIER).withColumns({FATE: fate, VISITOR: visitor}).drop("_is_later")
