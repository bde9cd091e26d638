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


def parse_w3c(line: Column, header: Column, source: Source) -> Column:
    """Cut a line and its header: STRUCT<names ARRAY<STRING>, values ARRAY<STRING>>.

    Args:
        line: the values, parted by blanks or tabs, or by the option `sep`; one that holds blanks is in quotation marks.
        header: the names, parted by blanks or tabs; null where the line has none.
        source: the mapping's, for its options.

    Returns:
        The names in lower case and the values, as many; null where they are not.
    """
    separator = source.option("sep")
    names = F.split(F.lower(header), r"[ \t]+").alias("names")
    values = F.split(line, rf"\Q{separator}\E") if separator else F.regexp_extract_all(line, F.lit(_VALUE), F.lit(0))
    return F.when(F.size(names) == F.size(values), F.struct(names, values.alias("values")))


def w3c_columns(parsed: Column, schema: StructType) -> tuple[list[Column], Column]:
    """Take the columns of a schema out of what `parse_w3c` gave, by their names, in any case of letters.

    A column that the header does not name is null, and so is a value `-`.

    Returns:
        The columns, and what is wrong with the line: a reason code, or null.

    Examples:
        >>> rows = [('1 "two 2"', "a B"), ("1 -", "a b"), ("x 1", "a b"), ("1", "a b"), ("1", None)]
        >>> df = spark.createDataFrame(rows, "line STRING, header STRING")
        >>> parsed = df.select(parse_w3c(F.col("line"), F.col("header"), Source("w3c")).alias("parsed"))
        >>> schema = spark.range(0).selectExpr("'x' AS b", "0 AS a").schema
        >>> columns, fault = w3c_columns(F.col("parsed"), schema)
        >>> [tuple(row) for row in parsed.select(*columns, fault).collect()]  # doctest: +NORMALIZE_WHITESPACE
        [('two 2', 1, None), (None, 1, None), ('1', None, 'schema_mismatch'), (None, None, 'malformed_record'),
         (None, None, 'malformed_record')]
    """
    texts = [(_value(parsed, field.name), field.dataType) for field in schema.fields]
    columns = [converted(text, StringType(), kind) for text, kind in texts]
    kept = F.array_min(F.array(*[is_converted(text, StringType(), kind) for text, kind in texts]))
    fault = F.when(parsed.isNull(), F.lit(MALFORMED)).when(~kept, F.lit(MISMATCH))
    return [column.alias(name) for column, name in zip(columns, schema.names, strict=True)], fault


def _value(parsed: Column, name: str) -> Column:
    """Take the value of a name, without its quotation marks; null where there is none."""
    place = F.array_position(parsed["names"], F.lit(name.lower()))
    value = F.when(place > 0, F.get(parsed["values"], (place - 1).cast("int")))
    is_quoted = value.startswith('"') & (F.length(value) > 1)
    inside = F.regexp_extract(value, r'\A"([\s\S]*)"\z', 1)
    bare = F.when(is_quoted, F.replace(inside, F.lit('""'), F.lit('"'))).otherwise(value)
    return F.when(value != _NONE, bare)
