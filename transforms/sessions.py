"""Cuts sessions, in the one stage that shuffles, and keeps the visits that continue in the next batch.

Rows are grouped by visitor and ordered by sentAt. Events without a pause longer than the gap are one *visit*. A visit
is one session. A visit that lasts longer than the limit is cut at multiples of the limit from its first event, so the
session of an event does not depend on the other events. Visits of earlier batches are rows of the same shuffle, so
that sessions continue across batches. `docs/sessions.md` says which visits are joined.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from transforms.columns import FATE, SESSION, VISIT_FIRST, VISIT_SINCE, VISITOR, Fate, visitor_key
from transforms.duplicates import is_repeat

_KNOWN_VISIT = "_known"  # a visit of an earlier batch, on the row that stands for it
_ROW_ORDER = ("sentAt", "eventId", "sourceFile")  # nulls first: a known visit before the events of its first instant
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Where sessions end.

    Attributes:
        gap: a pause strictly longer than this ends one.
        longest: no session lasts longer than this from first event to last.
    """

    gap: timedelta
    longest: timedelta


def cut_sessions(
    candidates: DataFrame, limits: SessionLimits, visits: DataFrame | None = None, earlier: DataFrame | None = None
) -> DataFrame:
    """Give every valid candidate its sessionId, and mark those that repeat another's content as duplicates.

    Args:
        candidates: `_visitor`, sessionId, eventId, sentAt, sourceFile, `_fate` and any others, which are kept.
        limits: where sessions end.
        visits: the visits of earlier batches, as `schemas.VISITS`.
        earlier: what `earlier_events` gives, to find repeats of these events; None if repeats are found elsewhere.

    Returns:
        The candidates' columns, `_session`, `_visit_since` and `_visit_first` (see `transforms.columns`); the last two
        are null if the sessionId was given. Rows of one `_visitor` and sessionId lie in one partition, and Spark knows
        it.
    """
    rows = candidates
    for extra_rows in (_visit_rows(visits), earlier):
        rows = rows if extra_rows is None else rows.unionByName(extra_rows, allowMissingColumns=True)
    alone = visits is None and earlier is None
    visited = _assign_visits(_mark_visit_starts(rows, limits, alone=alone), limits)
    has_given_id = F.col("sessionId").isNotNull() | (F.col(FATE) != Fate.VALID)
    repeats = F.coalesce("_repeats", F.lit(False))
    derived_id = session_id(F.col(VISITOR), F.col(VISIT_SINCE), _session_number(limits))
    return (
        visited.where(~F.col(FATE).isin(Fate.CARRIED, Fate.EARLIER))
        .withColumns(
            {
                SESSION: F.when((F.col(FATE) == Fate.VALID) & ~repeats, F.coalesce("sessionId", derived_id)),
                FATE: F.when(repeats, F.lit(Fate.DUPLICATE)).otherwise(F.col(FATE)),
                **{name: F.when(~has_given_id, F.col(name)) for name in (VISIT_SINCE, VISIT_FIRST)},
            }
        )
        .select(*candidates.columns, SESSION, VISIT_SINCE, VISIT_FIRST)
    )


def session_id(visitor: Column, since: Column, number: Column) -> Column:
    """Derive a sessionId from the visitor's key, the visit's first sentAt in microseconds, and the session's number.

    The number counts the sessions of a visit from 0: a visit that lasts longer than the limit has several.

    Examples:
        >>> import hashlib
        >>> number = F.col("id")
        >>> rows = spark.range(2).select(session_id(F.lit("v:v1"), F.lit(1704067200000000), number)).collect()
        >>> rows[0][0] == hashlib.sha256(b"v:v1|1704067200000000").hexdigest()
        True
        >>> rows[1][0] == hashlib.sha256(b"v:v1|1704067200000000|1").hexdigest()
        True
    """
    counted = F.when(number > 0, number.cast("string"))
    return F.sha2(F.concat_ws("|", visitor, since.cast("string"), counted), 256)


