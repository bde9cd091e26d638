"""From parsed records to candidates-to-be: what is filtered, what is exploded, what cannot go on.

Every row keeps its fate with it, so that each record read can be counted once, wherever it ends.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from transforms.bookkeeping import ELEMENT, FAULT, FILTERED, FIRST, RAW
from transforms.expressions import guarded
from transforms.mapping import EventMapping

EXPLODE_NULL = "explode_null"


def is_blank(text: Column) -> Column:
    """Whether a line holds nothing but white space: such a line is filtered, whatever the format.

    Examples:
        >>> df = spark.createDataFrame([("",), (" \\t",), ("{}",)], "line STRING")
        >>> [row[0] for row in df.select(is_blank(F.col("line"))).collect()]
        [True, True, False]
    """
    return text.rlike(r"\A\s*\z")


def select_records(records: DataFrame, mapping: EventMapping) -> DataFrame:
    """Apply `[record]`: mark what is filtered, and explode what is kept.

    Args:
        records: a record's columns, `_raw`, `_source_file` and `_fault` (a reason code, or null).
        mapping: its `where` and `explode`.

    Returns:
        The same columns, `_filtered` and `_first` BOOLEAN and, where the mapping explodes, `element`: one row a
        candidate, and one for each record that has none.
    """
    filtered = is_blank(F.col(RAW))
    if mapping.where is not None:
        kept = F.coalesce(guarded(mapping.where), F.lit(False))
        filtered = filtered | (F.col(FAULT).isNull() & ~kept)
    marked = records.withColumn(FILTERED, filtered)
    return _exploded(marked, guarded(mapping.explode)) if mapping.explode else marked.withColumn(FIRST, F.lit(True))


def _exploded(records: DataFrame, elements: Column) -> DataFrame:
    goes_on = F.col(FAULT).isNull() & ~F.col(FILTERED)
    none = F.when(F.lit(False), elements)[0]  # a null of the element's type
    listed = records.withColumn("_elements", F.when(goes_on, elements))
    empty = F.size("_elements") == 0  # size of null is null or -1, never 0
    exploded = listed.select(
        *[F.col(name) for name in records.columns if name not in (FAULT, FILTERED)],
        F.when(goes_on & F.col("_elements").isNull(), F.lit(EXPLODE_NULL)).otherwise(F.col(FAULT)).alias(FAULT),
        (F.col(FILTERED) | F.coalesce(empty, F.lit(False))).alias(FILTERED),
        F.posexplode(F.when(F.size("_elements") > 0, F.col("_elements")).otherwise(F.array(none))).alias(
            "_position", ELEMENT
        ),
    )
    return exploded.withColumn(FIRST, F.col("_position") == 0).drop("_position")
