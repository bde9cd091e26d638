"""Raw logs as records: a mapping's columns, with `_raw`, `_source_file` and `_fault`."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    AtomicType,
    BooleanType,
    DataType,
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
from jobs.reading.contents import check_columnar, check_contents
from jobs.reading.folders import add_folder_values, check_partitions, folder_keys, folder_value
from jobs.reading.inputs import Inputs, choose_files, find_inputs, require_all_found
from jobs.reading.mapping_check import partition_schema, record_schema
from jobs.reading.read_faults import explain_unreadable_input
from jobs.reading.text_records import has_text_of_its_own, parse_text_records, read_text_records
from jobs.spark_internals.catalyst import CatalystExpressions
from jobs.spark_internals.errors import SPARK_ERRORS, in_words
from transforms.columns import AT, ATTEMPTS, FAULT, HEADER_TEXT, RAW, RENDERED, SOURCE_FILE, quoted
from transforms.conversions import converted, in_letters_of, is_converted, missing_fields
from transforms.mapping.model import COLUMNAR_FORMATS, EventMapping, Source
from transforms.parsing import MALFORMED, MISMATCH, RECORD_JSON, parse_record_json

log = logging.getLogger(__name__)


def read_records(
    spark: SparkSession, inputs: Sequence[str], mapping: EventMapping, *, times_as_numbers: bool = False
) -> DataFrame:
    """Read raw logs.

    Args:
        spark: reads them.
        inputs: paths or globs; a folder stands for all files below it.
        mapping: says how.
        times_as_numbers: whether times of Parquet files in columns that the mapping does not name are numbers, of the
            unit that a file has: any number can be read.

    Returns:
        The record's columns, `_raw` STRING, `_source_file` STRING and `_fault` (reason code or null); one row a record.
        Where lines have headers, also one row for each header line, which `_header_line` marks.

    Raises:
        ConfigurationError: an input is not there, is not of the mapping's format, or would be left out; one line each.
    """
    files = FileSystem(spark)
    source, schema = mapping.source, record_schema(mapping, spark)
    partitions = partition_schema(source)
    try:
        found = choose_files(spark, find_inputs(files, inputs), source)
        if not found.files:
            return _no_records(spark, StructType([*schema.fields, *partitions.fields]))
        check_partitions(found.files, partitions)
        if source.format in COLUMNAR_FORMATS:
            columns = StructType([*schema.fields, *partitions.fields])
            return _columnar(spark, found, columns, source, times_as_numbers=times_as_numbers)
        check_contents(files, found.files, source)
        keys = folder_keys(found.files)
        records = read_text_records(spark, found, schema, source, keys)
        return add_folder_values(records, schema, partitions, keys)
    except SPARK_ERRORS as error:
        raise explain_unreadable_input(error, spark, source) or ConfigurationError(
            f"--input: cannot be read as {source.format} with the mapping's schema and options: {in_words(error)}"
        ) from None


def read_record(spark: SparkSession, text: str, mapping: EventMapping) -> DataFrame:
    """Read one record from its text.

    Args:
        spark: reads it.
        text: as it stands in a log; where columns go by name, it may be two lines, a header and a record. Records of
            Parquet and ORC are JSON.
        mapping: says how.

    Returns:
        What `read_records` gives.
    """
    source, schema = mapping.source, record_schema(mapping, spark)
    if source.format in COLUMNAR_FORMATS:
        row = spark.createDataFrame([(text, "")], f"{RAW} STRING, {SOURCE_FILE} STRING")
        columns, fault = parse_record_json(F.col(RAW), schema)
        return row.select(*columns, RAW, SOURCE_FILE, fault.alias(FAULT), F.lit(True).alias(RENDERED))
    header, line_end, record = text.partition("\n") if source.format in ("csv", "w3c") else ("", "", text)
    values = (record or header, "", (header.removeprefix("#Fields:").strip() or None) if line_end else None)
    row = spark.createDataFrame([values], f"{RAW} STRING, {SOURCE_FILE} STRING, {HEADER_TEXT} STRING")
    return parse_text_records(row, schema, source, spark)


def read_again(spark: SparkSession, quarantine: DataFrame, mapping: EventMapping) -> DataFrame:
    """Read quarantined records once more.

    Args:
        spark: reads them.
        quarantine: rows of the table.
        mapping: says how; mended since, as a rule.

    Returns:
        What `read_records` gives, with `_at`, `_attempts` and `_rendered`; one row a quarantined row.
    """
    source, schema, partitions = mapping.source, record_schema(mapping, spark), partition_schema(mapping.source)
    named = {
        RAW: "record",
        SOURCE_FILE: "sourceFile",
        AT: "element",
        ATTEMPTS: "attempts",
        RENDERED: "rendered",
        HEADER_TEXT: "header",
    }
    known = F.coalesce("rendered", _was_rendered(source))
    rows = quarantine.withColumn("rendered", known).select(*[F.col(old).alias(new) for new, old in named.items()])
    texts, rendered = rows.where(~F.col(RENDERED)), rows.where(RENDERED)
    columns, fault = parse_record_json(F.col(RAW), schema)
    read = rendered.select(*columns, *named, fault.alias(FAULT))
    if source.format in COLUMNAR_FORMATS:  # whose records have no text, whatever the mapping was before
        of_texts = texts.select(*_nothing(schema), *named, F.lit(MALFORMED).alias(FAULT))
    else:
        of_texts = parse_text_records(texts, schema, source, spark)
    return add_folder_values(read.unionByName(of_texts), schema, partitions)


def _was_rendered(source: Source) -> Column:
    """Tell of rows from before they told themselves: what Spark's own readers had read was rendered."""
    own_text = F.lit(False) if source.format in COLUMNAR_FORMATS else F.col("stage") == "read"
    return F.lit(False) if has_text_of_its_own(source) else ~own_text


