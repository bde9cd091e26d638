"""The counts that the gate checks: each from one small aggregate over the tables as they were written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from expectations.checks import PROPERTY
from expectations.interval import Interval
from expectations.thresholds import CheckSettings

SAMPLE_RECORDS: Final = 20
"""Refused records that the page shows for each rule."""
SAMPLE_CHARACTERS: Final = 500
"""Characters of each of these records that leave the executors, at most."""

EARLIEST_USUAL: Final = datetime(2010, 1, 1, tzinfo=UTC)
"""Logs are rarely older. Times in a wrong unit are."""

_KIND_BITS: Final = 7
"""The bits for the kind of a key."""
_ID_KIND, _CONTENT_KIND, _FIRST_HOLDER_KIND = 0, 1, 2
"""Kinds of keys. Each column of holders has a kind, from the last number on."""
_HOLDER_COLUMNS: Final = ("visitorId", "userId", "itemId")
"""Columns whose most frequent value is counted."""


@dataclass(frozen=True, slots=True)
class RefusedSample:
    """A refused record, for the batch's page.

    Attributes:
        code: the rule that it breaks.
        record: the start of its text.
        cut: whether the text is longer.
        sourceFile: the file that it was read from.
    """

    code: str
    record: str
    cut: bool
    sourceFile: str


@dataclass(frozen=True, slots=True)
class RepeatedKey:
    """An eventId of duplicates.

    Attributes:
        hash: the id's hash.
        duplicates: how many duplicates have it.
    """

    hash: int
    duplicates: int


def event_facts(
    events: DataFrame,
    interval: Interval | None,
    settings: CheckSettings,
    fields: Sequence[str] = (),
    repeated: int | None = None,
) -> DataFrame:
    """Count what each event shows on its own, in one aggregate.

    Args:
        events: the rows of `events`.
        interval: the batch's; None if it has none.
        settings: the checks'.
        fields: the fields that the mapping fills: columns, or `properties.` and a key.
        repeated: the hash of an eventId, from `most_repeated`.

    Returns:
        One row; BIGINT: anonymous, without_item, sentAt_outside_interval, sentAt_before_2010, eventValue_out_of_range,
        event_types, `earliest` and `latest` (sentAt in microseconds, or null), and for each field, under its name, how
        many events have it; BOOLEAN: repeated_here, whether an event has the repeated eventId.
    """
    value, at = F.col("eventValue"), F.unix_micros("sentAt")
    has_repeated_id = F.lit(False) if repeated is None else F.xxhash64("eventId") == repeated
    return events.agg(
        F.count_if(F.col("userId").isNull()).alias("anonymous"),
        F.count_if(F.col("itemId").isNull()).alias("without_item"),
        F.count_if(_is_outside_interval(interval, settings)).alias("sentAt_outside_interval"),
        F.count_if(F.col("sentAt") < F.lit(EARLIEST_USUAL)).alias("sentAt_before_2010"),
        F.count_if((value < settings.minimum) | (value > settings.maximum)).alias("eventValue_out_of_range"),
        F.count_distinct("eventType").alias("event_types"),
        F.min(at).alias("earliest"),
        F.max(at).alias("latest"),
        F.coalesce(F.bool_or(has_repeated_id), F.lit(False)).alias("repeated_here"),
        *[F.count(_find_column(name)).alias(name) for name in fields],
    )


def repetition_facts(events: DataFrame) -> DataFrame:
    """Count what only several events show: repeated eventIds, events that the service merges, the most frequent values.

    A user is the userId or, without one, the session. Keys are hashed to 125 bits, so that the shuffle moves 16 bytes
    for each key. The chance that two of 10 billion different events share a hash is 1 in 10^17. All keys go through
    one shuffle; each task counts its repeated keys before it.

    Returns:
        One row, all BIGINT: eventId_repeated and merged, each the events minus the different ones; largest_visitorId,
        largest_userId and largest_itemId, the events of the most frequent value.
    """
    user = (F.coalesce("userId", "sessionId"), F.col("userId").isNull())
    same = (*user, F.unix_seconds("sentAt"), F.col("eventType"), F.col("itemId"), F.map_entries("properties"))
    holders = [
        F.when(F.col(name).isNotNull(), _hash_key(kind, F.col(name)))
        for kind, name in enumerate(_HOLDER_COLUMNS, _FIRST_HOLDER_KIND)
    ]
    keys = F.array(_hash_key(_ID_KIND, F.col("eventId")), _hash_key(_CONTENT_KIND, *same), *holders)
    rows = events.select(F.explode(keys).alias("key")).where(F.col("key").isNotNull()).select("key.*")
    groups = rows.groupBy("one", "other").agg(F.count("*").alias("rows"))
    kind = F.col("other").bitwiseAND(_KIND_BITS)
    rows_of_kind = [F.when(kind == place, F.col("rows")) for place in range(_FIRST_HOLDER_KIND + len(_HOLDER_COLUMNS))]
    return groups.agg(
        _sum_or_zero(rows_of_kind[_ID_KIND] - 1).alias("eventId_repeated"),
        _sum_or_zero(rows_of_kind[_CONTENT_KIND] - 1).alias("merged"),
        *[
            F.coalesce(F.max(rows_of_kind[place]), F.lit(0)).alias(f"largest_{name}")
            for place, name in enumerate(_HOLDER_COLUMNS, _FIRST_HOLDER_KIND)
        ],
    )


def most_repeated(duplicates: DataFrame) -> DataFrame:
    """Find the most frequent eventId among the duplicates.

    Args:
        duplicates: rows with eventId. The event itself is not among them.

    Returns:
        One row: hash and rows BIGINT, null without duplicates.
    """
    groups = duplicates.groupBy(F.xxhash64("eventId").alias("hash")).agg(F.count("*").alias("rows"))
    return groups.agg(F.max_by(F.struct("hash", "rows"), F.struct("rows", "hash")).alias("most")).select("most.*")


def refused_samples(quarantine: DataFrame) -> DataFrame:
    """Choose a few refused records for each rule, the same ones on every run.

    Returns:
        code, record STRING (its start), cut BOOLEAN, sourceFile and place INT (from 1 to SAMPLE_RECORDS); one row
        for each record and code.
    """
    start = F.substring("record", 1, SAMPLE_CHARACTERS)
    cut = F.length("record") > SAMPLE_CHARACTERS
    slim = quarantine.select(
        F.explode("reasons.code").alias("code"), start.alias("record"), cut.alias("cut"), "sourceFile"
    )
    first = Window.partitionBy("code").orderBy("sourceFile", "record", "cut")
    return slim.withColumn("place", F.row_number().over(first)).where(F.col("place") <= SAMPLE_RECORDS)


def _is_outside_interval(interval: Interval | None, settings: CheckSettings) -> Column:
    if interval is None:
        return F.lit(False)
    first, last = interval.start - settings.tolerance, interval.end + settings.tolerance
    return (F.col("sentAt") < F.lit(first)) | (F.col("sentAt") >= F.lit(last))


def _hash_key(kind: int, *parts: Column) -> Column:
    """Hash parts to 125 bits, and add the kind. A mask of the nulls is hashed too, because the hash skips nulls."""
    absent = sum((F.when(part.isNull(), 1 << place).otherwise(0) for place, part in enumerate(parts)), F.lit(0))
    other = F.xxhash64(F.lit("other"), absent, *parts).bitwiseAND(~_KIND_BITS).bitwiseOR(F.lit(kind))
    return F.struct(F.xxhash64(absent, *parts).alias("one"), other.alias("other"))


def _sum_or_zero(number: Column) -> Column:
    return F.coalesce(F.sum(number), F.lit(0))


def _find_column(name: str) -> Column:
    """Find the column of a field. A property's key is never part of a column path, because it can be any text."""
    return F.col("properties")[name.removeprefix(PROPERTY)] if name.startswith(PROPERTY) else F.col(name)
