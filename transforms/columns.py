"""The columns that are added to a record, and the key of a visitor."""

from __future__ import annotations

from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

RAW: Final = "_raw"
"""The record's text, whole. Part of the mapping language: users may name it."""
ELEMENT: Final = "element"
"""The exploded element. Part of the mapping language too."""
SOURCE_FILE: Final = "_source_file"
FAULT: Final = "_fault"
"""Reason code of a record that could not be mapped; otherwise null."""
FILTERED: Final = "_filtered"
"""BOOLEAN: the record is not an interaction."""
FIRST: Final = "_first"
"""BOOLEAN: the first row of its record, which `read` counts. Exploded records have more rows; a header has no first."""
HEADER: Final = "_header_line"
"""BOOLEAN: the line is a header of its file, not a record; no column if the reader leaves no header line."""
HEADER_TEXT: Final = "_header"
"""STRING: the line of the file that names the columns of the record; no column if no file has such a line."""
AT: Final = "_at"
"""INT: the exploded element's position in its array, from 0; null, or no column, if nothing is exploded."""
ATTEMPTS: Final = "_attempts"
"""INT: how often a quarantined record was tried before; no column on the first try."""
RENDERED: Final = "_rendered"
"""BOOLEAN: `_raw` is the record as JSON, because its format has no text; no column if every record has a text."""
CONTENT_ID: Final = "_content_id"
"""SHA-256 over a valid candidate's content, if eventIds are given; no column if they are derived from the content."""
SPREAD: Final = "_spread"
"""BIGINT that spreads the rows without a visitor over the partitions."""
BROKEN: Final = "_broken"
"""BIGINT: one bit for each rule that the candidate breaks; 0 for a valid candidate, null for a filtered record."""
EVENT: Final = "_event"
"""STRUCT: the columns of a valid candidate that no session depends on; null for other rows.

They are packed in one column, so that shuffle, sort and windows copy one value instead of many.
"""
REFUSAL: Final = "_refusal"
"""STRUCT: what `quarantine` keeps of a refused record or candidate, packed too; null for other rows."""
SESSION: Final = "_session"
"""The sessionId, given or cut."""
VISIT_SINCE: Final = "_visit_since"
"""BIGINT, microseconds: the visit's first event when the visit was first seen. The ids of its sessions depend on it."""
VISIT_FIRST: Final = "_visit_first"
"""BIGINT, microseconds: the visit's first event as known now; late events can make it earlier."""
FATE: Final = "_fate"
"""What happened to the row: one of `Fate`."""


_TEMPORARY_COLUMNS: Final = {
    "_asked",
    "_elements",
    "_position",
    "_some",
    "_parsed",
    "_again",
    "_matching",
    "_metadata",
    "_corrupt_record",
}
RESERVED: Final = frozenset(
    {RAW, SOURCE_FILE, FAULT, FILTERED, FIRST, HEADER, HEADER_TEXT, AT, ATTEMPTS, RENDERED} | _TEMPORARY_COLUMNS
)
"""Column names that a record may not have, in lower case."""


def quoted(name: str) -> str:
    """Write a column's name as Spark's parser takes it whole: a dot in it is no field of a structure.

    Examples:
        >>> quoted("user.id"), quoted("a`b")
        ('`user.id`', '`a``b`')
    """
    return f"`{name.replace('`', '``')}`"


class Fate:
    """The values of `_fate`. Only VALID can change into another."""

    FILTERED: Final = "filtered"
    QUARANTINED: Final = "quarantined"
    VALID: Final = "valid"
    DUPLICATE: Final = "duplicate"
    EARLIER: Final = "earlier"
    """Not a candidate: an event of the lake, to find repeats of it."""
    CARRIED: Final = "carried"
    """Not a candidate: a visit of an earlier batch, which events can join."""


VISITOR: Final = "_visitor"
"""STRING: the visitor of the row, by `visitor_key` or `salt_key`."""
_SALTS: Final = 4_096
"""Keys of rows without a visitor: so many partitions can share these rows."""


def visitor_key() -> Column:
    """Name the visitor: visitorId, else userId, else the given sessionId.

    Prefixes keep a visitor and a user of the same id apart. A login in mid-session changes nothing, since it adds a
    userId and leaves the visitorId.

    Examples:
        >>> ids = "visitorId STRING, userId STRING, sessionId STRING"
        >>> rows = [("x", "u", None), (None, "x", "s"), (None, None, "x"), (None, None, None)]
        >>> [row[0] for row in spark.createDataFrame(rows, ids).select(visitor_key()).collect()]
        ['v:x', 'u:x', 's:x', None]
    """
    return F.coalesce(
        F.concat(F.lit("v:"), F.col("visitorId")),
        F.concat(F.lit("u:"), F.col("userId")),
        F.concat(F.lit("s:"), F.col("sessionId")),
    )


def salt_key() -> Column:
    """Give rows that are not valid candidates a key that spreads them: one key for all would fill one partition."""
    return F.concat(F.lit("-:"), F.pmod(F.col(SPREAD), F.lit(_SALTS)).cast("string"))