def _no_records(spark: SparkSession, schema: StructType) -> DataFrame:
    return spark.range(0).select(*_nothing(StructType([*schema.fields, *_own_fields()])))


def _nothing(schema: StructType) -> list[Column]:
    return [F.lit(None).cast(field.dataType).alias(field.name) for field in schema.fields]


def _columnar(
    spark: SparkSession, found: Inputs, schema: StructType, source: Source, *, times_as_numbers: bool
) -> DataFrame:
    """Read files that bring their own schema; a value that does not convert to the mapping's type is a mismatch."""
    reader = spark.read.options(mergeSchema="true").options(**source.options).option("recursiveFileLookup", "true")
    try:
        files = reader.format(source.format).load(found.paths)
    except SPARK_ERRORS:
        check_columnar(FileSystem(spark), found.files, source)
        raise
    require_all_found(files, found)
    if times_as_numbers:
        files = reader.schema(_with_numbers(files.schema, schema)).format(source.format).load(found.paths)
    own = {field.name.lower(): _Own(F.col(quoted(field.name)), field.dataType) for field in files.schema}
    for name in folder_keys(found.files):
        of_folder = folder_value(F.col("_metadata.file_path"), name)
        own[name] = _Own(_own_value_first(own.get(name), of_folder), _type_beside_folders(own.get(name)))
    _check_columns(own, schema, source)
    wanted = [(own.get(field.name.lower()) or _Own(F.lit(None), NullType()), field) for field in schema.fields]
    text_of = CatalystExpressions(spark).text_of
    named = [converted(has.column, has.kind, field.dataType, text_of).alias(field.name) for has, field in wanted]
    lost = [~is_converted(has.column, has.kind, field.dataType) for has, field in wanted]
    # A record's names are the mapping's, in its letters, so that it is read back by them.
    letters = {name.lower(): name for name in (*files.columns, *schema.names)}
    mapped = {field.name.lower(): field.dataType for field in schema.fields}
    kinds = {name: in_letters_of(has.kind, mapped.get(name, has.kind)) for name, has in own.items()}
    parts = [has.column.cast(kinds[name]).alias(letters.get(name, name)) for name, has in own.items()]
    record = F.to_json(F.struct(*parts), RECORD_JSON)
    fault = F.when(_any(lost), MISMATCH).alias(FAULT)
    return files.select(*named, record.alias(RAW), _file(), fault, F.lit(True).alias(RENDERED))


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


def _own_fields() -> list[StructField]:
    texts = [StructField(name, StringType()) for name in (RAW, SOURCE_FILE, FAULT)]
    return [*texts, StructField(RENDERED, BooleanType())]


def _file() -> Column:
    return F.col("_metadata.file_path").alias(SOURCE_FILE)
