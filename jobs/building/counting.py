"""The counters of a build, from rows and tables; accumulators would count a retried task twice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.report.facts import Lengths
from transforms.bookkeeping import FATE, FIRST, Fate
from transforms.lengths import DURATION_BOUNDS, SIZE_BOUNDS
from transforms.packing import measure

_SECOND: Final = 1_000_000
"""In microseconds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run's new events are, all of them.

    Attributes:
        newest: the time of the newest, in microseconds; None where there are none.
        ids: the exclusive or of the hashes of their eventIds, which tells them from others.
    """

    newest: int | None = None
    ids: int = 0


def count_fates(judged: DataFrame) -> tuple[dict[str, int], Seen]:
    """Count what became of the records and, where they are exploded, of their elements.

    Returns:
        read, filtered, candidates and duplicates; and what the events are.
    """
    newest, ids = F.max(F.unix_micros("sentAt")).alias("newest"), F.bit_xor(F.xxhash64("eventId")).alias("ids")
    rows_and_records = F.count("*").alias("rows"), F.count_if(FIRST).alias("records")
    totals = judged.groupBy(FATE).agg(*rows_and_records, newest, ids).collect()
    rows = {total[FATE]: total["rows"] for total in totals}
    filtered = rows.get(Fate.FILTERED, 0)
    counters = {
        "read": sum(total["records"] for total in totals),
        "filtered": filtered,
        "candidates": sum(rows.values()) - filtered,
        "duplicates": rows.get(Fate.DUPLICATE, 0),
    }
    return counters, next((Seen(one["newest"], one["ids"]) for one in totals if one[FATE] == Fate.VALID), Seen())


def count_tables(events: DataFrame, quarantine: DataFrame) -> tuple[dict[str, Any], Lengths]:
    """Count a run's rows of both tables.

    Returns:
        events, sessions, anonymousSessions, users, requests, quarantined, reasons; and how long the sessions are.
    """
    reasons = quarantine.select(F.posexplode("reasons.code").alias("place", "code")).groupBy("code")
    # A refused row has one first reason, so the rows are counted along.
    by_code = reasons.agg(F.count("*").alias("count"), F.count_if(F.col("place") == 0).alias("rows")).collect()
    counted = measure(events).collect()[0].asDict()
    lengths = _lengths(counted.pop("classes"), counted.pop("largest"), counted.pop("longest"))
    quarantined = sum(row["rows"] for row in by_code)
    codes = {row["code"]: row["count"] for row in sorted(by_code, key=lambda row: str(row["code"]))}
    return {**counted, "quarantined": quarantined, "reasons": codes}, lengths


def _lengths(classes: Sequence[Row], largest: int | None, longest: int | None) -> Lengths:
    sizes, durations = [0] * (len(SIZE_BOUNDS) + 1), [0] * (len(DURATION_BOUNDS) + 1)
    for one in classes:
        sizes[one["size"]] += one["sessions"]
        durations[one["duration"]] += one["sessions"]
    return Lengths(tuple(sizes), tuple(durations), largest or 0, (longest or 0) / _SECOND)


def count_attempts(quarantine: DataFrame) -> dict[str, int]:
    """Count quarantined rows by how often they were tried."""
    tried = quarantine.groupBy("attempts").count().orderBy("attempts").collect()
    return {str(row["attempts"]): row["count"] for row in tried}


def whole(counters: dict[str, Any], known: int, duplicates_before: int) -> dict[str, Any]:
    """Count the batch as a whole, where a run has only added to it."""
    more = {"events": known, "duplicates": duplicates_before, "candidates": known + duplicates_before}
    return counters | {name: counters[name] + count for name, count in more.items()}


def conserve_retried(counters: dict[str, Any], quarantined: int) -> None:
    """Hold the rows that were taken out of quarantine against those that were in it.

    Raises:
        RuntimeError: some were lost or doubled on the way.

    Examples:
        >>> conserve_retried({"read": 3}, 4)
        Traceback (most recent call last):
        RuntimeError: not every quarantined row was taken through again, once
    """
    if counters["read"] != quarantined:
        raise RuntimeError("not every quarantined row was taken through again, once")


def conserve(counters: dict[str, Any]) -> None:
    """Hold what was written against what was judged: law 1.

    Raises:
        RuntimeError: rows were lost or doubled on the way to the tables.

    Examples:
        >>> conserve({"candidates": 4, "events": 2, "quarantined": 1, "duplicates": 0})
        Traceback (most recent call last):
        RuntimeError: candidates, events, quarantined and duplicates do not add up
    """
    if counters["candidates"] != counters["events"] + counters["quarantined"] + counters["duplicates"]:
        raise RuntimeError("candidates, events, quarantined and duplicates do not add up")
