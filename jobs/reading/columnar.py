"""Records whose source says which columns it has: Parquet, ORC and Avro files, tables of a catalog, Delta, Iceberg."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Final, NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    AtomicType,
    DataType,
    DoubleType,
    FloatType,
    LongType,
    MapType,
    NullType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.reading.contents import check_columnar
from jobs.reading.folders import folder_keys, folder_value
from jobs.reading.inputs import Inputs, require_all_found
from jobs.spark_internals.catalyst import CatalystExpressions
from jobs.spark_internals.errors import SPARK_ERRORS, in_words
from transforms.columns import FAULT, RAW, RENDERED, SOURCE_FILE, quoted
from transforms.conversions import converted, in_letters_of, is_converted, missing_fields
from transforms.mapping.model import Source
from transforms.parsing import MISMATCH, RECORD_JSON

_PACKAGES: Final = {
    "avro": "spark-avro",
    "delta": "delta-spark",
    "iceberg": "iceberg-spark-runtime",
}
"""The packages of formats that Spark does not bring."""

_WHERE: Final = re.compile(r"\s+where\s+", re.IGNORECASE)

log = logging.getLogger(__name__)


def read_columnar(
    spark: SparkSession, found: Inputs, schema: StructType, source: Source, *, times_as_numbers: bool
) -> DataFrame:
    """Read files that bring their own schema; see `sources.read_records`."""
    merge = {} if source.format == "avro" else {"mergeSchema": "true"}
    reader = spark.read.options(**merge).options(**source.options).option("recursiveFileLookup", "true")
    try:
        files = reader.format(source.format).load(found.paths)
    except SPARK_ERRORS as error:
        _require_package(error, source)
        check_columnar(FileSystem(spark), found.files, source)
        raise
    require_all_found(files, found)
    if times_as_numbers:
        files = reader.schema(_with_numbers(files.schema, schema)).format(source.format).load(found.paths)
    own = {field.name.lower(): _Own(F.col(quoted(field.name)), field.dataType) for field in files.schema}
    for name in folder_keys(found.files):
        of_folder = folder_value(F.col("_metadata.file_path"), name)
        own[name] = _Own(_own_value_first(own.get(name), of_folder), _type_beside_folders(own.get(name)))
    return _convert(files, own, schema, source, F.col("_metadata.file_path"))


def read_tables(spark: SparkSession, inputs: Sequence[str], schema: StructType, source: Source) -> DataFrame:
    """Read tables of the session's catalogs by name, or Delta and Iceberg tables by path; see `sources.read_records`.

    An input may choose rows: `db.clicks where dt = '2024-01-02'`. Spark then reads no other partitions. `sourceFile` is
    the name or path of the table.

    Raises:
        ConfigurationError: there is no such table, or Spark lacks the package of its format; one line each.
    """
    faults, parts = [], []
    for text in dict.fromkeys(inputs):
        name, _, condition = _WHERE.sub("\0", text, count=1).partition("\0")
        try:
            if source.format == "table":
                rows = spark.read.options(**source.options).table(name)
            else:
                rows = spark.read.options(**source.options).format(source.format).load(name)
            rows = rows.where(condition) if condition else rows
        except SPARK_ERRORS as error:
            _require_package(error, source)
            faults.append(f"--input {text}: cannot be read as {source.format}: {in_words(error)}")
            continue
        own = {field.name.lower(): _Own(F.col(quoted(field.name)), field.dataType) for field in rows.schema}
        parts.append(_convert(rows, own, schema, source, F.lit(name)))
    if faults:
        raise ConfigurationError(*faults)
    return reduce(DataFrame.unionByName, parts)


def _require_package(error: BaseException, source: Source) -> None:
    """Say which package Spark lacks, where an error comes from that."""
    package = _PACKAGES.get(source.format)
    if package and ("DATA_SOURCE_NOT_FOUND" in str(error) or "Failed to find" in str(error)):
        raise ConfigurationError(
            f'[source] format = "{source.format}": this Spark lacks its package: start it with --packages or --jars '
            f"and the {package} of its versions of Spark and Scala"
        ) from None


def _convert(
    rows: DataFrame, own: Mapping[str, _Own], schema: StructType, source: Source, source_file: Column
) -> DataFrame:
    """Take the schema's columns out of rows; a value that does not convert to its type is a mismatch."""
    _check_columns(own, schema, source)
    wanted = [(own.get(field.name.lower()) or _Own(F.lit(None), NullType()), field) for field in schema.fields]
    text_of = CatalystExpressions(rows.sparkSession).text_of
    named = [converted(has.column, has.kind, field.dataType, text_of).alias(field.name) for has, field in wanted]
    lost = [~is_converted(has.column, has.kind, field.dataType) for has, field in wanted]
    # A record's names are the mapping's, in its letters, so that it is read back by them.
    letters = {name.lower(): name for name in (*rows.columns, *schema.names)}
    mapped = {field.name.lower(): field.dataType for field in schema.fields}
    parts = []
    for name, has in own.items():
        kind = mapped.get(name, has.kind)
        if isinstance(has.kind, DoubleType | FloatType) and isinstance(kind, StringType):
            part = converted(has.column, has.kind, kind, text_of)  # the text that is mapped, not Java's
        else:
            part = has.column.cast(in_letters_of(has.kind, kind))
        parts.append(part.alias(letters.get(name, name)))
    record = F.to_json(F.struct(*parts), RECORD_JSON)
    fault = F.when(_any(lost), MISMATCH).alias(FAULT)
    file = source_file.alias(SOURCE_FILE)
    return rows.select(*named, record.alias(RAW), file, fault, F.lit(True).alias(RENDERED))


