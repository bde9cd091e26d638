"""The faults of a mapping that only Spark can see: schema, patterns and expressions, before any data is read."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from pyspark.errors import DateTimeException, IllegalArgumentException, PySparkException, SparkUpgradeException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    MapType,
    NullType,
    NumericType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from jobs.spark_internals.catalyst import (
    fold_constants,
    functions_of,
    has_star,
    has_time_word,
    is_row_by_row,
    parse,
    parse_ddl,
    uses_columns_alone,
)
from jobs.spark_internals.context import count_pattern_groups, reader_options
from jobs.spark_internals.errors import SPARK_ERRORS, JavaError, in_words
from transforms.columns import ELEMENT, RAW, RESERVED
from transforms.mapping.expressions import ALLOWED
from transforms.mapping.model import OWN_OPTIONS, TABLE_FORMATS, ConfigFault, EventMapping, Source
from transforms.mapping.named_groups import named_groups
from transforms.parsing import LinePattern, group_names, parse_csv

_OPTIONS_OF_OTHERS: Final = frozenset({"avro", *TABLE_FORMATS})
"""Formats whose readers are packages of others, and list their options nowhere."""
_ONE_VALUE = "must give one value for each record: aggregates, windows and generators do not belong here"
_SAME_VALUE = (
    "must give the same value in every run: remove what reads the clock, a random number or the path of the file"
)
_STAR = "must name the columns that it uses: * includes those that the job adds"
_TIME_WORD = "must give the same value in every run: write the time in digits instead of a word such as now or today"


@dataclass(frozen=True, slots=True)
class ExpectedType:
    """The type an expression must have: `fits` judges, `words` tell it."""

    words: str
    fits: Callable[[DataType], bool]


def _is_impression(kind: DataType) -> bool:
    return isinstance(kind, ArrayType) and isinstance(kind.elementType, StringType)


TEXT = ExpectedType("STRING: write CAST(... AS STRING)", lambda kind: isinstance(kind, StringType))
TIME = ExpectedType(
    "TIMESTAMP: write timestamp_millis(...), timestamp_seconds(...) or to_timestamp(..., 'pattern')",
    lambda kind: isinstance(kind, TimestampType),
)
NUMBER = ExpectedType("a number: write CAST(... AS DOUBLE)", lambda kind: isinstance(kind, NumericType))
ITEMS = ExpectedType("ARRAY<STRING>: write split(...) or transform(..., x -> CAST(x AS STRING))", _is_impression)
TRUTH = ExpectedType("BOOLEAN", lambda kind: isinstance(kind, BooleanType))
LIST = ExpectedType("an ARRAY", lambda kind: isinstance(kind, ArrayType))
PLAIN = ExpectedType(
    "a plain value: write to_json(...) for a whole structure",
    lambda kind: not isinstance(kind, ArrayType | MapType | StructType),
)
_FIELD_TYPES = {"sentAt": TIME, "eventValue": NUMBER, "impression": ITEMS}


def check_mapping(mapping: EventMapping, spark: SparkSession) -> list[ConfigFault]:
    """Find every fault in a mapping's schema, pattern and expressions.

    Args:
        mapping: what `reader` could read; keys that it refused are left out.
        spark: used to parse and analyse; no data is read and no job is run.
    """
    return list(_Checker(mapping, spark).faults())


def record_schema(mapping: EventMapping, spark: SparkSession) -> StructType:
    """Resolve the columns of a raw record, without `_raw`.

    Raises:
        PySparkException: the DDL does not parse.
        ValueError: a pattern is no regular expression.
    """
    source = mapping.source
    if source.format == "text":
        return StructType([StructField(name, StringType()) for name in group_names(line_patterns(source, spark))])
    kind = parse_ddl(source.schema or "")  # a lone type is one column, as it is to createDataFrame
    return kind if isinstance(kind, StructType) else StructType([StructField("value", kind)])


def partition_schema(source: Source) -> StructType:
    """Resolve the columns that only the folders above a file hold.

    Raises:
        PySparkException: the DDL does not parse.
    """
    if source.partitions is None:
        return StructType([])
    kind = parse_ddl(source.partitions)
    return kind if isinstance(kind, StructType) else StructType([StructField("value", kind)])


def line_patterns(source: Source, spark: SparkSession) -> list[LinePattern]:
    """Number the named groups of a mapping's patterns; none where there is no pattern.

    Raises:
        ValueError: one is no regular expression.
    """
    return [*_number_groups(source, spark)]


def _number_groups(source: Source, spark: SparkSession) -> Iterator[LinePattern]:
    for place, pattern in enumerate(source.line_patterns, start=1):
        try:
            yield LinePattern(pattern, named_groups(pattern, count_pattern_groups(spark, pattern)))
        except ValueError as error:
            raise ValueError(f"number {place} {error}" if source.patterns else str(error)) from None


class _TypedExpression(NamedTuple):
    """An expression of one value a record, of the type that it must have."""

    table: str
    key: str
    text: str


class _Checker:
    def __init__(self, mapping: EventMapping, spark: SparkSession) -> None:
        self._mapping = mapping
        self._spark = spark
        self._sound: dict[DataFrame, list[_TypedExpression]] = {}

    def faults(self) -> Iterator[ConfigFault]:
        source_faults = list(self._source_faults())
        yield from source_faults
        record = None if source_faults else self._empty_records()
        where, explode = self._mapping.where, self._mapping.explode
        if where is not None:
            yield from self._expression("record", "where", where, record, TRUTH)
        element, explode_faults = record, []
        if explode is not None:
            explode_faults = list(self._expression("record", "explode", explode, record, LIST))
            element = None if explode_faults or record is None else _with_element(record, explode)
        yield from explode_faults
        for name, text in self._mapping.event.items():
            yield from self._expression("event", name, text, element or _unless_exploded(record, text), _kind(name))
        for key, text in self._mapping.properties.items():
            yield from self._expression("event.properties", key, text, element or _unless_exploded(record, text), PLAIN)
        yield from self._constant_faults()

    def _source_faults(self) -> Iterator[ConfigFault]:
        source = self._mapping.source
        partition_faults = list(self._partition_faults())
        yield from partition_faults
        yield from self._unknown_options()
        if source.schema is None and not source.line_patterns:
            return
        key = "patterns" if source.patterns else "pattern" if source.pattern else "schema"
        try:
            names = [name.lower() for name in record_schema(self._mapping, self._spark).names]
        except PySparkException as error:
            yield self._mapping.fault("source", key, in_words(error))
            return
        except ValueError as error:
            yield self._mapping.fault("source", key, str(error))
            return
        yield from self._name_faults(key, names)
        if not partition_faults:
            for name in partition_schema(source).names:
                if name.lower() in names:
                    problem = f"names the column {name}, which {key} has too: take it out of one of them"
                    yield self._mapping.fault("source", "partitions", problem)
        yield from self._optional_faults(names)
        if source.format in ("csv", "w3c"):
            nested = [
                field.name for field in record_schema(self._mapping, self._spark) if not PLAIN.fits(field.dataType)
            ]
            for name in nested:
                yield self._mapping.fault("source", key, f"{name} is not a plain type: a CSV column has one value")
            yield from () if nested or source.format == "w3c" else self._option_faults()

    def _unknown_options(self) -> Iterator[ConfigFault]:
        """Find misspelt options: Spark's readers ignore those that they do not know. Hadoop's own have dots."""
        source = self._mapping.source
        given = [key for key in source.options if "." not in key and key.lower() not in OWN_OPTIONS]
        if not source.format or not given or source.format in _OPTIONS_OF_OTHERS:
            return
        reader = "csv" if source.format == "w3c" else source.format
        known = {name.lower(): name for name in reader_options(self._spark, reader)}
        for key in given:
            if key.lower() not in known:
                near = difflib.get_close_matches(key.lower(), known, n=1)
                hint = f"did you mean {known[near[0]]}?" if near else "take it out"
                problem = f"{key} is no option of Spark's reader of {source.format}; {hint}"
                yield self._mapping.fault("source", "options", problem)

    def _partition_faults(self) -> Iterator[ConfigFault]:
        try:
            columns = partition_schema(self._mapping.source)
        except PySparkException as error:
            yield self._mapping.fault("source", "partitions", in_words(error))
            return
        yield from self._name_faults("partitions", [name.lower() for name in columns.names])
        for field in columns:
            if not PLAIN.fits(field.dataType):
                problem = f"{field.name} is not a plain type: a folder's name has one value"
                yield self._mapping.fault("source", "partitions", problem)

    def _name_faults(self, key: str, names: list[str]) -> Iterator[ConfigFault]:
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield self._mapping.fault("source", key, f"names the column {name} twice")
        reserved = RESERVED | ({ELEMENT} if self._mapping.explode else set())
        for name in sorted(reserved & set(names)):
            yield self._mapping.fault("source", key, f"may not name a column {name}: the job adds it")

    def _optional_faults(self, names: list[str]) -> Iterator[ConfigFault]:
        for name in self._mapping.source.optional:
            if name.lower() not in names:
                near = difflib.get_close_matches(name.lower(), names, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                yield self._mapping.fault("source", "optional", f"{name} is no column of schema{hint}")

    def _option_faults(self) -> Iterator[ConfigFault]:
        """Try the options on one line: Spark finds their faults only when it parses."""
        source = self._mapping.source
        parsed = parse_csv(F.lit("x"), record_schema(self._mapping, self._spark), source)
        try:
            self._spark.sql("SELECT 1").select(parsed).collect()
        except SPARK_ERRORS as error:
            yield self._mapping.fault("source", "options", in_words(error))

    def _empty_records(self) -> DataFrame | None:
        """An empty DataFrame with a record's columns; None where the columns are not known."""
        source = self._mapping.source
        if not source.format or (source.format != "text" and source.schema is None):
            return None
        own = [*record_schema(self._mapping, self._spark).fields, *partition_schema(source).fields]
        columns = StructType([*own, StructField(RAW, StringType())])
        nothing = [F.lit(None).cast(field.dataType).alias(field.name) for field in columns]
        return self._spark.range(0).select(*nothing)

    def _expression(
        self, table: str, key: str, text: str, records: DataFrame | None, expected: ExpectedType
    ) -> Iterator[ConfigFault]:
        """Check one expression; with the columns unknown (None), its grammar alone."""
        try:
            if records is None:
                parse(text, self._spark)
                return
            selected = records.select(F.expr(text).alias("value"))
        except PySparkException as error:
            yield self._mapping.fault(table, key, in_words(error))
            return
        misuses = list(_misuses(text, records, selected))
        yield from (self._mapping.fault(table, key, problem) for problem in misuses)
        kind = selected.schema[0].dataType
        if not isinstance(kind, NullType) and not expected.fits(kind):
            problem = f"is {kind.simpleString().upper()}, must be {expected.words}"
            yield self._mapping.fault(table, key, problem)
        elif not misuses:
            self._sound.setdefault(records, []).append(_TypedExpression(table, key, text))

    def _constant_faults(self) -> Iterator[ConfigFault]:
        """Try what is sound so far all at once, since it is rarely at fault; then, to tell which is, one by one."""
        for records, sound in self._sound.items():
            example = _sample_of(records)
            tried = [F.expr(one.text).alias(f"value{place}") for place, one in enumerate(sound)]
            if _folds(example.select(tried)):
                continue
            for one in sound:
                if constant := _fault_of_constant(example.select(F.expr(one.text))):
                    yield self._mapping.fault(one.table, one.key, constant)


