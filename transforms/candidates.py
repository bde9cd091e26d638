"""Builds candidates from mapped records: their fields, identifiers without placeholder texts, and the eventId."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from transforms.columns import (
    AT,
    ATTEMPTS,
    BROKEN,
    CONTENT_ID,
    EVENT,
    FATE,
    FAULT,
    FILTERED,
    FIRST,
    HEADER_TEXT,
    RAW,
    REFUSAL,
    RENDERED,
    SESSION,
    SOURCE_FILE,
    SPREAD,
    VISITOR,
    Fate,
    salt_key,
    visitor_key,
)
from transforms.mapping.expressions import SparkExpressions, guarded
from transforms.mapping.model import EventMapping
from transforms.parsing import valid_text
from transforms.schemas import EVENTS
from transforms.wire import properties_json

_CONTENT_FIELDS = (
    "visitorId",
    "userId",
    "sessionId",
    "eventType",
    "sentAt",
    "itemId",
    "eventValue",
    "impression",
    "properties",
    "recommendationId",
    "eventAttributionSource",
)
_TO_TEXT: dict[str, Callable[[Column], Column]] = {
    "sentAt": F.unix_micros,
    "impression": F.to_json,
    "properties": properties_json,
}
DERIVED_ID_LENGTH: Final = 64
"""Characters of a derived eventId: the hex digits of a SHA-256."""
_KEY_COLUMNS = ("userId", "sessionId", "eventId", "sentAt", "sourceFile")
_IDENTIFIER_FIELDS = ("userId", "visitorId", "sessionId", "eventId", "eventType", "itemId", "recommendationId")
"""Fields in which a text such as `null` counts as missing."""


_NON_FINITE_TEXTS: Final = ('"NaN"', '"Infinity"', '"-Infinity"')
"""What Spark's JSON reader gives for a bare NaN or a number out of range if the schema says STRING."""


def null_if_missing(value: Column, missing: Sequence[str]) -> Column:
    """Make a value null if it is empty or one of the texts that count as missing.

    Services that received `null` or `undefined` as an id have answered 200 and ignored the event.

    Args:
        value: an identifier or an event type.
        missing: the words; the case of their letters does not matter.

    Examples:
        >>> ids = ["u1", " ", "NaN", '"NaN"', "-", "nano", "(Not Set)"]
        >>> df = spark.createDataFrame([(each,) for each in ids], "id STRING")
        >>> [row[0] for row in df.select(null_if_missing(F.col("id"), ["nan", "-", "(not set)"])).collect()]
        ['u1', None, None, None, None, 'nano', None]
    """
    bare = F.trim(value)
    without_case = [word for word in missing if word.lower() == word.upper()]
    is_missing = bare.isin("", *_NON_FINITE_TEXTS, *without_case)
    with_case = [word for word in missing if word not in without_case]
    if with_case:
        is_missing |= _is_word(bare, with_case)
    return F.when(~is_missing, value)


def _is_word(text: Column, words: Sequence[str]) -> Column:
    """Whether a text is one of some words, in any case of letters."""
    # The pattern runs on texts of a fitting length alone. `lower` would make Spark 4 load all of Unicode's rules.
    pattern = rf"(?iu)\A({'|'.join(map(re.escape, words))})\z"
    lengths = sorted({length for word in words for length in _byte_lengths(word)})
    return F.octet_length(text).isin(lengths) & text.rlike(pattern)


def _byte_lengths(word: str) -> Iterable[int]:
    """List the byte lengths that a word can have. A letter outside ASCII can have another length in the other case."""
    return [len(word)] if word.isascii() else range(len(word), 4 * len(word) + 1)


def content_id(fields: dict[str, Column]) -> Column:
    """Derive an eventId: SHA-256, in lower-case hex, over an event's content.

    The content is the present fields in a fixed order, each as `name=<length in characters>:<value>`, joined by `;`.
    Without the lengths, two different events could have the same text. docs/mapping.md gives the order.

    Args:
        fields: those that are mapped, by name; the eventValue as text, since its cast depends on the version of Java.

    Examples:
        >>> df = spark.sql("SELECT 'v1' AS visitorId, 'view' AS eventType, '7' AS itemId")
        >>> fields = {name: F.col(name) for name in df.columns}
        >>> fields["sentAt"] = F.timestamp_millis(F.lit(1704067200000))
        >>> import hashlib
        >>> text = "visitorId=2:v1;eventType=4:view;sentAt=16:1704067200000000;itemId=1:7"
        >>> df.select(content_id(fields)).first()[0] == hashlib.sha256(text.encode()).hexdigest()
        True
    """
    parts = [_write_content_part(name, fields[name]) for name in _CONTENT_FIELDS if name in fields]
    return F.sha2(F.concat_ws(";", *parts), 256)


def _write_content_part(name: str, value: Column) -> Column:
    text = _TO_TEXT[name](value) if name in _TO_TEXT else value
    text = text.cast("string")
    return F.concat(F.lit(f"{name}="), F.length(text).cast("string"), F.lit(":"), text)