def _visit_rows(visits: DataFrame | None) -> DataFrame | None:
    """Make a row of each known visit, at the time of its first event."""
    if visits is None:
        return None
    return visits.select(
        F.col("visitor").alias(VISITOR),
        F.timestamp_micros("first").alias("sentAt"),
        F.col("since").cast("string").alias("sourceFile"),  # separates two visits that begin at one instant
        F.lit(Fate.CARRIED).alias(FATE),
        F.struct("since", "first", "last").alias(_KNOWN_VISIT),
    )


def _mark_visit_starts(rows: DataFrame, limits: SessionLimits, *, alone: bool) -> DataFrame:
    """Add `_repeats`, and `_start` to each row that begins a visit: all earlier rows ended more than the gap before it.

    Without known visits, the previous row ended last. A known visit can end later than rows after it.
    """
    in_order = Window.partitionBy(VISITOR, "sessionId").orderBy(*_ROW_ORDER)
    before = in_order.rowsBetween(Window.unboundedPreceding, -1)
    if alone:
        start = _start_after_gap(F.unix_micros("sentAt"), F.unix_micros(F.lag("sentAt").over(in_order)), limits)
        return rows.withColumns({"_repeats": is_repeat(in_order), "_start": start})
    at = F.when(F.col(FATE) == Fate.VALID, F.unix_micros("sentAt"))
    known = _KNOWN_VISIT in rows.columns
    lasts = F.coalesce(F.col(_KNOWN_VISIT)["last"], at) if known else at
    until = F.max(lasts).over(before)
    begins = F.coalesce(F.col(_KNOWN_VISIT)["first"], at) if known else at
    start = _start_after_gap(begins, until, limits)
    added = {"_repeats": is_repeat(in_order), "_start": start}
    if known:  # add where the previous known visit begins
        marked = F.struct(
            f"{_KNOWN_VISIT}.*", F.last(F.col(_KNOWN_VISIT)["first"], ignorenulls=True).over(before).alias("previous")
        )
        added[_KNOWN_VISIT] = F.when(F.col(_KNOWN_VISIT).isNotNull(), marked)
    return rows.withColumns(added)


def _start_after_gap(begins: Column, until: Column, limits: SessionLimits) -> Column:
    """Give the time of a row that begins a visit: the first row, or one after a pause longer than the gap."""
    return F.when(until.isNull() | (begins - until > _to_micros(limits.gap)), begins)


def _assign_visits(rows: DataFrame, limits: SessionLimits) -> DataFrame:
    """Add to each row the visit that it belongs to."""
    in_order = Window.partitionBy(VISITOR, "sessionId").orderBy(*_ROW_ORDER)
    so_far = in_order.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    start = F.last("_start", ignorenulls=True).over(so_far)
    if _KNOWN_VISIT not in rows.columns:
        return rows.withColumns({VISIT_SINCE: start, VISIT_FIRST: start})
    near = rows.withColumns(
        {
            "_visit_start": start,
            "_previous_visit": F.last(_KNOWN_VISIT, ignorenulls=True).over(so_far),
            "_next_visit": _find_next(_KNOWN_VISIT),
            "_next_start": _find_next("_start"),
        }
    )
    since, first = _find_joined_visit(limits)
    return near.withColumns({VISIT_SINCE: since, VISIT_FIRST: first})


def _find_next(column: str) -> Column:
    """Find the next value of a column that is not null. `lead` does it in one pass; a frame to the end does not."""
    return F.expr(
        f"lead({column}) IGNORE NULLS OVER (PARTITION BY {VISITOR}, sessionId ORDER BY {', '.join(_ROW_ORDER)})"
    )


