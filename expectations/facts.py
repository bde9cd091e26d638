"""What the gate is told of a batch: counts, each from one small aggregate over the tables as they were written."""

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
"""Refused records a rule that the page shows."""
SAMPLE_CHARACTERS: Final = 500
"""Of each of them: the most that leaves the executors."""

EARLIEST_USUAL: Final = datetime(2010, 1, 1, tzinfo=UTC)
"""Logs are rarely older; times in a wrong unit are."""

_KIND_BITS: Final = 7
"""The bits that tell kinds of keys apart."""
_ID_KIND, _CONTENT_KIND, _FIRST_HOLDER_KIND = 0, 1, 2
"""Kinds of keys; of holders there are several, from the last on."""
_HOLDER_COLUMNS: Final = ("visitorId", "userId", "itemId")
"""Columns of which the most frequent value is looked for."""


@dataclass(frozen=True, slots=True)
class RefusedSample:
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


@dataclass(frozen=True, slots=True)
class RepeatedKey:
    """An eventId that duplicates bear.

    Attributes:
        hash: of it.
        duplicates: that bear it.
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
    """Count what single events show: one aggregate, whose only keys are the event types.

    Args:
        events: the rows of `events`.
        interval: that they are of.
        settings: of the checks.
        fields: that the mapping fills: columns, or `properties.` and a key.
        repeated: an eventId's hash, as `most_repeated` gives it.

    Returns:
        One row; BIGINT: anonymous, without_item, sentAt_outside_interval, sentAt_before_2010, eventValue_out_of_range,
        event_types, `earliest` and `latest` (sentAt in microseconds, or null), and of each field, by its name, how many
        events have it; BOOLEAN: repeated_here, whether an event has the repeated eventId.
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
    """Count what only events side by side show: repeated eventIds, what the service will merge, and who holds most.

    A user is the userId or, as long as that is not known, the session. What is compared is hashed to 125 bits, so that
    16 bytes a key are shuffled; that two of 10 billion different events share a hash has a chance of 1 in 10^17.
    All keys go through one shuffle; those that recur are counted before it, where they lie.

    Returns:
        One row, all BIGINT: eventId_repeated and merged, each the events less the different ones; largest_visitorId,
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
    """Find the eventId that most of the duplicates bear.

    Args:
        duplicates: with eventId; only those, since repeats of one id are its event, if that is here, and duplicates.

    Returns:
        One row: hash and rows BIGINT, null where there are no duplicates.
    """
    groups = duplicates.groupBy(F.xxhash64("eventId").alias("hash")).agg(F.count("*").alias("rows"))
    return groups.agg(F.max_by(F.struct("hash", "rows"), F.struct("rows", "hash")).alias("most")).select("most.*")


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


def _is_outside_interval(interval: Interval | None, settings: CheckSettings) -> Column:
    if interval is None:
        return F.lit(False)
    first, last = interval.start - settings.tolerance, interval.end + settings.tolerance
    return (F.col("sentAt") < F.lit(first)) | (F.col("sentAt") >= F.lit(last))


def _hash_key(kind: int, *parts: Column) -> Column:
    """Hash to 125 bits, the kind beside them; which parts are absent is hashed along, since hashes skip them."""
    absent = sum((F.when(part.isNull(), 1 << place).otherwise(0) for place, part in enumerate(parts)), F.lit(0))
    other = F.xxhash64(F.lit("other"), absent, *parts).bitwiseAND(~_KIND_BITS).bitwiseOR(F.lit(kind))
    return F.struct(F.xxhash64(absent, *parts).alias("one"), other.alias("other"))


def _sum_or_zero(number: Column) -> Column:
    return F.coalesce(F.sum(number), F.lit(0))


def _find_column(name: str) -> Column:
    """Find a field in an event; of no property's name, which may be any, is a column's path made."""
    return F.col("properties")[name.removeprefix(PROPERTY)] if name.startswith(PROPERTY) else F.col(name)