def map_candidates(records: DataFrame, mapping: EventMapping, expressions: SparkExpressions) -> DataFrame:
    """Evaluate a mapping's expressions: the columns of `events`, and those that say what happened to the record.

    Args:
        records: what `select_records` gives.
        mapping: its fields and properties.
        expressions: build them.

    Returns:
        The columns of `schemas.EVENTS`, the eventId null where it is not given, with `_raw`, `_fault`, `_filtered`,
        `_first`, `_spread` and, where the records have them, `_at`, `_attempts`, `_rendered` and `_header`; one row a
        candidate.
    """
    travelling = [F.col(name) for name in (AT, ATTEMPTS, RENDERED, HEADER_TEXT) if name in records.columns]
    own = [*travelling, F.col(SOURCE_FILE).alias("sourceFile"), F.col(RAW), F.col(FAULT), F.col(FILTERED), F.col(FIRST)]
    values = [guarded(text, expressions).alias(key) for key, text in mapping.properties.items()]
    kinds = {field.name: field.dataType for field in records.select(*values).schema} if values else {}
    fields = [column.alias(name) for name, column in _build_fields(mapping, expressions, kinds).items()]
    return records.select(*fields, *own, F.monotonically_increasing_id().alias(SPREAD))


def pack_candidates(verdicts: DataFrame, mapping: EventMapping, expressions: SparkExpressions) -> DataFrame:
    """Give each valid candidate its eventId, and pack the rows for the shuffle.

    One projection does it all, because each further projection copies every row once more.

    Args:
        verdicts: what `verdict.judge_candidates` gives.
        mapping: says whether eventIds are given.
        expressions: write numbers.

    Returns:
        `_visitor`, userId, sessionId, eventId, sentAt, sourceFile, `_fate`, `_first`, `_spread`, `_event`, `_refusal`
        and, where eventIds are given, `_content_id`. Rows that are not valid hold only what is counted and kept.
    """
    valid = F.col(BROKEN) == 0
    fields = {name: F.col(name) for name in [*mapping.event, *(["properties"] if mapping.properties else [])]}
    value = {"eventValue": expressions.text_of(F.col("eventValue"), EVENTS["eventValue"].dataType)}
    own = {name: field for name, field in fields.items() if name != "eventId"}
    content = content_id(own | (value if "eventValue" in own else {}))
    given = "eventId" in mapping.event
    packed = [name for name in EVENTS.names if name not in _KEY_COLUMNS]
    kept = [name for name in (BROKEN, "sourceFile", AT, ATTEMPTS, RENDERED, HEADER_TEXT) if name in verdicts.columns]
    return verdicts.select(
        F.when(valid, visitor_key()).otherwise(salt_key()).alias(VISITOR),
        *[F.when(valid, F.col(name)).alias(name) for name in _KEY_COLUMNS if name != "eventId"],
        F.when(valid, F.coalesce(F.col("eventId"), content) if given else content).alias("eventId"),
        FATE,
        FIRST,
        SPREAD,
        F.when(valid, F.struct(*packed)).alias(EVENT),
        F.when(F.col(BROKEN) != 0, F.struct(*kept, valid_text(F.col(RAW)).alias(RAW))).alias(REFUSAL),
        *([F.when(valid, content).alias(CONTENT_ID)] if given else []),
    )


def events_of(candidates: DataFrame) -> DataFrame:
    """Unpack the rows that are still valid: the columns of `schemas.EVENTS`."""
    own = {name: F.col(name) for name in _KEY_COLUMNS} | {"sessionId": F.col(SESSION)}
    fields = {name: own.get(name, F.col(f"{EVENT}.{name}")) for name in EVENTS.names}
    return candidates.where(F.col(FATE) == Fate.VALID).select(*[field.alias(name) for name, field in fields.items()])


def _build_fields(
    mapping: EventMapping, expressions: SparkExpressions, kinds: Mapping[str, DataType]
) -> dict[str, Column]:
    """Build the fields of an event.

    Args:
        mapping: says how.
        expressions: build them.
        kinds: the types of the properties' values.
    """
    own = {field.name: field.dataType for field in EVENTS.fields if field.name not in ("sourceFile", "properties")}
    fields = {name: _build_field(name, kind, mapping, expressions) for name, kind in own.items()}
    properties = _build_properties(mapping, expressions, kinds).cast(EVENTS["properties"].dataType)
    return {name: fields.get(name, properties) for name in EVENTS.names if name != "sourceFile"}


def _build_field(name: str, kind: DataType, mapping: EventMapping, expressions: SparkExpressions) -> Column:
    if name not in mapping.event:
        return F.lit(None).cast(kind)
    value = guarded(mapping.event[name], expressions).cast(kind)
    missing = mapping.source.missing
    if name in _IDENTIFIER_FIELDS:
        return null_if_missing(value, missing)
    if name == "eventAttributionSource":
        return F.when(F.trim(value) != "", value)
    if name == "impression":
        return F.when(F.size(value) > 0, F.transform(value, lambda item: null_if_missing(item, missing)))
    return value


def _build_properties(mapping: EventMapping, expressions: SparkExpressions, kinds: Mapping[str, DataType]) -> Column:
    """Build the map, keys in order so that its JSON is the same on every run; null values drop their keys.

    Without a lambda, which Catalyst would interpret row by row.
    """
    if not mapping.properties:
        return F.lit(None)
    values = {
        key: expressions.text_of(guarded(text, expressions), kinds[key])
        for key, text in sorted(mapping.properties.items())
    }
    kept = [F.when(value.isNotNull(), F.create_map(F.lit(key), value)) for key, value in values.items()]
    none = F.create_map().cast("map<string,string>")
    return F.when(F.coalesce(*values.values()).isNotNull(), F.map_concat(*[F.coalesce(one, none) for one in kept]))
