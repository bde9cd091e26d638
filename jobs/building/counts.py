"""Counts a build from its rows and tables. Accumulators would count a retried task twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import Any, Final

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.lake.manifests import Manifest
from jobs.report.report_input import SessionLengths
from transforms.columns import CONTENT_ID, FATE, FIRST, SESSION, VISITOR, Fate
from transforms.measures import DURATION_BOUNDS, SIZE_BOUNDS
from transforms.packing import measure_requests

_GIVEN_SESSION: Final = "_given"
"""The sessionId that the log gave. Rows are partitioned by it and the visitor."""
_HAS_GIVEN_ID: Final = "_given_id"
"""Whether the log gave the eventId, so that it was not derived."""
_MICROS_PER_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class BuildCounts:
    """The counts of a run's rows.

    Attributes:
        counters: read, filtered, candidates (with known events) and duplicates; sessions, anonymousSessions and
            requests of all events.
        headers: lines that are headers of their files, not records.
        newest: the time of the newest event, in microseconds; None without events.
        ids: the exclusive or of the hashes of the new events' eventIds, as their fingerprint.
        lengths: how long the sessions are.
        given_ids: for eventId and sessionId, if the mapping gives them: how many new events have one from the log.
    """

    counters: dict[str, int]
    headers: int
    newest: int | None
    ids: int
    lengths: SessionLengths
    given_ids: dict[str, int]


def count_rows(candidates: DataFrame, known: DataFrame | None, *, given_sessions: bool) -> BuildCounts:
    """Count the records and, if they are exploded, their elements by fate.

    Args:
        candidates: what `cut_sessions` gives, persisted. If sessions are cut, its partitioning fits the counting.
        known: events that the batch already has, which are measured too. They have another partitioning, and an earlier
            mapping may have given them sessions of several visitors.
        given_sessions: whether a session can have several visitors.
    """
    layout_columns = [F.col(VISITOR), F.col("sessionId").alias(_GIVEN_SESSION)]
    given_columns = {"sessionId": F.col(_GIVEN_SESSION).isNotNull()} if given_sessions else {}
    if CONTENT_ID in candidates.columns:
        given_columns["eventId"] = F.col(_HAS_GIVEN_ID)
        layout_columns.append((F.col("eventId") != F.col(CONTENT_ID)).alias(_HAS_GIVEN_ID))
    rows = candidates.select(
        FATE, FIRST, "userId", F.col(SESSION).alias("sessionId"), "sentAt", "eventId", *layout_columns
    )
    if known is not None:
        known_rows = known.select(
            "userId", "sessionId", "sentAt", F.lit(Fate.VALID).alias(FATE), F.lit(False).alias(FIRST)
        )
        rows = rows.unionByName(known_rows, allowMissingColumns=True)
    within = () if given_sessions or known is not None else (VISITOR, _GIVEN_SESSION)
    classes = measure_requests(
        rows, within=within, counting={f"given {name}": there for name, there in given_columns.items()}
    ).collect()
    count: dict[str, int] = {}
    for row in classes:
        count[row[FATE]] = count.get(row[FATE], 0) + row["rows"]
    events = [row for row in classes if row[FATE] == Fate.VALID]
    no_candidates = count.get(Fate.FILTERED, 0)
    filtered = _sum_column((row for row in classes if row[FATE] == Fate.FILTERED), "records")
    counters = {
        "read": _sum_column(classes, "records"),
        "filtered": filtered,
        "candidates": sum(count.values()) - no_candidates,
        "duplicates": count.get(Fate.DUPLICATE, 0),
        "sessions": _sum_column(events, "sessions"),
        "requests": _sum_column(events, "requests"),
        "anonymousSessions": _sum_column(events, "anonymous"),
    }
    newest = max((row["newest"] for row in events), default=None)
    ids = reduce(xor, (row["ids"] or 0 for row in events), 0)
    given_ids = {name: _sum_column(events, f"given {name}") for name in given_columns}
    return BuildCounts(counters, no_candidates - filtered, newest, ids, _sum_lengths(events), given_ids)


def count_tables(events: DataFrame, quarantine: DataFrame) -> dict[str, Any]:
    """Count a run's rows of both tables.

    Returns:
        events, users, quarantined and reasons.
    """
    reasons = quarantine.select(F.posexplode("reasons.code").alias("place", "code")).groupBy("code")
    # Each refused row has exactly one first reason, so counting first reasons counts the rows.
    by_code = reasons.agg(F.count("*").alias("count"), F.count_if(F.col("place") == 0).alias("rows")).collect()
    totals = events.agg(F.count("*").alias("events"), F.count_distinct("userId").alias("users")).collect()[0]
    codes = {row["code"]: row["count"] for row in sorted(by_code, key=lambda row: str(row["code"]))}
    return {**totals.asDict(), "quarantined": _sum_column(by_code, "rows"), "reasons": codes}


def _sum_column(rows: Iterable[Row], name: str) -> int:
    return sum(row[name] for row in rows)


def _sum_lengths(classes: Iterable[Row]) -> SessionLengths:
    sizes, durations = [0] * (len(SIZE_BOUNDS) + 1), [0] * (len(DURATION_BOUNDS) + 1)
    largest = longest = 0
    for row in classes:
        sizes[row["size"]] += row["sessions"]
        durations[row["duration"]] += row["sessions"]
        largest, longest = max(largest, row["largest"]), max(longest, row["longest"])
    return SessionLengths(tuple(sizes), tuple(durations), largest, longest / _MICROS_PER_SECOND)


def count_attempts(quarantine: DataFrame) -> dict[str, int]:
    """Count quarantined rows by their number of attempts."""
    by_attempts = quarantine.groupBy("attempts").count().orderBy("attempts").collect()
    return {str(row["attempts"]): row["count"] for row in by_attempts}


def count_whole_batch(counters: dict[str, Any], known: int, before: Manifest | None) -> dict[str, Any]:
    """Add the batch's earlier counts to those of a run that only adds to the batch.

    Args:
        counters: the run's.
        known: how many events the batch had.
        before: the publication that the run adds to; None if it replaces the batch.

    Returns:
        The counters; `read` is None if an older version built the batch, which did not keep it.
    """
    if before is None:
        return counters
    added = {
        "events": known,
        "duplicates": before.duplicates,
        "candidates": known + before.duplicates,
        "filtered": before.filtered,
    }
    return counters | {name: counters[name] + count for name, count in added.items()} | {"read": before.read}


def check_retried(counters: dict[str, Any], quarantined: int) -> None:
    """Check that the run read as many rows as the quarantine had.

    Raises:
        RuntimeError: rows were lost or doubled.

    Examples:
        >>> check_retried({"read": 3}, 4)
        Traceback (most recent call last):
        RuntimeError: some quarantined rows were not retried exactly once
    """
    if counters["read"] != quarantined:
        raise RuntimeError("some quarantined rows were not retried exactly once")


def count_repeated_headers(headers: int, files: int) -> int:
    """Compare the number of header lines with the number of files that have a header.

    Returns:
        How many header lines repeat the header of their file.

    Raises:
        RuntimeError: a file's header went another way.

    Examples:
        >>> count_repeated_headers(5, 3)
        2
    """
    if headers < files:
        raise RuntimeError("the header of some file was not found among its lines")
    return headers - files


def check_conservation(counters: dict[str, Any]) -> None:
    """Check that every candidate is an event, a quarantined row or a duplicate: law 1.

    Raises:
        RuntimeError: rows were lost or doubled before they were written.

    Examples:
        >>> check_conservation({"candidates": 4, "events": 2, "quarantined": 1, "duplicates": 0})
        Traceback (most recent call last):
        RuntimeError: candidates, events, quarantined and duplicates do not add up
    """
    if counters["candidates"] != counters["events"] + counters["quarantined"] + counters["duplicates"]:
        raise RuntimeError("candidates, events, quarantined and duplicates do not add up")
