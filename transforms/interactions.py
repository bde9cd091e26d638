"""Events as the rows of a bulk import: the interactions dataset's CSV."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

FIXED: Final = {
    "USER_ID": "userId",
    "ITEM_ID": "itemId",
    "TIMESTAMP": "unix_seconds(sentAt)",
    "EVENT_TYPE": "eventType",
    "EVENT_VALUE": "eventValue",
}
"""The columns that every import has, from the `events` table's."""


def name_users(events: DataFrame) -> DataFrame:
    """Give anonymous events the user of their session, as the service does when a session's user is known.

    The next user that the session names after an event, else the last one before it.
    """
    in_session = Window.partitionBy("sessionId").orderBy("sentAt", "eventId")
    later = F.first("userId", ignorenulls=True).over(in_session.rowsBetween(0, Window.unboundedFollowing))
    earlier = F.last("userId", ignorenulls=True).over(in_session.rowsBetween(Window.unboundedPreceding, 0))
    return events.withColumn("userId", F.coalesce(later, earlier))


def interactions(events: DataFrame, columns: Mapping[str, Column]) -> DataFrame:
    """Write events as rows of the interactions dataset.

    Args:
        events: the `events` table's columns, each with userId and itemId.
        columns: beside the fixed ones, by name: see `columns_of`.

    Returns:
        USER_ID, ITEM_ID, TIMESTAMP (whole seconds of Unix time), EVENT_TYPE, EVENT_VALUE, and these.
    """
    fixed = (F.expr(text).alias(name) for name, text in FIXED.items())
    return events.select(*fixed, *(column.alias(name) for name, column in columns.items()))


def columns_of(keys: Sequence[str], *, impressions: bool) -> dict[str, Column]:
    """Make columns of properties, and one of impressions, their items parted by `|`, where there are some.

    A property that bears the name of a fixed column gives way to it; of two that come to one name the first stays.

    Examples:
        >>> list(columns_of(["device", "numberOfRatings", "itemId"], impressions=True))
        ['IMPRESSION', 'DEVICE', 'NUMBER_OF_RATINGS']
    """
    shown = {"IMPRESSION": F.array_join("impression", "|")} if impressions else {}
    named = {column_name(key): F.col("properties").getItem(key) for key in reversed(keys)}
    return shown | {name: named[name] for name in sorted(named) if name not in FIXED}


def column_name(key: str) -> str:
    """Name the dataset's column of a property.

    Examples:
        >>> column_name("numberOfRatings"), column_name("device"), column_name("page2Url")
        ('NUMBER_OF_RATINGS', 'DEVICE', 'PAGE2_URL')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).upper()
