"""Texts that are JSON: the values that a text holds, and numbers as the text writes them.

Spark's parser gives a number that is declared STRING as Java would write it: `12345678.0` becomes `1.2345678E7`. So a
text in which that may have happened is parsed a second time, with each of its numbers in marks that no log can hold:
they are strings then, which the parser leaves alone.
"""

from __future__ import annotations

import secrets
from functools import reduce
from typing import Final

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, DataType, MapType, StringType, StructField, StructType

_BEGIN: Final = secrets.token_hex(8)
"""These marks are drawn when the module is loaded. No result depends on their values."""
_END: Final = secrets.token_hex(8)
_OUTSIDE: Final = r"""(?:[^"'0-9-]++|"(?:[^"\\]++|\\[\s\S])*+"|'(?:[^'\\]++|\\[\s\S])*+')*+"""
"""Whatever is no number: strings, which are passed over whole, and what stands between values."""
_NUMBER: Final = rf"\G({_OUTSIDE})(-?[0-9][0-9.eE+-]*+)"
_REWRITTEN: Final = r'\A(?:-?\d+\.\d+(?:E-?\d+)?|"-?Infinity")\z'
"""What Java writes for a number that has a fraction or an exponent."""
_HOLDS_NUMBER: Final = r"\d[.E]"
"""Somewhere in a nested value, such a number."""
_GAP: Final = r"\G((?:[^\"'}]++|\"(?:[^\"\\]++|\\[\s\S])*+\"|'(?:[^'\\]++|\\[\s\S])*+'|}(?!\s*\{))*+)}\s*+(?=\{)"
"""The end of one object, directly before the next: only between values does no comma stand there."""


def mark_numbers(text: Column) -> Column:
    """Put each number of a JSON text into a string, in marks that `unmarked` takes away.

    Examples:
        >>> df = spark.createDataFrame([('{"id": 1.50, "say": "1.50"}',)], "text STRING")
        >>> parsed = F.from_json(mark_numbers(F.col("text")), "id STRING, say STRING")
        >>> df.select(*[unmarked(parsed[name]).alias(name) for name in ("id", "say")]).first()
        Row(id='1.50', say='1.50')
    """
    return F.regexp_replace(text, _NUMBER, f'$1"{_BEGIN}$2{_END}"')


def unmarked(text: Column) -> Column:
    """Give a number back as it was written; in a text that is JSON, without the quotation marks that were put there."""
    for mark in (f'"{_BEGIN}', f'{_END}"', _BEGIN, _END):
        text = F.replace(text, F.lit(mark))
    return text


def has_text(kind: DataType) -> bool:
    """Tell whether a type has a STRING in it, beside the keys of maps."""
    match kind:
        case StructType():
            return any(has_text(inner) for _, inner in _fields(kind))
        case ArrayType():
            return has_text(kind.elementType)
        case MapType():
            return has_text(kind.valueType)
        case _:
            return isinstance(kind, StringType)


def may_be_rewritten(value: Column, kind: DataType) -> Column:
    """Tell whether the parser may have written a number anew somewhere in a value: true or false, never null.

    Args:
        value: as Spark's parser of JSON gives it.
        kind: its type.
    """
    if not has_text(kind):
        return F.lit(False)
    match kind:
        case StructType():
            texts = [(name, inner) for name, inner in _fields(kind) if has_text(inner)]
            found = [may_be_rewritten(value.getField(name), inner) for name, inner in texts]
            return reduce(lambda one, other: one | other, found)
        case ArrayType():
            found_in = F.exists(value, lambda one: may_be_rewritten(one, kind.elementType))
        case MapType():
            found_in = F.exists(F.map_values(value), lambda one: may_be_rewritten(one, kind.valueType))
        case _:
            # Few texts begin as a number or a nested value does: the others need no regular expression.
            is_nested = value.startswith("{") | value.startswith("[")
            found_in = (value < ":") & value.rlike(_REWRITTEN) | is_nested & value.rlike(_HOLDS_NUMBER)
    return F.coalesce(found_in, F.lit(False))


def with_numbers_as_written(value: Column, marked: Column, kind: DataType) -> Column:
    """Take the texts of a value from a second parse, whose numbers were marked.

    Args:
        value: of the first parse.
        marked: the same value of the second one, whose type is `as_texts(kind)`.
        kind: the value's type.
    """
    match kind:
        case StringType():
            return unmarked(marked)
        case StructType():
            fields = [
                with_numbers_as_written(value.getField(name), marked.getField(name), inner).alias(name)
                for name, inner in _fields(kind)
            ]
            return F.when(value.isNotNull(), F.struct(*fields))
        case ArrayType():
            return F.zip_with(value, marked, lambda one, other: with_numbers_as_written(one, other, kind.elementType))
        case MapType():
            return F.map_zip_with(
                value, marked, lambda _, one, other: with_numbers_as_written(one, other, kind.valueType)
            )
        case _:
            return value


def as_texts(kind: DataType) -> DataType:
    """Give a type with STRING for each single value in it; BINARY stays, which JSON holds in base64."""
    match kind:
        case StructType():
            return StructType([StructField(name, as_texts(inner)) for name, inner in _fields(kind)])
        case ArrayType():
            return ArrayType(as_texts(kind.elementType))
        case MapType():
            return MapType(StringType(), as_texts(kind.valueType))
        case _:
            return kind if isinstance(kind, BinaryType) else StringType()


def split_objects(text: Column) -> Column:
    r"""Cut a text at each place where one object ends and the next begins, with or without white space between them.

    Examples:
        >>> df = spark.createDataFrame([('{"a":"}{"}{"a":{"b":2}}\n\n{"a":[{},{}]}\n',)], "text STRING")
        >>> df.select(split_objects(F.col("text"))).first()[0]
        ['{"a":"}{"}', '{"a":{"b":2}}', '{"a":[{},{}]}\n']
    """
    return F.split(F.regexp_replace(text, _GAP, f"$1}}{_BEGIN}"), _BEGIN)


def _fields(struct: StructType) -> list[tuple[str, DataType]]:
    return [(field.name, field.dataType) for field in struct.fields]
