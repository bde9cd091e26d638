"""Visits: what a batch leaves for those after it, so that sessions hold over the border."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from transforms.bookkeeping import FATE, VISIT_FIRST, VISIT_SINCE, Fate
from transforms.sessions import session_id
from transforms.visitors import VISITOR, visitor_key


def carry_on(judged: DataFrame, visits: DataFrame | None, batch: str) -> DataFrame:
    """Bring the known visits up to a batch's end.

    Args:
        judged: what `cut_sessions` gives.
        visits: those known before, as `schemas.VISITS`; None where there were none.
        batch: the label.

    Returns:
        `schemas.VISITS`: one row a visit.
    """
    mine = judged.where((F.col(FATE) == Fate.VALID) & F.col(VISIT_SINCE).isNotNull()).select(
        F.col(VISITOR).alias("visitor"),
        F.col(VISIT_SINCE).alias("since"),
        F.col(VISIT_FIRST).alias("first"),
        F.unix_micros("sentAt").alias("last"),
        F.lit(None).cast("string").alias("touched"),
    )
    both = mine if visits is None else mine.unionByName(visits)
    # Labels are not compared: of the known visits there is one row each, and a row of this batch has none.
    touched = F.when(F.bool_or(F.col("touched").isNull()), F.lit(batch)).otherwise(F.max("touched"))
    return both.groupBy("visitor", "since").agg(
        F.min("first").alias("first"), F.max("last").alias("last"), touched.alias("touched")
    )


def visits_of(events: DataFrame, batch: str) -> DataFrame:
    """Find the visits of events whose batch has left none, by the names of their sessions.

    Args:
        events: the rows of `events`.
        batch: their label.

    Returns:
        `schemas.VISITS`, without those that were longer than a session.
    """
    at = F.unix_micros("sentAt")
    found = events.groupBy(visitor_key().alias("visitor"), "sessionId").agg(
        F.min(at).alias("since"), F.min(at).alias("first"), F.max(at).alias("last"), F.lit(batch).alias("touched")
    )
    return found.where(session_id(F.col("visitor"), F.col("since"), F.lit(0)) == F.col("sessionId")).drop("sessionId")


def fingerprint(visits: DataFrame) -> DataFrame:
    """Tell sets of visits apart, whatever the order of their rows.

    Returns:
        One row: visits BIGINT, how many there are, and digest STRING.
    """
    row = F.xxhash64("visitor", "since", "first", "last")
    digest = F.hex(F.coalesce(F.bit_xor(row), F.lit(0)))
    return visits.agg(F.count("*").alias("visits"), digest.alias("digest"))
