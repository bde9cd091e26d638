"""A mapped record as an event to be: the fields, identifiers made honest, and the eventId."""

from __future__ import annotations

from collections.abc import Callable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from transforms.bookkeeping import AT, ATTEMPTS, CONTENT_ID, FAULT, FILTERED, FIRST, RAW, RENDERED, SOURCE_FILE
from transforms.expressions import guarded
from transforms.mapping import EventMapping
from transforms.schemas import EVENTS
from transforms.wire import properties_json

_MISSING_WORDS = ("", "null", "undefined", "none", "nan")
_LONGEST_WORD = max(map(len, _MISSING_WORDS))
_CONTENT = (
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
_TEXTS: dict[str, Callable[[Column], Column]] = {
    "sentAt": F.unix_micros,
    "impression": F.to_json,
    "properties": properties_json,
}
_IDENTIFIERS = ("userId", "visitorId", "sessionId", "eventId", "itemId", "recommendationId")


def present(identifier: Column) -> Column:
    """Take an identifier that is empty, or reads like nothing, for missing: null.

    Services that received `null` or `undefined` as an id have answered 200 and ignored the event.

    Examples:
        >>> df = spark.createDataFrame([("u1",), (" ",), ("NaN",), ("undefined",), ("nano",)], "id STRING")
        >>> [row[0] for row in df.select(present(F.col("id"))).collect()]
        ['u1', None, None, None, 'nano']
    """
    bare = F.trim(identifier)
    # Lower-casing is left to the few that are short enough; no longer one becomes such a word by it.
    return F.when((F.octet_length(bare) > _LONGEST_WORD) | ~F.lower(bare).isin(*_MISSING_WORDS), identifier)


def content_id(fields: dict[str, Column]) -> Column:
    """Derive an eventId: SHA-256, in lower-case hex, over an event's content.

    The content is the present fields in a fixed order, each as `name=<length in characters>:<value>`, joined by `;`.
    The lengths keep two events apart whose values run into each other. docs/mapping.md gives the order.

    Examples:
        >>> df = spark.sql("SELECT 'v1' AS visitorId, 'view' AS eventType, '7' AS itemId")
        >>> fields = {name: F.col(name) for name in df.columns}
        >>> fields["sentAt"] = F.timestamp_millis(F.lit(1704067200000))
        >>> import hashlib
        >>> text = "visitorId=2:v1;eventType=4:view;sentAt=16:1704067200000000;itemId=1:7"
        >>> df.select(content_id(fields)).first()[0] == hashlib.sha256(text.encode()).hexdigest()
        True
    """
    parts = [_part(name, fields[name]) for name in _CONTENT if name in fields]
    return F.sha2(F.concat_ws(";", *parts), 256)


def _part(name: str, value: Column) -> Column:
    text = _TEXTS[name](value) if name in _TEXTS else value
    text = text.cast("string")
    return F.concat(F.lit(f"{name}="), F.length(text).cast("string"), F.lit(":"), text)


def map_candidates(records: DataFrame, mapping: EventMapping) -> DataFrame:
    """Evaluate a mapping's expressions: the columns of `events`, with those that say what became of the record.

    Returns:
        The columns of `schemas.EVENTS`, `_content_id`, `_raw`, `_fault`, `_filtered`, `_first` and, where the records
        have them, `_at`, `_attempts` and `_rendered`; one row a candidate.
    """
    travelling = [F.col(name) for name in (AT, ATTEMPTS, RENDERED) if name in records.columns]
    own = [*travelling, F.col(SOURCE_FILE).alias("sourceFile"), F.col(RAW), F.col(FAULT), F.col(FILTERED), F.col(FIRST)]
    fields = records.select(*[column.alias(name) for name, column in _fields(mapping).items()], *own)
    mapped = {name: F.col(name) for name in [*mapping.event, *(["properties"] if mapping.properties else [])]}
    content = content_id(mapped)
    if "eventId" not in mapping.event:
        return fields.withColumn("eventId", content).withColumn(CONTENT_ID, F.col("eventId"))
    return fields.withColumn(CONTENT_ID, content).withColumn("eventId", F.coalesce(F.col("eventId"), F.col(CONTENT_ID)))


def _fields(mapping: EventMapping) -> dict[str, Column]:
    kinds = {field.name: field.dataType for field in EVENTS.fields if field.name != "sourceFile"}
    return {name: _field(name, kind, mapping) for name, kind in kinds.items()}


def _field(name: str, kind: DataType, mapping: EventMapping) -> Column:
    if name == "properties":
        return _properties(mapping).cast(kind)
    if name not in mapping.event:
        return F.lit(None).cast(kind)
    value = guarded(mapping.event[name]).cast(kind)
    if name in _IDENTIFIERS:
        return present(value)
    if name == "eventAttributionSource":
        return F.when(F.trim(value) != "", value)
    return F.when(F.size(value) > 0, F.transform(value, present)) if name == "impression" else value


def _properties(mapping: EventMapping) -> Column:
    """Build the map, keys in order so that its JSON is the same on every run; null values drop their keys.

    Without a lambda, which Catalyst would interpret row by row.
    """
    if not mapping.properties:
        return F.lit(None)
    values = {key: guarded(text).cast("string") for key, text in sorted(mapping.properties.items())}
    kept = [F.when(value.isNotNull(), F.create_map(F.lit(key), value)) for key, value in values.items()]
    none = F.create_map().cast("map<string,string>")
    return F.when(F.coalesce(*values.values()).isNotNull(), F.map_concat(*[F.coalesce(one, none) for one in kept]))
