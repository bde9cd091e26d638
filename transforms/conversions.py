"""Converts values of a file's own types to the types of a mapping's schema. Every value that would change is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Final, TypeAlias

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegralType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

_NAN: Final = "NaN"
_WHOLE_NUMBER: Final = r"\A\s*[+-]?\d+(\.0*)?\s*\z"
_LONG_NUMBER: Final = r"\A\s*[+-]?\d{8,38}\s*\z"
_LONGEST_INTEGER: Final = DecimalType(38, 0)
_INFINITE: Final = r"(?i)\A\s*[+-]?inf(inity)?\s*\z"
_BEGINS_WITH_YEAR: Final = r"\A\s*[+-]?\d{4}"
"""Spark adds the date of the run to a time without a date."""
_BEYOND_BIGINT: Final = 2.0**63
_MOST_DIGITS: Final = 17
"""Of a DOUBLE."""
_LARGEST_EXPONENT: Final = 309
"""Of a DOUBLE, and one."""
_SMALLEST_EXPONENT: Final = -6
"""What is smaller, other writers of JSON give an exponent too."""


TextOf: TypeAlias = Callable[[Column, DataType], Column]
"""Writes a single value of a type as text."""


def cast_to_text(value: Column, _kind: DataType) -> Column:
    """Write a single value as Spark's cast does."""
    return value.cast("string")


def converted(value: Column, found: DataType, wanted: DataType, text_of: TextOf = cast_to_text) -> Column:
    """Convert a value, its nested fields by name.

    Args:
        value: of type `found`.
        found: as the file has it.
        wanted: as the schema has it. A field that `found` lacks is null; one that `wanted` lacks is left out.
        text_of: writes single values where `wanted` is STRING; a cast writes some numbers as the version of Java does.

    Returns:
        The value as `wanted`; do not use it where `is_converted` is false. A NaN becomes null in a type without NaN:
        pandas writes NaN where an integer is missing.

    Raises:
        AnalysisException: when evaluated, if Spark casts no value of `found` to `wanted`.

    Examples:
        >>> found, wanted = (spark.range(0).selectExpr(f"CAST(NULL AS {ddl}) AS hit").schema["hit"].dataType
        ...                  for ddl in ("STRUCT<sku: STRING, price: INT>", "STRUCT<Price: STRING, ref: STRING>"))
        >>> spark.sql("SELECT struct('s1' AS sku, 7 AS price) AS hit").select(
        ...     converted(F.col("hit"), found, wanted).alias("hit")).first()
        Row(hit=Row(Price='7', ref=None))
    """
    match found, wanted:
        case StructType(), StructType():
            fields = [
                _convert_field(value, found, name, kind, text_of).alias(name) for name, kind in _list_fields(wanted)
            ]
            return F.when(value.isNotNull(), F.struct(*fields))
        case ArrayType(), ArrayType():
            return F.transform(value, lambda one: converted(one, found.elementType, wanted.elementType, text_of))
        case MapType(), MapType():
            return _convert_map(value, found, wanted, text_of)
        case _:
            return _convert_single(value, found, wanted, text_of)


def is_converted(value: Column, found: DataType, wanted: DataType) -> Column:
    """Whether `converted` keeps the meaning of a value: true or false, never null.

    A fraction that is rounded to the digits of a DECIMAL or FLOAT is kept; one that is cut off is not, nor is a number
    beyond the type's range, an integer beyond the precision of a DOUBLE, a text of another kind, or a time without a
    date.

    Args:
        value: of type `found`.
        found: as the file has it.
        wanted: as the schema has it.

    Examples:
        >>> from pyspark.sql.types import IntegerType
        >>> values = spark.createDataFrame([(1.0,), (1.9,), (1e30,), (float("nan"),), (None,)], "value DOUBLE")
        >>> kept = is_converted(F.col("value"), DoubleType(), IntegerType())
        >>> [row[0] for row in values.select(kept).collect()]
        [True, False, False, True, True]
    """
    match found, wanted:
        case StructType(), StructType():
            names = {name.lower(): (name, kind) for name, kind in _list_fields(found)}
            pairs = [(*names[name.lower()], kind) for name, kind in _list_fields(wanted) if name.lower() in names]
            return _all_hold(is_converted(value.getField(name), has, wants) for name, has, wants in pairs)
        case ArrayType(), ArrayType():
            kept = F.forall(value, lambda one: is_converted(one, found.elementType, wanted.elementType))
            return F.coalesce(kept, F.lit(True))
        case MapType(), MapType():
            values = F.forall(F.map_values(value), lambda one: is_converted(one, found.valueType, wanted.valueType))
            return F.coalesce(values, F.lit(True)) & F.coalesce(
                _has_convertible_keys(value, found, wanted), F.lit(True)
            )
        case _:
            lost = [*_find_losses(value, converted(value, found, wanted), found, wanted)]
            return ~F.coalesce(reduce(lambda one, other: one | other, lost), F.lit(False))


