"""From parsed records to candidates-to-be: what is filtered, what is exploded, what cannot go on.

Every row keeps its fate with it, so that each record read can be counted once, wherever it ends.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from transforms.columns import AT, ELEMENT, FAULT, FILTERED, FIRST, HEADER, RAW, quoted
from transforms.mapping.expressions import SparkExpressions, guarded
from transforms.mapping.model import EventMapping

EXPLODE_NULL = "explode_null"


def is_blank(text: Column) -> Column:
    """Whether a line holds nothing but white space: such a line is filtered, whatever the format.

    Examples:
        >>> df = spark.createDataFrame([("",), (" \\t",), ("{}",)], "line STRING")
        >>> [row[0] for row in df.select(is_blank(F.col("line"))).collect()]
        [True, True, False]
    """
    # What is white begins no later than a space, and is empty or one of few: the others need no regular expression.
    return (text < "!") & text.rlike(r"\A\s*\z")


def select_records(records: DataFrame, mapping: EventMapping, expressions: SparkExpressions) -> DataFrame:
    """Apply `[record]`: mark what is filtered, and explode what is kept.

    Args:
        records: a record's columns, `_raw`, `_source_file` and `_fault` (a reason code, or null). Where there is a
            column `_at`, it names the one element of the record that is asked for; null stands for all. Where there is
            a column `_header_line`, it marks lines that are no records: they are filtered, and none is `_first`.
        mapping: its `where` and `explode`.
        expressions: build them.

    Returns:
        The same columns, `_filtered` and `_first` BOOLEAN and, where the mapping explodes, `element` and its place
        `_at`: one row a candidate, and one for each record that has none.
    """
    filtered = is_blank(F.col(RAW))
    if mapping.where is not None:
        kept = F.coalesce(guarded(mapping.where, expressions), F.lit(False))
        filtered = filtered | (F.col(FAULT).isNull() & ~kept)
    header = F.col(HEADER) if HEADER in records.columns else F.lit(False)
    marked = records.withColumns({FILTERED: filtered | header, FIRST: ~header}).drop(HEADER)
    if mapping.explode is None:
        return marked.drop(AT)
    return _exploded(marked, guarded(mapping.explode, expressions))


def _exploded(records: DataFrame, elements: Column) -> DataFrame:
    goes_on = F.col(FAULT).isNull() & ~F.col(FILTERED)
    none = F.when(F.lit(False), elements)[0]  # a null of the element's type
    asked = F.col(AT) if AT in records.columns else F.lit(None).cast("int")
    one_or_all = F.when(asked.isNull(), elements).otherwise(F.slice(elements, asked + 1, 1))
    listed = records.withColumn("_elements", F.when(goes_on, one_or_all))
    empty = F.coalesce(F.size("_elements") == 0, F.lit(False))  # size of null is null or -1, never 0
    gone = goes_on & (F.col("_elements").isNull() | (empty & asked.isNotNull()))
    exploded = listed.select(
        *[F.col(quoted(name)) for name in records.columns if name not in (AT, FAULT, FILTERED)],
        F.when(gone, F.lit(EXPLODE_NULL)).otherwise(F.col(FAULT)).alias(FAULT),
        (F.col(FILTERED) | (empty & ~gone)).alias(FILTERED),
        asked.alias("_asked"),
        (F.size("_elements") > 0).alias("_some"),
        F.posexplode(F.when(F.size("_elements") > 0, F.col("_elements")).otherwise(F.array(none))).alias(
            "_position", ELEMENT
        ),
    )
    place = F.coalesce("_asked", F.when(F.col("_some"), F.col("_position")))
    first = F.col(FIRST) & (F.col("_position") == 0)
    return exploded.withColumns({FIRST: first, AT: place}).drop("_position", "_asked", "_some")