def _kind(field: str) -> ExpectedType:
    return _FIELD_TYPES.get(field, TEXT)


def _unless_exploded(records: DataFrame | None, text: str) -> DataFrame | None:
    """With the exploded array at fault, what does not speak of its element can be checked all the same."""
    return None if ELEMENT in text else records


def _with_element(records: DataFrame, explode: str) -> DataFrame:
    return records.select("*", F.expr(explode).getItem(0).alias(ELEMENT))


def _misuses(text: str, records: DataFrame, selected: DataFrame) -> Iterator[str]:
    """Say why an expression does not give one value a record, the same on every run: at the most one reason."""
    spark = records.sparkSession
    functions = functions_of(text, spark)
    if has_star(text, spark):
        yield _STAR
    elif not is_row_by_row(selected, records):
        yield _ONE_VALUE
    elif not uses_columns_alone(selected):
        yield _SAME_VALUE
    elif unknown := sorted(functions - ALLOWED):
        yield (
            f"uses {', '.join(unknown)}, which may not give the same value in every run: use the functions "
            "that docs/mapping.md lists, or put the value into the log"
        )
    elif has_time_word(text, selected, spark):
        yield _TIME_WORD


def _sample_of(records: DataFrame) -> DataFrame:
    """Make one record of the same columns without a null in it, to try expressions on."""
    columns = [_sample(field.dataType).alias(field.name) for field in records.schema.fields]
    return records.sparkSession.sql("SELECT 1").select(*columns)