def missing_fields(found: DataType, wanted: DataType) -> list[str]:
    """Name the fields, nested ones with dots, that the schema wants and a file does not have.

    Examples:
        >>> found, wanted = (spark.range(0).selectExpr(f"CAST(NULL AS {ddl}) AS a").schema["a"].dataType
        ...                  for ddl in ("ARRAY<STRUCT<sku: INT>>", "ARRAY<STRUCT<SKU: INT, reff: INT>>"))
        >>> missing_fields(found, wanted)
        ['reff']
    """
    match found, wanted:
        case StructType(), StructType():
            names = {name.lower(): kind for name, kind in _list_fields(found)}
            missing = [name for name, _ in _list_fields(wanted) if name.lower() not in names]
            nested = [
                f"{name}.{below}"
                for name, kind in _list_fields(wanted)
                if name.lower() in names
                for below in missing_fields(names[name.lower()], kind)
            ]
            return [*missing, *nested]
        case ArrayType(), ArrayType():
            return missing_fields(found.elementType, wanted.elementType)
        case MapType(), MapType():
            return missing_fields(found.valueType, wanted.valueType)
        case _:
            return []


def in_letters_of(found: DataType, wanted: DataType) -> DataType:
    """Give a file's type, its nested fields named in the upper and lower case of the schema.

    Examples:
        >>> found, wanted = (spark.range(0).selectExpr(f"CAST(NULL AS {ddl}) AS a").schema["a"].dataType
        ...                  for ddl in ("STRUCT<sku: INT, Ref: INT>", "STRUCT<SKU: STRING>"))
        >>> in_letters_of(found, wanted).simpleString()
        'struct<SKU:int,Ref:int>'
    """
    match found, wanted:
        case StructType(), StructType():
            names = {name.lower(): (name, kind) for name, kind in _list_fields(wanted)}
            pairs = [(has, *names.get(has.name.lower(), (has.name, has.dataType))) for has in found.fields]
            return StructType([StructField(name, in_letters_of(has.dataType, kind)) for has, name, kind in pairs])
        case ArrayType(), ArrayType():
            return ArrayType(in_letters_of(found.elementType, wanted.elementType))
        case MapType(), MapType():
            return MapType(found.keyType, in_letters_of(found.valueType, wanted.valueType))
        case _:
            return found


def _list_fields(struct: StructType) -> list[tuple[str, DataType]]:
    return [(field.name, field.dataType) for field in struct.fields]


def _convert_field(value: Column, found: StructType, name: str, wanted: DataType, text_of: TextOf) -> Column:
    for own, kind in _list_fields(found):
        if own.lower() == name.lower():
            return converted(value.getField(own), kind, wanted, text_of)
    return F.lit(None).cast(wanted)


def _convert_single(value: Column, found: DataType, wanted: DataType, text_of: TextOf) -> Column:
    if isinstance(wanted, StringType):
        text = text_of(value, found)
        if isinstance(found, DoubleType | FloatType):
            return without_exponent(text)
        return F.encode(text, "UTF-8").cast("string")  # bytes that are not UTF-8 become U+FFFD
    if isinstance(found, DoubleType | FloatType) and not isinstance(wanted, DoubleType | FloatType):
        value = F.when(~F.isnan(value), value)
    if isinstance(found, StringType) and isinstance(wanted, IntegralType | DecimalType):
        value = F.when(value != _NAN, value)
    return value.cast(wanted)


