"""What becomes of each record of a log: read, mapped and judged in one pass, without the whole job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from expectations.verdict import reasons
from jobs.building.batch_rows import BuildConfig, judge_records
from jobs.reading.sources import read_records
from transforms.columns import BROKEN, EVENT, FATE, FIRST, REFUSAL, SESSION, Fate
from transforms.mapping.model import EVENT_FIELDS, EventMapping
from transforms.sessions import SessionLimits

FATES = {Fate.VALID: "event", Fate.QUARANTINED: "quarantined", Fate.DUPLICATE: "duplicate", Fate.FILTERED: "filtered"}
LIMITS = SessionLimits(gap=timedelta(minutes=30), longest=timedelta(hours=24))
LATEST = datetime(2024, 2, 1, tzinfo=UTC)


def judged_rows(spark: SparkSession, mapping: EventMapping, log: Path) -> list[Row]:
    """One row a candidate, and one for each record that has none."""
    rows = judge_records(read_records(spark, [str(log)], mapping), BuildConfig(mapping, LIMITS, LATEST))
    micros = F.unix_micros("sentAt")
    codes = reasons(F.col(REFUSAL)[BROKEN])["code"]
    fields = {"sessionId": F.coalesce(SESSION, "sessionId"), "sentAt": F.col("sentAt").cast("string")}
    whole = rows.where(F.col(FIRST) | (F.col(FATE) != Fate.FILTERED))  # headers are no records
    whole = whole.withColumns({"micros": micros, "codes": codes}).withColumns(fields)
    return whole.select("*", f"{EVENT}.*").collect()


def told_of(row: Row) -> dict[str, Any]:
    """A row's fate, its reasons, and the fields of an event or a duplicate that are not null."""
    told: dict[str, Any] = {"fate": FATES[row[FATE]]}
    if row["codes"]:
        told["reasons"] = list(row["codes"])
    if row[FATE] not in (Fate.VALID, Fate.DUPLICATE):
        return told
    return told | {name: row[name] for name in [*EVENT_FIELDS, "properties"] if row[name] is not None}
