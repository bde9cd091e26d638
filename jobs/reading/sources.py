"""Raw logs as records: a mapping's columns, with `_raw`, `_source_file` and `_fault`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import reduce

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, StringType, StructField, StructType

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.reading.csv_headers import without_headers
from jobs.reading.inputs import find_inputs, has_partition_folders
from transforms.bookkeeping import AT, ATTEMPTS, FAULT, RAW, RENDERED, SOURCE_FILE
from transforms.expressions import in_words
from transforms.mapping import LINE_ENCODINGS, EventMapping, Source, encoding_of
from transforms.mapping_check import record_schema
from transforms.named_groups import named_groups
from transforms.parsing import (
    CORRUPT,
    MALFORMED,
    MISMATCH,
    RECORD_JSON,
    csv_fault,
    has_more,
    json_fault,
    parse_csv,
    parse_json,
    parse_record_json,
    parse_text,
    record_columns,
    text_fault,
    valid_text,
)

# How Spark 4, and 3 which names no file, tell of a file that is torn or of another format than its name says.
_UNREADABLE = ("FAILED_READ_FILE", "Encountered error while reading file", "EOFException", "ZipException", "not a gzip")

log = logging.getLogger(__name__)


def read_records(spark: SparkSession, inputs: Sequence[str], mapping: EventMapping) -> DataFrame:
    """Read raw logs.

    Args:
        spark: reads them.
        inputs: paths or globs; a folder stands for all files below it.
        mapping: says how.

    Returns:
        The record's columns, `_raw` STRING, `_source_file` STRING and `_fault` (reason code or null); one row a record.

    Raises:
        ConfigurationError: an input is not there, or is not of the mapping's format; one line for each.
    """
    paths = find_inputs(FileSystem(spark), inputs)
    source, schema = mapping.source, record_schema(mapping, spark)
    try:
        if _by_line(source):
            return _parsed(_lines(spark, paths, schema, source), schema, source, spark)
        if source.format in ("parquet", "orc"):
            return _columnar(spark, paths, schema, source)
        return _whole_files(spark, paths, schema, source)
    except (PySparkException, Py4JJavaError) as error:
        raise unreadable(error) or ConfigurationError(
            f"--input: cannot be read as {source.format} with the mapping's schema and options: {in_words(error)}"
        ) from None


def read_again(spark: SparkSession, quarantine: DataFrame, mapping: EventMapping) -> DataFrame:
    """Read quarantined records once more.

    Args:
        spark: reads them.
        quarantine: rows of the table.
        mapping: says how; mended since, as a rule.

    Returns:
        What `read_records` gives, with `_at`, `_attempts` and `_rendered`; one row a quarantined row.
    """
    source, schema = mapping.source, record_schema(mapping, spark)
    named = {RAW: "record", SOURCE_FILE: "sourceFile", AT: "element", ATTEMPTS: "attempts", RENDERED: "rendered"}
    known = F.coalesce("rendered", _was_rendered(source))
    rows = quarantine.withColumn("rendered", known).select(*[F.col(old).alias(new) for new, old in named.items()])
    texts, rendered = rows.where(~F.col(RENDERED)), rows.where(RENDERED)
    columns, fault = parse_record_json(F.col(RAW), schema)
    read = rendered.select(*columns, *named, fault.alias(FAULT))
    if source.format in ("parquet", "orc"):  # whose records have no text, whatever the mapping was before
        return read.unionByName(texts.select(*_nothing(schema), *named, F.lit(MALFORMED).alias(FAULT)))
    return read.unionByName(_parsed(texts, schema, source, spark))


def _was_rendered(source: Source) -> Column:
    """Tell of rows from before they told themselves: what Spark's own readers had read was rendered."""
    own_text = F.lit(False) if source.format in ("parquet", "orc") else F.col("stage") == "read"
    return F.lit(False) if _by_line(source) else ~own_text


def unreadable(error: BaseException) -> ConfigurationError | None:
    """Take an error for what it is where Spark could not read an input file: the user's to mend."""
    text = str(error)
    if not any(sign in text for sign in _UNREADABLE):
        return None
    file = next((word.strip(" .,'\"") for word in text.split() if word.startswith(("file:", "s3", "hdfs:"))), "a file")
    return ConfigurationError(f"--input: {file} cannot be read: is it whole, and of the mapping's format?")


def _by_line(source: Source) -> bool:
    """Whether a line is a record, which keeps its raw text; other JSON and CSV goes through Spark's own readers."""
    several = {key.lower(): value for key, value in source.options.items()}.get("multiline") == "true"
    return source.format == "text" or (
        source.format in ("json", "csv") and not several and encoding_of(source.options) in LINE_ENCODINGS
    )


def _lines(spark: SparkSession, paths: list[str], schema: StructType, source: Source) -> DataFrame:
    options = {key.lower(): value for key, value in source.options.items()}
    reader = spark.read.option("recursiveFileLookup", "true").options(**source.options)
    text = reader.text(paths).withColumn(RAW, _decoded(F.col("value"), source))
    if source.format == "csv" and options.get("comment"):
        text = text.where(~F.col(RAW).startswith(options["comment"]))
    if source.format == "csv" and options.get("header", "false").lower() == "true":
        text = without_headers(text, schema, source)
    return text.select(RAW, _file())