def without_exponent(text: Column) -> Column:
    """Write a number as logs do: where Java puts an exponent of 7 or more, or of -6 to -4, it becomes digits.

    Args:
        text: what Java writes for a DOUBLE or FLOAT.

    Examples:
        >>> texts = ["1.2345678E7", "-9.007199254740992E15", "1.23456785E7", "1.5E-5", "1.0E-7", "12.5", "NaN"]
        >>> df = spark.createDataFrame([(text,) for text in texts], "text STRING")
        >>> [row[0] for row in df.select(without_exponent(F.col("text"))).collect()]
        ['12345678.0', '-9007199254740992.0', '12345678.5', '0.000015', '1.0E-7', '12.5', 'NaN']
    """
    unsigned = F.regexp_replace(text, "^-", "")
    mantissa = F.substring_index(unsigned, "E", 1)
    exponent = F.substring_index(text, "E", -1).cast("int")
    # "1.0" has the one digit 1.
    fraction = F.regexp_replace(F.substring_index(mantissa, ".", -1), "^0$", "")
    digits = F.concat(F.substring_index(mantissa, ".", 1), fraction)
    zeros, first = F.lit("0" * _LARGEST_EXPONENT), F.lit(1)
    whole = F.concat(digits, zeros).substr(first, exponent + 1)
    rest = F.concat(digits.substr(exponent + 2, F.lit(_MOST_DIGITS)), F.lit("0"))
    large = F.concat(whole, F.lit("."), F.regexp_replace(rest, "(?<=.)0$", ""))
    small = F.concat(F.lit("0."), zeros.substr(first, -exponent - 1), digits)
    plain = F.when(exponent >= 0, large).when(exponent >= _SMALLEST_EXPONENT, small)
    signed = F.concat(F.when(text.startswith("-"), F.lit("-")).otherwise(""), plain)
    return F.when(text.contains("E"), F.coalesce(signed, text)).otherwise(text)


def _convert_map(value: Column, found: MapType, wanted: MapType, text_of: TextOf) -> Column:
    if found.keyType == wanted.keyType:
        return F.transform_values(value, lambda _, one: converted(one, found.valueType, wanted.valueType, text_of))
    entries = F.transform(
        F.map_entries(value),
        lambda entry: F.struct(
            converted(entry["key"], found.keyType, wanted.keyType, text_of),
            converted(entry["value"], found.valueType, wanted.valueType, text_of),
        ),
    )
    return F.when(_has_convertible_keys(value, found, wanted), F.map_from_entries(entries))


def _has_convertible_keys(value: Column, found: MapType, wanted: MapType) -> Column:
    """Whether each key of a map converts to the wanted type, and no two keys become equal."""
    if found.keyType == wanted.keyType:
        return F.lit(True)
    own = F.map_keys(value)
    keys = F.transform(own, lambda key: converted(key, found.keyType, wanted.keyType))
    kept = F.forall(own, lambda key: is_converted(key, found.keyType, wanted.keyType))
    return kept & F.forall(keys, lambda key: key.isNotNull()) & (F.size(F.array_distinct(keys)) == F.size(keys))


def _find_losses(value: Column, result: Column, found: DataType, wanted: DataType) -> Iterator[Column]:
    """Give the conditions under which a conversion changes the meaning of a single value. A condition can be null."""
    is_fraction = isinstance(found, DoubleType | FloatType)
    is_number = ~F.isnan(value) if is_fraction else value != _NAN if isinstance(found, StringType) else F.lit(True)
    yield is_number & value.isNotNull() & result.isNull()
    match found, wanted:
        case (StringType(), IntegralType()):
            yield is_number & ~value.rlike(_WHOLE_NUMBER)
        case (IntegralType() | DecimalType() | DoubleType() | FloatType(), IntegralType()):
            yield is_number & ~result.cast(found).eqNullSafe(value)
            if is_fraction and isinstance(wanted, LongType):
                yield is_number & (value >= F.lit(_BEYOND_BIGINT))
        case (IntegralType(), DoubleType() | FloatType()):
            yield ~result.cast(found).eqNullSafe(value)
        case (StringType(), DoubleType() | FloatType()):
            yield _is_infinite(result) & ~value.rlike(_INFINITE)
            exact = F.when(value.rlike(_LONG_NUMBER), value.cast(_LONGEST_INTEGER))
            yield exact.isNotNull() & ~result.cast(_LONGEST_INTEGER).eqNullSafe(exact)
        case (DoubleType() | DecimalType(), FloatType()):
            yield _is_infinite(result) & ~_is_infinite(value.cast("double"))
        case (StringType(), DateType() | TimestampType() | TimestampNTZType()):
            yield ~value.rlike(_BEGINS_WITH_YEAR)


def _is_infinite(number: Column) -> Column:
    return F.abs(number) == F.lit(float("inf"))


def _all_hold(conditions: Iterator[Column]) -> Column:
    return reduce(lambda one, other: one & other, conditions, F.lit(True))
