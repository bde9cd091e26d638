"""The columns that travel with a record beside its own, and the key of a visitor."""

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
"""Reason code of a record that could not go on to mapping, or null."""
FILTERED: Final = "_filtered"
"""BOOLEAN: the record is no interaction."""
FIRST: Final = "_first"
"""BOOLEAN: the record's first row; exploded records have more, and `read` counts records. Header lines have none."""
HEADER: Final = "_header_line"
"""BOOLEAN: the line is a header of its file, and no record; no column where the reader left none."""
AT: Final = "_at"
"""INT: the exploded element's place in its array, from 0; null, or no column at all, where nothing is exploded."""
ATTEMPTS: Final = "_attempts"
"""INT: how often a quarantined record was tried before; no column at first."""
RENDERED: Final = "_rendered"
"""BOOLEAN: `_raw` is the record rendered as JSON, since it has no text of its own; no column where all have one."""
CONTENT_ID: Final = "_content_id"
"""SHA-256 over a valid candidate's content, where eventIds are given; no column where they are derived from it."""
SPREAD: Final = "_spread"
"""BIGINT that spreads rows over the partitions which belong to no visitor."""
BROKEN: Final = "_broken"
"""BIGINT: a bit for each rule that the candidate breaks; 0 where it breaks none, null where the record is filtered."""
EVENT: Final = "_event"
"""STRUCT: the columns of a valid candidate that sessions are not cut by; null for other rows.

They travel in one, so that shuffle, sort and windows pass them on whole instead of one by one.
"""
REFUSAL: Final = "_refusal"
"""STRUCT: what `quarantine` keeps of a refused record or candidate, in one likewise; null for other rows."""
SESSION: Final = "_session"
"""The sessionId, given or cut."""
VISIT_SINCE: Final = "_visit_since"
"""BIGINT, microseconds: the first event of the visit when it was first seen; its sessions are named by it."""
VISIT_FIRST: Final = "_visit_first"
"""BIGINT, microseconds: the first event of the visit as it is known now; earlier, where events came late."""
FATE: Final = "_fate"
"""What became of the row: one of `Fate`."""


_PASSING: Final = {"_asked", "_elements", "_position", "_some", "_parsed", "_metadata", "_corrupt_record"}
RESERVED: Final = frozenset({RAW, SOURCE_FILE, FAULT, FILTERED, FIRST, HEADER, AT, ATTEMPTS, RENDERED} | _PASSING)
"""Column names that a record may not bear, lower-cased."""


def quoted(name: str) -> str:
    """Write a column's name as Spark's parser takes it whole: a dot in it is no field of a structure.

    Examples:
        >>> quoted("user.id"), quoted("a`b")
        ('`user.id`', '`a``b`')
    """
    return f"`{name.replace('`', '``')}`"


class Fate:
    """The values of `_fate`. VALID is the only one that another may follow."""

    FILTERED: Final = "filtered"
    QUARANTINED: Final = "quarantined"
    VALID: Final = "valid"
    DUPLICATE: Final = "duplicate"
    EARLIER: Final = "earlier"
    """No candidate: an event that is there already, to find repeats of it."""
    CARRIED: Final = "carried"
    """No candidate: a visit of an earlier batch, to be joined."""


VISITOR: Final = "_visitor"
"""STRING: whose row it is, by `visitor_key` or `salt_key`."""
_NOBODIES: Final = 4_096
"""So many partitions can share the rows that belong to nobody; more keys than that would only make more groups."""


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
    """Rows that are no valid candidates belong to nobody, and must not meet in one partition, however alike."""
    return F.concat(F.lit("-:"), F.pmod(F.col(SPREAD), F.lit(_NOBODIES)).cast("string"))