def _sample(kind: DataType) -> Column:
    if isinstance(kind, StructType):
        return F.struct(*[_sample(field.dataType).alias(field.name) for field in kind.fields])
    if isinstance(kind, ArrayType):
        return F.array(_sample(kind.elementType))
    if isinstance(kind, MapType):
        return F.create_map(_sample(kind.keyType), _sample(kind.valueType))
    if isinstance(kind, NumericType):
        return F.lit(1).cast(kind)
    if isinstance(kind, StringType | DateType | TimestampType):
        return F.lit("2024-01-02").cast(kind)
    return F.lit(None).cast(kind)


def _folds(selected: DataFrame) -> bool:
    """Whether Spark can fold all of some expressions over a sample; if not, `_fault_of_constant` tells why, of each."""
    try:
        fold_constants(selected)
    except SPARK_ERRORS:
        return False
    return True


def _fault_of_constant(selected: DataFrame) -> str | None:
    """Fold expressions over a sample, to find constants that no record could mend.

    Returns:
        What is wrong with a date pattern, a time zone or a regular expression, or None.
    """
    try:
        fold_constants(selected)
    except (SparkUpgradeException, IllegalArgumentException, DateTimeException) as error:
        return in_words(error)
    except PySparkException as error:
        return in_words(error) if "INVALID_PARAMETER_VALUE" in str(error) else None
    except JavaError:  # the sample's value is at fault, e.g. as JSON
        return None
    return None
