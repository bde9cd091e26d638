"""Logs in the W3C extended format: lines of values, whose names the last `#Fields:` line above them has."""

from __future__ import annotations

from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructType

from transforms.conversions import converted, is_converted
from transforms.mapping.model import Source
from transforms.parsing import MALFORMED, MISMATCH

_FIELDS: Final = r"(?m)^\x{FEFF}?#Fields:[ \t]*"
_FIRST_LINE: Final = r"\A([^\r\n]*)(?:\r\n|\r|\n)?"
_VALUE: Final = r'"(?:[^"]|"")*+"|[^ \t]++'
_NONE: Final = "-"


def w3c_chunks(text: Column) -> Column:
    r"""Cut the text of a file at its `#Fields:` lines: ARRAY<STRUCT<header STRING, lines STRING>>.

    `header` is null for lines above the first of them.

    Examples:
        >>> df = spark.createDataFrame([("#Version: 1.0\n#Fields: a b\n1 2\n#Fields: b\n3\n",)], "text STRING")
        >>> [tuple(chunk) for chunk in df.select(w3c_chunks(F.col("text"))).first()[0]]
        [(None, '#Version: 1.0\n'), ('a b', '1 2\n'), ('b', '3\n')]
    """
    return F.transform(
        F.split(text, _FIELDS),
        lambda chunk, place: F.struct(
            F.when(place > 0, F.trim(F.regexp_extract(chunk, _FIRST_LINE, 1))).alias("header"),
            F.when(place > 0, F.regexp_replace(chunk, _FIRST_LINE, "")).otherwise(chunk).alias("lines"),
        ),
    )


def parse_w3c(line: Column, header: Column, schema: StructType, source: Source) -> Column:
    """Parse a line by the names of its header, in any case of letters.

    Args:
        line: the values, parted by blanks or tabs, or by the option `sep`; one that holds blanks is in quotation marks.
        header: the names, parted by blanks or tabs; null where the line has none.
        schema: the mapping's. A column that the header does not name is null, and so is a value `-`.
        source: the mapping's, for its options.

    Returns:
        STRUCT of the schema's columns and `_fault`, a reason code or null.

    Examples:
        >>> rows = [('1 "two 2"', "a B"), ("1 -", "a b"), ("1", "a b"), ("1", None)]
        >>> df = spark.createDataFrame(rows, "line STRING, header STRING")
        >>> schema = spark.range(0).selectExpr("'x' AS b", "0 AS a").schema
        >>> parsed = parse_w3c(F.col("line"), F.col("header"), schema, Source("w3c"))
        >>> [tuple(row[0]) for row in df.select(parsed).collect()]
        [('two 2', 1, None), (None, 1, None), (None, None, 'malformed_record'), (None, None, 'malformed_record')]
    """
    separator = source.option("sep")
    names = F.split(F.lower(header), r"[ \t]+")
    values = F.split(line, rf"\Q{separator}\E") if separator else F.regexp_extract_all(line, F.lit(_VALUE), F.lit(0))
    is_whole = F.coalesce(F.size(names) == F.size(values), F.lit(False))
    texts = {
        field.name: F.when(is_whole, _value(values, F.array_position(names, F.lit(field.name.lower()))))
        for field in schema.fields
    }
    kinds = {field.name: field.dataType for field in schema.fields}
    columns = [converted(text, StringType(), kinds[name]).alias(name) for name, text in texts.items()]
    kept = F.array_min(F.array(*[is_converted(text, StringType(), kinds[name]) for name, text in texts.items()]))
    fault = F.when(~is_whole, F.lit(MALFORMED)).when(~kept, F.lit(MISMATCH))
    return F.struct(*columns, fault.alias("_fault"))


def w3c_fault(parsed: Column) -> Column:
    """Give what `parse_w3c` found wrong with a line."""
    return parsed["_fault"]


def _value(values: Column, place: Column) -> Column:
    """Take the value at a place, from 1; 0 is the place of a name that the header does not have."""
    value = F.when(place > 0, F.get(values, (place - 1).cast("int")))
    is_quoted = value.startswith('"') & (F.length(value) > 1)
    inside = F.regexp_extract(value, r'\A"([\s\S]*)"\z', 1)
    bare = F.when(is_quoted, F.replace(inside, F.lit('""'), F.lit('"'))).otherwise(value)
    return F.when(value != _NONE, bare)