def _with_numbers(own: StructType, schema: StructType) -> StructType:
    """Give files' columns with numbers in place of times, but for those that a schema names."""
    named = {name.lower() for name in schema.names}
    fields = [
        field if field.name.lower() in named else StructField(field.name, _without_times(field.dataType))
        for field in own
    ]
    return StructType(fields)


def _without_times(kind: DataType) -> DataType:
    match kind:
        case TimestampType() | TimestampNTZType():
            return LongType()
        case StructType():
            return StructType([StructField(field.name, _without_times(field.dataType)) for field in kind])
        case ArrayType():
            return ArrayType(_without_times(kind.elementType))
        case MapType():
            return MapType(_without_times(kind.keyType), _without_times(kind.valueType))
        case _:
            return kind


class _Own(NamedTuple):
    """A column that files have, or the folders that they lie in."""

    column: Column
    kind: DataType


def _own_value_first(own: _Own | None, of_folders: Column) -> Column:
    """Take a file's own value, as text, before that of its folders; a nested one alone."""
    if own is None:
        return of_folders
    return F.coalesce(own.column.cast("string"), of_folders) if isinstance(own.kind, AtomicType) else own.column


def _type_beside_folders(own: _Own | None) -> DataType:
    return StringType() if own is None or isinstance(own.kind, AtomicType) else own.kind


def _check_columns(own: Mapping[str, _Own], schema: StructType, source: Source) -> None:
    """Refuse a schema with columns that no file has, unless they are optional; log which fields are null everywhere.

    Raises:
        ConfigurationError: there are such columns; one line each.
    """
    optional = {name.lower() for name in source.optional}
    missing = [field.name for field in schema if field.name.lower() not in own]
    faults = []
    for name in missing:
        if name.lower() not in optional:
            near = difflib.get_close_matches(name.lower(), own, n=1)
            hint = f"did you mean {near[0]}? If" if near else "if"
            faults.append(
                f"--input: no file has the column {name} of the mapping's schema; {hint} it may be missing, "
                f'write optional = ["{name}"] in [source]'
            )
    if faults:
        raise ConfigurationError(*faults)
    pairs = [
        (field.name, own[field.name.lower()].kind, field.dataType) for field in schema if field.name not in missing
    ]
    fields = [f"{name}.{below}" for name, has, wants in pairs for below in missing_fields(has, wants)]
    if missing:
        log.info("--input: no file has the optional columns %s: they are null everywhere", ", ".join(missing))
    if fields:
        log.warning(
            "--input: no file has the fields %s of the mapping's schema: they are null everywhere", ", ".join(fields)
        )


def _any(conditions: list[Column]) -> Column:
    return reduce(lambda one, other: one | other, conditions, F.lit(False))
