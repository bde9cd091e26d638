"""Events as the rows of a bulk import: the interactions dataset's CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from transforms.wire import write_plain_number

FIXED: Final = ("USER_ID", "ITEM_ID", "TIMESTAMP", "EVENT_TYPE", "EVENT_VALUE")
"""The columns that every import has."""
SEPARATOR: Final = "|"
"""Separates the items of an impression. It cannot be escaped."""
_IMPRESSION: Final = "IMPRESSION"


def name_users(events: DataFrame, others: DataFrame) -> DataFrame:
    """Give anonymous events the user of their session, as the service does when a session's user is known.

    An event gets the next user that its session has after it, otherwise the last one before it.

    Args:
        events: the `events` table's columns, and any others.
        others: events that may name users too, by the table's columns; they are not among the rows returned.
    """
    witnesses = others.where("userId IS NOT NULL").select("userId", "sessionId", "sentAt", "eventId")
    mine, theirs = events.withColumn("_asked", F.lit(True)), witnesses.withColumn("_asked", F.lit(False))
    # Two batches can hold one given eventId with different users: the order of rows must not decide.
    in_session = Window.partitionBy("sessionId").orderBy("sentAt", "eventId", "userId")
    later = F.first("userId", ignorenulls=True).over(in_session.rowsBetween(0, Window.unboundedFollowing))
    earlier = F.last("userId", ignorenulls=True).over(in_session.rowsBetween(Window.unboundedPreceding, 0))
    named = mine.unionByName(theirs, allowMissingColumns=True).withColumn("userId", F.coalesce(later, earlier))
    return named.where("_asked").drop("_asked")


def interactions(events: DataFrame, columns: Mapping[str, Column]) -> DataFrame:
    """Write events as rows of the interactions dataset.

    Args:
        events: the `events` table's columns, each with userId and itemId.
        columns: the further columns, by name: see `columns_of`.

    Returns:
        USER_ID, ITEM_ID, TIMESTAMP (whole seconds of Unix time), EVENT_TYPE, EVENT_VALUE (without an exponent), then
        `columns`.
    """
    seconds = F.unix_seconds("sentAt")
    values = (F.col("userId"), F.col("itemId"), seconds, F.col("eventType"), write_plain_number(F.col("eventValue")))
    fixed = (value.alias(name) for name, value in zip(FIXED, values, strict=True))
    return events.select(*fixed, *(column.alias(name) for name, column in columns.items()))


def has_separator() -> Column:
    """Whether an item id of the impression holds the separator: an import would read two ids."""
    return F.coalesce(F.exists("impression", lambda item: item.contains(SEPARATOR)), F.lit(False))


def columns_of(keys: Iterable[str], *, impressions: bool) -> dict[str, Column]:
    """Make a column for each property, and one for impressions, with their items separated by `|`.

    Keys with the same column name share a column: it holds the value of the first of these keys that an event has.
    The keys of `find_clashing_keys` have no column.
    """
    shown = {_IMPRESSION: F.array_join("impression", SEPARATOR)} if impressions else {}
    sharing: dict[str, list[Column]] = {}
    for key in sorted(keys):
        sharing.setdefault(column_name(key), []).append(F.col("properties").getItem(key))
    return shown | {name: F.coalesce(*sharing[name]) for name in sorted(sharing) if not _is_reserved_column(name)}


def find_clashing_keys(keys: Iterable[str]) -> tuple[str, ...]:
    """Choose the property keys with the name of another column.

    Examples:
        >>> find_clashing_keys(["eventValue", "device", "itemId", "impression"])
        ('eventValue', 'impression', 'itemId')
    """
    return tuple(key for key in sorted(keys) if _is_reserved_column(column_name(key)))


def column_name(key: str) -> str:
    """Name the dataset's column of a property.

    Examples:
        >>> column_name("numberOfRatings"), column_name("device"), column_name("page2Url")
        ('NUMBER_OF_RATINGS', 'DEVICE', 'PAGE2_URL')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).upper()


def _is_reserved_column(name: str) -> bool:
    return name in FIXED or name == _IMPRESSION