def _decoded(value: Column, source: Source) -> Column:
    """Read a line's bytes as text. JSON and CSV make valid text of any bytes when they are parsed."""
    encoding = LINE_ENCODINGS[encoding_of(source.options)]
    if encoding != "UTF-8":
        return F.decode(value.cast("binary"), encoding)
    return valid_text(value) if source.format == "text" else value


def _parsed(lines: DataFrame, schema: StructType, source: Source, spark: SparkSession) -> DataFrame:
    raw = F.col(RAW)
    kept = [F.col(name) for name in lines.columns]
    if source.format == "text":
        groups = named_groups(source.pattern, spark) if source.pattern else {}
        columns = parse_text(raw, source.pattern, groups) if source.pattern else []
        return lines.select(*columns, *kept, text_fault(raw, source.pattern).alias(FAULT))
    parse = parse_json if source.format == "json" else parse_csv
    parsed = lines.select(*kept, parse(raw, schema, source).alias("_parsed"))
    record = F.col("_parsed")
    fault = json_fault(record) if source.format == "json" else csv_fault(raw, record[CORRUPT], schema, source)
    return parsed.select(*record_columns(record, schema, source), *kept, fault.alias(FAULT))


def _whole_files(spark: SparkSession, paths: list[str], schema: StructType, source: Source) -> DataFrame:
    """Read records that span lines or are not UTF-8; `_raw` is a refused record's text, else the record as JSON."""
    wanted = StructType([*schema.fields, StructField(CORRUPT, StringType())])
    wide = {"multiLine": "true"} if encoding_of(source.options).startswith(("utf-16", "utf-32", "utf16")) else {}
    options = {"recursiveFileLookup": "true", **source.options, **wide, "columnNameOfCorruptRecord": CORRUPT}
    columns = [F.col(_quoted(name)) for name in schema.names]
    corrupt = F.col(CORRUPT)
    if source.format == "csv":
        fault = csv_fault(corrupt, corrupt, schema, source)
    else:
        something = _any([column.isNotNull() for column in columns])
        fault = F.when(corrupt.isNotNull(), F.when(something, MISMATCH).otherwise(MALFORMED))
    raw = F.coalesce(corrupt, F.to_json(F.struct(*columns), RECORD_JSON))
    files = spark.read.options(**options).schema(wanted).format(source.format).load(paths)
    rendered = corrupt.isNull().alias(RENDERED)
    records = files.select(*columns, raw.alias(RAW), _file(), fault.alias(FAULT), rendered)
    return records if source.format == "csv" else records.unionByName(_left_over(spark, paths, schema))


def _left_over(spark: SparkSession, paths: list[str], schema: StructType) -> DataFrame:
    """Refuse, whole, the JSON files that hold more than the one value which Spark reads of each."""
    texts = spark.read.text(paths, wholetext=True, recursiveFileLookup=True)
    more = texts.where(has_more(F.col("value")))
    kept = (F.col("value").alias(RAW), _file(), F.lit(MALFORMED).alias(FAULT), F.lit(False).alias(RENDERED))
    return more.select(*_nothing(schema), *kept)


def _nothing(schema: StructType) -> list[Column]:
    return [F.lit(None).cast(field.dataType).alias(field.name) for field in schema.fields]


def _columnar(spark: SparkSession, paths: list[str], schema: StructType, source: Source) -> DataFrame:
    """Read files that bring their own schema; a value that does not convert to the mapping's type is a mismatch."""
    deep = {} if has_partition_folders(FileSystem(spark), paths) else {"recursiveFileLookup": "true"}
    reader = spark.read.options(mergeSchema="true", **deep).options(**source.options)
    try:
        files = reader.format(source.format).load(paths)
    except PySparkException as error:
        if "UNABLE_TO_INFER_SCHEMA" not in str(error):
            raise
        return spark.createDataFrame([], StructType([*schema.fields, *_own_fields()]))  # no file at all
    own = {name.lower(): F.col(_quoted(name)) for name in files.columns}
    for name in (name for name in schema.names if name.lower() not in own):
        log.warning("no input file has the column %s of the mapping's schema: it is null everywhere", name)
    columns = {field.name: _column(own.get(field.name.lower(), F.lit(None)), field) for field in schema.fields}
    lost = [own[name.lower()].isNotNull() & column.isNull() for name, column in columns.items() if name.lower() in own]
    named = [column.alias(name) for name, column in columns.items()]
    mapped = {name.lower(): name for name in schema.names}  # a record's names are the mapping's, in its letters
    parts = [F.col(_quoted(name)).alias(mapped.get(name.lower(), name)) for name in files.columns]
    record = F.to_json(F.struct(*parts), RECORD_JSON)
    fault = F.when(_any(lost), MISMATCH).alias(FAULT)
    return files.select(*named, record.alias(RAW), _file(), fault, F.lit(True).alias(RENDERED))


def _column(column: Column, field: StructField) -> Column:
    cast = column.cast(field.dataType)
    return valid_text(cast) if isinstance(field.dataType, StringType) else cast


def _any(conditions: list[Column]) -> Column:
    return reduce(lambda one, other: one | other, conditions, F.lit(False))


def _own_fields() -> list[StructField]:
    texts = [StructField(name, StringType()) for name in (RAW, SOURCE_FILE, FAULT)]
    return [*texts, StructField(RENDERED, BooleanType())]


def _file() -> Column:
    return F.col("_metadata.file_path").alias(SOURCE_FILE)


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
