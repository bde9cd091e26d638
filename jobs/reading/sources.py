"""Raw logs as records: a mapping's columns, with `_raw`, `_source_file` and `_fault`."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Final, NamedTuple
from urllib.parse import unquote

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import AtomicType, BooleanType, DataType, NullType, StringType, StructField, StructType

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.reading.inputs import Inputs, find_inputs, require_all_found
from jobs.reading.mapping_check import record_schema
from jobs.reading.text_records import has_text_of_its_own, parse_text_records, read_text_records
from jobs.spark_internals.catalyst import CatalystExpressions
from jobs.spark_internals.errors import SPARK_ERRORS, in_words
from transforms.columns import AT, ATTEMPTS, FAULT, HEADER_TEXT, RAW, RENDERED, SOURCE_FILE
from transforms.conversions import converted, in_letters_of, is_converted, missing_fields
from transforms.mapping.model import EventMapping, Source
from transforms.parsing import MALFORMED, MISMATCH, RECORD_JSON, parse_record_json

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
        Where lines have headers, also one row for each header line, which `_header_line` marks.

    Raises:
        ConfigurationError: an input is not there, is not of the mapping's format, or would be left out; one line each.
    """
    found = find_inputs(FileSystem(spark), inputs)
    source, schema = mapping.source, record_schema(mapping, spark)
    try:
        if source.format in ("parquet", "orc"):
            return _columnar(spark, found, schema, source)
        return read_text_records(spark, found, schema, source)
    except SPARK_ERRORS as error:
        raise unreadable(error) or ConfigurationError(
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
    if source.format in ("parquet", "orc"):
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
    source, schema = mapping.source, record_schema(mapping, spark)
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
    if source.format in ("parquet", "orc"):  # whose records have no text, whatever the mapping was before
        return read.unionByName(texts.select(*_nothing(schema), *named, F.lit(MALFORMED).alias(FAULT)))
    return read.unionByName(parse_text_records(texts, schema, source, spark))


def _was_rendered(source: Source) -> Column:
    """Tell of rows from before they told themselves: what Spark's own readers had read was rendered."""
    own_text = F.lit(False) if source.format in ("parquet", "orc") else F.col("stage") == "read"
    return F.lit(False) if has_text_of_its_own(source) else ~own_text


def unreadable(error: BaseException) -> ConfigurationError | None:
    """Take an error for what it is where Spark could not read an input file: the user's to mend."""
    text = str(error)
    if not any(sign in text for sign in _UNREADABLE):
        return None
    file = next((word.strip(" .,'\"") for word in text.split() if word.startswith(("file:", "s3", "hdfs:"))), "a file")
    return ConfigurationError(f"--input: {file} cannot be read: is it whole, and of the mapping's format?")


def _nothing(schema: StructType) -> list[Column]:
    return [F.lit(None).cast(field.dataType).alias(field.name) for field in schema.fields]


def _columnar(spark: SparkSession, found: Inputs, schema: StructType, source: Source) -> DataFrame:
    """Read files that bring their own schema; a value that does not convert to the mapping's type is a mismatch."""
    reader = spark.read.options(mergeSchema="true").options(**source.options).option("recursiveFileLookup", "true")
    try:
        files = reader.format(source.format).load(found.paths)
    except PySparkException as error:
        if found.files or "UNABLE_TO_INFER_SCHEMA" not in str(error):
            raise
        return spark.createDataFrame([], StructType([*schema.fields, *_own_fields()]))  # no file at all
    require_all_found(files, found, source)
    own = {field.name.lower(): _Own(F.col(_quoted(field.name)), field.dataType) for field in files.schema}
    for name, column in folder_columns(found.files).items():
        own[name] = _Own(_own_value_first(own.get(name), column), _type_beside_folders(own.get(name)))
    missing = [*_missing(own, schema)]
    if missing:
        names = ", ".join(missing)
        log.warning("--input: no file has the columns %s of the mapping's schema: they are null everywhere", names)
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


def _missing(own: Mapping[str, _Own], schema: StructType) -> Iterator[str]:
    """Name the columns, and fields of columns, that no file has."""
    for field in schema.fields:
        has = own.get(field.name.lower())
        below = missing_fields(has.kind, field.dataType) if has else []
        yield from [f"{field.name}.{name}" for name in below] if has else [field.name]


def _any(conditions: list[Column]) -> Column:
    return reduce(lambda one, other: one | other, conditions, F.lit(False))


def _own_fields() -> list[StructField]:
    texts = [StructField(name, StringType()) for name in (RAW, SOURCE_FILE, FAULT)]
    return [*texts, StructField(RENDERED, BooleanType())]


def _file() -> Column:
    return F.col("_metadata.file_path").alias(SOURCE_FILE)


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


_FOLDER: Final = re.compile(r"(?<=/)([^/=]+)=([^/]*)(?=/)")
_NO_ESCAPE: Final = "%(?![0-9A-Fa-f]{2})"
_NULL: Final = "__HIVE_DEFAULT_PARTITION__"


def folder_columns(files: Iterable[str]) -> dict[str, Column]:
    """Find the columns that the folders above some files hold, each a STRING; null for files that have no such folder.

    Spark's own discovery of them leaves out files that lie beside such folders. Names are in lower case: keys that
    differ in case alone are one column.

    Args:
        files: by path, as Hadoop writes it.

    Examples:
        >>> _ = spark.sparkContext  # a Column needs one
        >>> sorted(folder_columns(["file:/logs/day=1/a.parquet", "file:/logs/b.parquet", "file:/logs/a%3AB=2/c.orc"]))
        ['a:b', 'day']
    """
    folders = {path.rpartition("/")[0] for path in files}
    keys = {key for folder in folders for key, _ in _FOLDER.findall(f"{folder}/")}
    # A path's own `+` is no space, which is what url_decode takes it for.
    path = F.url_decode(F.replace(F.col("_metadata.file_path"), F.lit("+"), F.lit("%2B")))
    columns: dict[str, list[Column]] = {}
    for key in sorted(keys):
        columns.setdefault(unquote(key).lower(), []).append(_value(path, key))
    return {name: F.coalesce(*values) for name, values in columns.items()}


def _value(path: Column, key: str) -> Column:
    """Read the value of a folder's key; escapes stand for what they say, unless one of a value's is none."""
    value = F.regexp_extract(path, rf"/{re.escape(key)}=([^/]*)/", 1)
    decoded = F.url_decode(F.replace(value, F.lit("+"), F.lit("%2B")))
    value = F.when(value.rlike(_NO_ESCAPE), value).otherwise(decoded)
    return F.when(~value.isin("", _NULL), value)
