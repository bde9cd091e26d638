"""Raw logs as records: a mapping's columns, with `_raw`, `_source_file` and `_fault`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from jobs.errors import ConfigurationError
from jobs.filesystem import FileSystem
from transforms.bookkeeping import FAULT, RAW, SOURCE_FILE
from transforms.mapping import EventMapping, Source
from transforms.mapping_check import record_schema
from transforms.named_groups import named_groups
from transforms.parsing import (
    CORRUPT,
    MALFORMED,
    MISMATCH,
    csv_fault,
    json_fault,
    parse_csv,
    parse_json,
    parse_text,
    record_columns,
    text_fault,
)


def read_records(spark: SparkSession, inputs: Sequence[str], mapping: EventMapping) -> DataFrame:
    """Read raw logs.

    Args:
        spark: reads them.
        inputs: paths or globs; a folder stands for the files in it.
        mapping: says how.

    Returns:
        The record's columns, `_raw` STRING, `_source_file` STRING and `_fault` (reason code or null); one row a record.

    Raises:
        ConfigurationError: an input is not there, or is not of the mapping's format; one line for each.
    """
    paths = _found(FileSystem(spark), inputs)
    schema = record_schema(mapping, spark)
    if _by_line(mapping.source):
        return _parsed(_lines(spark, paths, mapping.source), schema, mapping.source, spark)
    if mapping.source.format in ("parquet", "orc"):
        return _columnar(spark, paths, schema, mapping.source)
    return _whole_files(spark, paths, schema, mapping.source)


def _found(files: FileSystem, inputs: Sequence[str]) -> list[str]:
    faults = [fault for path in inputs if (fault := _input_fault(files, path))]
    if faults:
        raise ConfigurationError(*faults)
    return list(inputs)


def _input_fault(files: FileSystem, path: str) -> str | None:
    try:
        return None if files.matches(path) else f"--input {path}: there is nothing there"
    except OSError as error:
        return f"--input {path}: cannot be looked up ({error})"


def _by_line(source: Source) -> bool:
    """Whether a line is a record, which keeps its raw text; other JSON and CSV goes through Spark's own readers."""
    options = {key.lower(): value.lower() for key, value in source.options.items()}
    encoding = options.get("encoding", options.get("charset", "utf-8"))
    spans_lines = options.get("multiline", "false") == "true" or encoding not in ("utf-8", "utf8")
    return source.format == "text" or (source.format in ("json", "csv") and not spans_lines)


def _lines(spark: SparkSession, paths: list[str], source: Source) -> DataFrame:
    options = {key.lower(): value for key, value in source.options.items()}
    text = spark.read.options(**source.options).text(paths).withColumnRenamed("value", RAW)
    if source.format == "csv" and "comment" in options:
        text = text.where(~F.col(RAW).startswith(options["comment"]))
    if source.format == "csv" and options.get("header", "false").lower() == "true":
        first = text.where("_metadata.file_block_start = 0").first()  # of all lines of a file, its first
        text = text.where(F.col(RAW) != first[RAW]) if first else text
    return text.select(RAW, _file())


def _parsed(lines: DataFrame, schema: StructType, source: Source, spark: SparkSession) -> DataFrame:
    raw = F.col(RAW)
    if source.format == "text":
        groups = named_groups(source.pattern, spark) if source.pattern else {}
        columns = parse_text(raw, source.pattern, groups) if source.pattern else []
        return lines.select(*columns, RAW, SOURCE_FILE, text_fault(raw, source.pattern).alias(FAULT))
    parse = parse_json if source.format == "json" else parse_csv
    parsed = lines.select(RAW, SOURCE_FILE, parse(raw, schema, source).alias("_parsed"))
    return parsed.select(
        *record_columns(F.col("_parsed"), schema, source),
        RAW,
        SOURCE_FILE,
        _line_fault(schema, source).alias(FAULT),
    )


def _line_fault(schema: StructType, source: Source) -> Column:
    parsed = F.col("_parsed")
    return json_fault(parsed) if source.format == "json" else csv_fault(F.col(RAW), parsed, schema, source)


def _whole_files(spark: SparkSession, paths: list[str], schema: StructType, source: Source) -> DataFrame:
    """Read records that span lines or are not UTF-8; `_raw` is a refused record's text, else the record as JSON."""
    wanted = StructType([*schema.fields, StructField(CORRUPT, StringType())])
    reader = spark.read.options(**source.options).option("columnNameOfCorruptRecord", CORRUPT).schema(wanted)
    columns = [F.col(_quoted(name)) for name in schema.names]
    something = _any([column.isNotNull() for column in columns])
    fault = F.when(F.col(CORRUPT).isNotNull(), F.when(something, MISMATCH).otherwise(MALFORMED))
    raw = F.coalesce(F.col(CORRUPT), F.to_json(F.struct(*columns)))
    return reader.format(source.format).load(paths).select(*columns, raw.alias(RAW), _file(), fault.alias(FAULT))


def _columnar(spark: SparkSession, paths: list[str], schema: StructType, source: Source) -> DataFrame:
    """Read files that bring their own schema; a value that does not convert to the mapping's type is a mismatch."""
    try:
        files = spark.read.options(**source.options).format(source.format).load(paths)
    except AnalysisException as error:
        if "UNABLE_TO_INFER_SCHEMA" in str(error):  # no file at all
            return spark.createDataFrame([], StructType([*schema.fields, *_own_fields()]))
        raise _unreadable(error, source) from None
    own = {name.lower(): F.col(_quoted(name)) for name in files.columns}
    columns = {field.name: own.get(field.name.lower(), F.lit(None)).cast(field.dataType) for field in schema.fields}
    lost = [own[name.lower()].isNotNull() & column.isNull() for name, column in columns.items() if name.lower() in own]
    fault = F.when(_any(lost), MISMATCH)
    named = [column.alias(name) for name, column in columns.items()]
    try:
        return files.select(*named, F.to_json(F.struct("*")).alias(RAW), _file(), fault.alias(FAULT))
    except AnalysisException as error:
        raise _unreadable(error, source) from None


def _any(conditions: list[Column]) -> Column:
    return reduce(lambda one, other: one | other, conditions, F.lit(False))


def _own_fields() -> list[StructField]:
    return [StructField(name, StringType()) for name in (RAW, SOURCE_FILE, FAULT)]


def _file() -> Column:
    return F.col("_metadata.file_path").alias(SOURCE_FILE)


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _unreadable(error: AnalysisException, source: Source) -> ConfigurationError:
    words = str(error).split("\n")[0]
    return ConfigurationError(f"--input: cannot be read as {source.format} with the mapping's schema: {words}")
