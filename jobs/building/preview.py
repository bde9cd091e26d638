"""A look at the first records of a log: what becomes of each, and why; nothing is written."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from expectations.rules import RuleContext
from expectations.verdict import judge_candidates, reasons
from jobs.building.batch_rows import FUTURE_TOLERANCE
from jobs.spark_internals.catalyst import CatalystExpressions
from transforms.candidates import content_id, map_candidates
from transforms.columns import BROKEN, FATE, FIRST, RAW, Fate
from transforms.mapping.model import EVENT_FIELDS, EventMapping
from transforms.records import select_records

SAMPLE: Final = 1_000
"""Rows that are counted; more where more are to be shown."""
_WIDEST_CELL: Final = 32
_WIDEST: Final = {"eventId": 9}
"""Most are 64 digits, of which the first few tell events apart."""
_LONGEST_RECORD: Final = 400
"""Characters of a refused record that are shown."""
_FATES: Final = {Fate.VALID: "event", Fate.DUPLICATE: "duplicate"}


@dataclass(frozen=True, slots=True)
class PreviewRow:
    """A candidate, or a record that is none.

    Attributes:
        fate: one of `Fate`.
        reasons: why it is refused: code, field (empty where it is the whole record) and message.
        fields: its values by field, those that are null left out.
        record: its text.
        is_first: whether it is the record's first row.
    """

    fate: str
    reasons: tuple[tuple[str, str, str], ...]
    fields: Mapping[str, str]
    record: str
    is_first: bool


def take_rows(records: DataFrame, mapping: EventMapping, as_of: datetime, most: int) -> list[PreviewRow]:
    """Take the first records through mapping and rules.

    Args:
        records: what `read_records` gives.
        mapping: how they become candidates.
        as_of: the run's time, aware.
        most: rows to take. Spark reads no more partitions than it needs for them.
    """
    expressions = CatalystExpressions(records.sparkSession)
    candidates = map_candidates(select_records(records, mapping, expressions), mapping, expressions)
    judged = judge_candidates(candidates, RuleContext(as_of + FUTURE_TOLERANCE))
    named = [name for name in (*mapping.event, *(["properties"] if mapping.properties else [])) if name != "eventId"]
    value = {"eventValue": expressions.text_of(F.col("eventValue"), judged.schema["eventValue"].dataType)}
    content = content_id({name: value.get(name, F.col(name)) for name in named})
    event_id = F.when(F.col(BROKEN) == 0, F.coalesce(F.col("eventId"), content)).alias("eventId")
    texts = [F.col(name).cast("string").alias(name) if name == "sentAt" else F.col(name) for name in named]
    why = reasons(F.coalesce(F.col(BROKEN), F.lit(0))).alias("reasons")
    wanted = judged.select(*texts, event_id, RAW, FATE, FIRST, why)
    is_header = (F.col(FATE) == Fate.FILTERED) & ~F.col(FIRST)
    return [*_with_duplicates(_preview_row(row, named) for row in wanted.where(~is_header).take(most))]


def count_rows(rows: Sequence[PreviewRow]) -> dict[str, Any]:
    """Count the rows of a sample as the summary of a build does."""
    fates = Counter(row.fate for row in rows)
    codes = Counter(code for row in rows for code, _, _ in row.reasons)
    return {
        "read": sum(row.is_first for row in rows),
        "filtered": fates[Fate.FILTERED],
        "candidates": len(rows) - fates[Fate.FILTERED],
        "events": fates[Fate.VALID],
        "quarantined": fates[Fate.QUARANTINED],
        "duplicates": fates[Fate.DUPLICATE],
        "reasons": dict(sorted(codes.items())),
    }


def describe_rows(rows: Sequence[PreviewRow], shown: int) -> Iterator[str]:
    """Draw the first rows as a table; below it, why records are refused, with their texts.

    Args:
        rows: of the sample.
        shown: how many rows the table has at the most, and how many refused records stand below it.
    """
    columns = [name for name in (*EVENT_FIELDS, "properties") if any(name in row.fields for row in rows)]
    table = [["", "fate", "reasons", *columns]]
    for number, row in enumerate(rows[:shown], start=1):
        codes = " ".join(code for code, _, _ in row.reasons)
        values = [_cut(row.fields.get(name, ""), _WIDEST.get(name, _WIDEST_CELL)) for name in columns]
        table.append([str(number), _FATES.get(row.fate, row.fate), codes, *values])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
    refused = [(number, row) for number, row in enumerate(rows, start=1) if row.reasons]
    for number, row in refused[:shown]:
        yield ""
        for code, field, message in row.reasons:
            yield f"{number}: {field or 'record'}: {code}: {message}"
        yield f"   {_cut(row.record, _LONGEST_RECORD)}"
    if len(refused) > shown:
        yield f"and {len(refused) - shown:,} more refused rows in the sample"


def _preview_row(row: Row, named: Sequence[str]) -> PreviewRow:
    fields = {name: _text(row[name]) for name in (*named, "eventId") if row[name] is not None}
    why = tuple((reason["code"], reason["field"] or "", reason["message"]) for reason in row["reasons"])
    return PreviewRow(row[FATE], why, fields, row[RAW] or "", row[FIRST])


def _with_duplicates(rows: Iterator[PreviewRow]) -> Iterator[PreviewRow]:
    """Mark the events whose eventId an event before them has."""
    known: set[str] = set()
    for row in rows:
        if row.fate == Fate.VALID and row.fields["eventId"] in known:
            yield PreviewRow(Fate.DUPLICATE, row.reasons, row.fields, row.record, row.is_first)
            continue
        if row.fate == Fate.VALID:
            known.add(row.fields["eventId"])
        yield row


def _text(value: Any) -> str:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value)


def _cut(text: str, most: int) -> str:
    """Write a text on one line, without characters that a terminal would act on."""
    safe = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return safe if len(safe) <= most else f"{safe[: most - 1]}…"