def _find_joined_visit(limits: SessionLimits) -> tuple[Column, Column]:
    """Name the visit that an event joins, by its `since` and `first`.

    The event joins the known visit before it, if no pause between them is longer than the gap. Otherwise it joins the
    known visit after it, unless the two together would last longer than a session. Otherwise its visit is new. Events
    that extend the first known visit to an earlier time change its `first`, not its `since`.
    """
    start, before, after = F.col("_visit_start"), F.col("_previous_visit"), F.col("_next_visit")
    follows = before["first"] >= start
    reaches = F.coalesce(F.col("_next_start") > after["first"], F.lit(True))
    precedes = reaches & _can_start_earlier(after, limits)
    leading = F.coalesce(before["previous"] < start, F.lit(True))  # no other known visit lies before it since the start
    since = F.when(follows, before["since"]).when(precedes, after["since"]).otherwise(start)
    moved = F.when(leading & _can_start_earlier(before, limits), start).otherwise(before["first"])
    return since, F.when(follows, moved).otherwise(start)


def _can_start_earlier(visit: Column, limits: SessionLimits) -> Column:
    """Whether a known visit, together with the events before it, is still short enough for one session."""
    return visit["last"] - F.col("_visit_start") <= _to_micros(limits.longest)


def _session_number(limits: SessionLimits) -> Column:
    """Count the sessions of a visit before the event's own. A session of exactly the limit is not cut."""
    past = F.unix_micros("sentAt") - F.col(VISIT_FIRST) - 1
    return F.greatest(F.lit(0), F.floor(past / _to_micros(limits.longest)))


def _to_micros(time: timedelta) -> Column:
    return F.lit(time // _MICROSECOND)


def update_visits(candidates: DataFrame, visits: DataFrame | None, batch: str) -> DataFrame:
    """Update the known visits with the events of a batch.

    Args:
        candidates: what `cut_sessions` gives.
        visits: the known visits, as `schemas.VISITS`; None if there are none.
        batch: the label.

    Returns:
        `schemas.VISITS`: one row a visit.
    """
    batch_visits = candidates.where((F.col(FATE) == Fate.VALID) & F.col(VISIT_SINCE).isNotNull()).select(
        F.col(VISITOR).alias("visitor"),
        F.col(VISIT_SINCE).alias("since"),
        F.col(VISIT_FIRST).alias("first"),
        F.unix_micros("sentAt").alias("last"),
        F.lit(None).cast("string").alias("touched"),
    )
    all_visits = batch_visits if visits is None else batch_visits.unionByName(visits)
    # Labels are not compared: a known visit has one row, and the rows of this batch have no label.
    touched = F.when(F.bool_or(F.col("touched").isNull()), F.lit(batch)).otherwise(F.max("touched"))
    return all_visits.groupBy("visitor", "since").agg(
        F.min("first").alias("first"), F.max("last").alias("last"), touched.alias("touched")
    )


def visits_of(events: DataFrame, batch: str) -> DataFrame:
    """Find the visits of a batch of an older version, which kept no visits, by its session ids.

    Args:
        events: the rows of `events`.
        batch: their label.

    Returns:
        `schemas.VISITS`, without visits that were longer than one session.
    """
    at = F.unix_micros("sentAt")
    found = events.groupBy(visitor_key().alias("visitor"), "sessionId").agg(
        F.min(at).alias("since"), F.min(at).alias("first"), F.max(at).alias("last"), F.lit(batch).alias("touched")
    )
    return found.where(session_id(F.col("visitor"), F.col("since"), F.lit(0)) == F.col("sessionId")).drop("sessionId")


def fingerprint(visits: DataFrame) -> DataFrame:
    """Compute a digest of visits that does not depend on the order of rows.

    Returns:
        One row: visits BIGINT, their number, and digest STRING.
    """
    row = F.xxhash64("visitor", "since", "first", "last")
    digest = F.hex(F.coalesce(F.bit_xor(row), F.lit(0)))
    return visits.agg(F.count("*").alias("visits"), digest.alias("digest"))
