"""Whose events belong together."""

from __future__ import annotations

from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

from transforms.bookkeeping import SPREAD

VISITOR: Final = "_visitor"
"""STRING: whose row it is, by `visitor_key` or `nobody`."""
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


def nobody() -> Column:
    """Rows that are no valid candidates belong to nobody, and must not meet in one partition, however alike."""
    return F.concat(F.lit("-:"), F.pmod(F.col(SPREAD), F.lit(_NOBODIES)).cast("string"))
