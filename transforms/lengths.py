"""Classes of sessions by their length, so that how long they are is told in few numbers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F

SIZE_BOUNDS: Final = (1, 2, 5, 10, 20, 50, 100, 1_000)
"""Events a session: the most that each class holds; one more class has no bound. A request holds 10."""
DURATION_BOUNDS: Final = (0, 10, 60, 300, 900, 1_800, 3_600, 7_200, 21_600, 86_400)
"""Seconds from a session's first event to its last, likewise."""


def size_class(events: Column) -> Column:
    """Give the place of a session's class in SIZE_BOUNDS, from 0.

    Examples:
        >>> df = spark.createDataFrame([(1,), (2,), (5,), (6,), (1001,)], "events BIGINT")
        >>> [row[0] for row in df.select(size_class(F.col("events"))).collect()]
        [0, 1, 2, 3, 8]
    """
    return _class(events, SIZE_BOUNDS)


def duration_class(micros: Column) -> Column:
    """Give the place of a session's class in DURATION_BOUNDS, from 0."""
    return _class(micros, [bound * 1_000_000 for bound in DURATION_BOUNDS])


def _class(value: Column, bounds: Sequence[int]) -> Column:
    """Count the bounds that a value passes."""
    return reduce(lambda place, bound: place + (value > bound).cast("int"), bounds, F.lit(0))
