"""The counters of a build, from rows and tables; accumulators would count a retried task twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from transforms.bookkeeping import FATE, FIRST, Fate
from transforms.packing import measure


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


def count_tables(events: DataFrame, quarantine: DataFrame) -> dict[str, Any]:
    """Count a run's rows of both tables: events, sessions, anonymousSessions, users, requests, quarantined, reasons."""
    reasons = quarantine.select(F.posexplode("reasons.code").alias("place", "code")).groupBy("code")
    # A refused row has one first reason, so the rows are counted along.
    by_code = reasons.agg(F.count("*").alias("count"), F.count_if(F.col("place") == 0).alias("rows")).collect()
    counted = measure(events).collect()[0].asDict()
    return {
        **counted,
        "quarantined": sum(row["rows"] for row in by_code),
        "reasons": {row["code"]: row["count"] for row in sorted(by_code, key=lambda row: str(row["code"]))},
    }


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
