"""The columns of JSON records, as Spark types, from a sample of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DoubleType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
)

_MOST_FIELDS: Final = 60
"""An object of more keys, most of which are rare, is a map."""
_RARE: Final = 0.2
_LONGEST: Final = 2**63
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value of a record.

    Attributes:
        path: names of its column and fields, from the outermost.
        kind: its type.
        values: of the sample, nulls left out.
    """

    path: tuple[str, ...]
    kind: DataType
    values: tuple[Any, ...]

    @property
    def expression(self) -> str:
        """The path as an expression of Spark SQL."""
        return ".".join(map(quote_name, self.path))


def infer_type(values: Sequence[Any]) -> DataType:
    """Find the type that all values fit; STRING, which holds any JSON, if there is no other.

    Examples:
        >>> infer_type([1, 2.5]).simpleString(), infer_type([1, "a"]).simpleString(), infer_type([]).simpleString()
        ('double', 'string', 'string')
        >>> infer_type([{"a": 1}, {"a": 2, "b": [True]}]).simpleString()
        'struct<a:bigint,b:array<boolean>>'
    """
    present = [value for value in values if value is not None]
    kinds = {type(value) for value in present}
    if kinds == {bool}:
        return BooleanType()
    if kinds == {int} and all(-_LONGEST <= value < _LONGEST for value in present):
        return LongType()
    if kinds and kinds <= {int, float}:
        return DoubleType()
    if kinds == {list}:
        return ArrayType(infer_type([one for value in present for one in value]))
    if kinds == {dict}:
        return _infer_object(present)
    return StringType()


def _infer_object(values: Sequence[Mapping[str, Any]]) -> DataType:
    by_key: dict[str, list[Any]] = {}
    for value in values:
        for key, one in value.items():
            by_key.setdefault(key, []).append(one)
    if not by_key:
        return MapType(StringType(), StringType())
    rare = sum(len(found) < _RARE * len(values) for found in by_key.values())
    distinct = {key.lower() for key in by_key}
    if (len(by_key) > _MOST_FIELDS and rare > len(by_key) / 2) or len(distinct) < len(by_key):
        return MapType(StringType(), infer_type([one for found in by_key.values() for one in found]))
    return StructType([StructField(key, infer_type(found)) for key, found in by_key.items()])


def leaves(kind: StructType, records: Sequence[Mapping[str, Any]], above: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """List the single values of records, those in nested objects too, but none of arrays and maps."""
    for field in kind.fields:
        values = tuple(value for record in records if (value := record.get(field.name)) is not None)
        path = (*above, field.name)
        if isinstance(field.dataType, StructType):
            yield from leaves(field.dataType, values, path)
        elif not isinstance(field.dataType, ArrayType | MapType):
            yield Leaf(path, field.dataType, values)


def quote_name(name: str) -> str:
    """Write a name for Spark SQL: in backticks unless it is plain.

    Examples:
        >>> quote_name("user_id"), quote_name("user.id")
        ('user_id', '`user.id`')
    """
    return name if _PLAIN_NAME.fullmatch(name) else f"`{name.replace('`', '``')}`"


def describe_type(kind: DataType) -> str:
    """Write a type as DDL, odd names in backticks.

    Examples:
        >>> describe_type(infer_type([{"a b": 1, "c": ["x"]}]))
        'STRUCT<`a b`: BIGINT, c: ARRAY<STRING>>'
    """
    match kind:
        case StructType():
            return (
                f"STRUCT<{', '.join(f'{quote_name(one.name)}: {describe_type(one.dataType)}' for one in kind.fields)}>"
            )
        case ArrayType():
            return f"ARRAY<{describe_type(kind.elementType)}>"
        case MapType():
            return f"MAP<STRING, {describe_type(kind.valueType)}>"
        case _:
            return kind.simpleString().upper()


def with_texts(kind: StructType, paths: set[tuple[str, ...]]) -> StructType:
    """Declare some single values STRING: ids keep their text then, whatever they look like."""
    fields = []
    for field in kind.fields:
        below = {path[1:] for path in paths if path[0] == field.name}
        inner = field.dataType
        if () in below:
            inner = StringType()
        elif isinstance(inner, StructType) and below:
            inner = with_texts(inner, below)
        fields.append(StructField(field.name, inner))
    return StructType(fields)
