"""Raw logs as records: a mapping's columns, with `_raw`, `_source_file` and `_fault`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, StringType, StructField, StructType

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.reading.columnar import read_columnar, read_tables
from jobs.reading.contents import check_contents
from jobs.reading.folders import add_folder_values, check_partitions, folder_keys
from jobs.reading.inputs import choose_files, find_inputs
from jobs.reading.mapping_check import partition_schema, record_schema
from jobs.reading.read_faults import explain_unreadable_input
from jobs.reading.text_records import has_text_of_its_own, parse_text_records, read_text_records
from jobs.spark_internals.errors import SPARK_ERRORS, in_words
from transforms.columns import AT, ATTEMPTS, FAULT, HEADER_TEXT, RAW, RENDERED, SOURCE_FILE
from transforms.mapping.model import COLUMNAR_FORMATS, TABLE_FORMATS, EventMapping, Source
from transforms.parsing import MALFORMED, parse_record_json


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
        if source.format in TABLE_FORMATS:
            return read_tables(spark, inputs, StructType([*schema.fields, *partitions.fields]), source)
        found = choose_files(spark, find_inputs(files, inputs), source)
        if not found.files:
            return _no_records(spark, StructType([*schema.fields, *partitions.fields]))
        check_partitions(found.files, partitions)
        if source.format in COLUMNAR_FORMATS:
            columns = StructType([*schema.fields, *partitions.fields])
            return read_columnar(spark, found, columns, source, times_as_numbers=times_as_numbers)
        found = replace(found, wide=check_contents(files, found.files, source))
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
    source, schema, partitions = mapping.source, record_schema(mapping, spark), partition_schema(mapping.source)
    if source.format in COLUMNAR_FORMATS:
        row = spark.createDataFrame([(text, "")], f"{RAW} STRING, {SOURCE_FILE} STRING")
        columns, fault = parse_record_json(F.col(RAW), schema)
        rendered = row.select(*columns, RAW, SOURCE_FILE, fault.alias(FAULT), F.lit(True).alias(RENDERED))
        return add_folder_values(rendered, schema, partitions, ())
    header, line_end, record = text.partition("\n") if source.format in ("csv", "w3c") else ("", "", text)
    values = (record or header, "", (header.removeprefix("#Fields:").strip() or None) if line_end else None)
    row = spark.createDataFrame([values], f"{RAW} STRING, {SOURCE_FILE} STRING, {HEADER_TEXT} STRING")
    return add_folder_values(parse_text_records(row, schema, source, spark), schema, partitions, ())


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
    """Say whether a row without the column `rendered`, from an older version, has its record as JSON."""
    own_text = F.lit(False) if source.format in COLUMNAR_FORMATS else F.col("stage") == "read"
    return F.lit(False) if has_text_of_its_own(source) else ~own_text


def _no_records(spark: SparkSession, schema: StructType) -> DataFrame:
    return spark.range(0).select(*_nothing(StructType([*schema.fields, *_own_fields()])))


def _nothing(schema: StructType) -> list[Column]:
    return [F.lit(None).cast(field.dataType).alias(field.name) for field in schema.fields]


def _own_fields() -> list[StructField]:
    texts = [StructField(name, StringType()) for name in (RAW, SOURCE_FILE, FAULT)]
    return [*texts, StructField(RENDERED, BooleanType())]
