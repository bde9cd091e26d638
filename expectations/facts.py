"""What the gate is told of a batch: counts, each from one small aggregate over the tables as they were written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from expectations.interval import Interval
from expectations.thresholds import Settings
from transforms.wire import properties_json

SAMPLE_RECORDS: Final = 20
"""Refused records a rule that the page shows."""
SAMPLE_CHARACTERS: Final = 500
"""Of each of them: the most that leaves the executors."""

_IDS, _CONTENTS = 0, 1


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused record, for somebody to look at.

    Attributes:
        code: the rule that it breaks.
        record: the start of its text.
        cut: whether the text goes on.
        sourceFile: where it was read.
    """

    code: str
    record: str
    cut: bool
    sourceFile: str


def event_facts(events: DataFrame, interval: Interval | None, settings: Settings) -> DataFrame:
    """Count what single events show.

    Returns:
        One row, all BIGINT: anonymous, without_item, sentAt_outside_interval, eventValue_out_of_range, event_types.
    """
    value = F.col("eventValue")
    return events.agg(
        F.count_if(F.col("userId").isNull()).alias("anonymous"),
        F.count_if(F.col("itemId").isNull()).alias("without_item"),
        F.count_if(_outside(interval, settings)).alias("sentAt_outside_interval"),
        F.count_if((value < settings.minimum) | (value > settings.maximum)).alias("eventValue_out_of_range"),
        F.count_distinct("eventType").alias("event_types"),
    )


def repetition_facts(events: DataFrame) -> DataFrame:
    """Count what only events side by side show: those that bear another's eventId, and those the service will merge.

    A user is the userId or, as long as that is not known, the session. What is compared is hashed to 128 bits, so that
    16 bytes an event are shuffled; that two of 10 billion different events share a hash has a chance of 1 in 10^18.

    Returns:
        One row, both BIGINT: eventId_repeated and merged, each the events less the different ones.
    """
    user = F.coalesce(F.concat(F.lit("u:"), F.col("userId")), F.concat(F.lit("s:"), F.col("sessionId")))
    properties = properties_json(F.col("properties"))
    same = _hash(user, F.unix_seconds("sentAt"), F.col("eventType"), F.col("itemId"), properties)
    hashes = events.select(F.explode(F.array(_key(_IDS, _hash(F.col("eventId"))), _key(_CONTENTS, same))).alias("key"))
    repeated = hashes.groupBy("key").agg((F.count("*") - 1).alias("more"))  # one shuffle of both
    return repeated.agg(_more(_IDS).alias("eventId_repeated"), _more(_CONTENTS).alias("merged"))


def refused_samples(quarantine: DataFrame) -> DataFrame:
    """Take a few refused records of each rule, the same ones on every run.

    Returns:
        code, record STRING (its start), cut BOOLEAN, sourceFile and place INT (from 1, to SAMPLE_RECORDS); one row a
        record and code.
    """
    start = F.substring("record", 1, SAMPLE_CHARACTERS)
    cut = F.length("record") > SAMPLE_CHARACTERS
    slim = quarantine.select(
        F.explode("reasons.code").alias("code"), start.alias("record"), cut.alias("cut"), "sourceFile"
    )
    first = Window.partitionBy("code").orderBy("sourceFile", "record", "cut")
    return slim.withColumn("place", F.row_number().over(first)).where(F.col("place") <= SAMPLE_RECORDS)


def _outside(interval: Interval | None, settings: Settings) -> Column:
    if interval is None:
        return F.lit(False)
    first, last = interval.start - settings.tolerance, interval.end + settings.tolerance
    return (F.col("sentAt") < F.lit(first)) | (F.col("sentAt") >= F.lit(last))


def _hash(*parts: Column) -> list[Column]:
    """Hash to 128 bits; an absent part is none of the texts that a part can be."""
    texts = [F.coalesce(F.concat(F.lit("="), part.cast("string")), F.lit("-")) for part in parts]
    return [F.xxhash64(*texts), F.xxhash64(F.lit("other"), *texts)]


def _key(kind: int, hashes: list[Column]) -> Column:
    return F.struct(F.lit(kind).alias("kind"), hashes[0].alias("one"), hashes[1].alias("other"))


def _more(kind: int) -> Column:
    return F.coalesce(F.sum(F.when(F.col("key.kind") == kind, F.col("more"))), F.lit(0))
