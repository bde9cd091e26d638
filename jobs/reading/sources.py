"""Raw logs as records: a mapping's columns, with `_raw`, `_source_file` and `_fault`."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Final, NamedTuple
from urllib.parse import unquote

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import AtomicType, BooleanType, DataType, NullType, StringType, StructField, StructType

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.reading.csv_headers import Headers, read_headers
from jobs.reading.inputs import FILE_FILTERS, Inputs, find_inputs, require_all_found
from jobs.reading.mapping_check import line_patterns, record_schema
from jobs.spark_internals.catalyst import CatalystExpressions
from jobs.spark_internals.errors import SPARK_ERRORS, in_words
from transforms.columns import AT, ATTEMPTS, FAULT, RAW, RENDERED, SOURCE_FILE
from transforms.conversions import converted, in_letters_of, is_converted, missing_fields
from transforms.mapping.model import LINE_ENCODINGS, EventMapping, Source, encoding_of, is_wide
from transforms.parsing import (
    CORRUPT,
    MALFORMED,
    MISMATCH,
    RECORD_JSON,
    LinePattern,
    csv_fault,
    find_matching_pattern,
    is_one_value,
    json_fault,
    parse_csv,
    parse_json,
    parse_record_json,
    parse_text,
    record_columns,
    text_fault,
    valid_text,
)
from transforms.records import is_blank

# How Spark 4, and 3 which names no file, tell of a file that is torn or of another format than its name says.
_UNREADABLE = ("FAILED_READ_FILE", "Encountered error while reading file", "EOFException", "ZipException", "not a gzip")

_BYTE_ORDER_MARK = "\ufeff"
_ALL = 2**31 - 1

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
        headers = read_headers(spark, found.files, schema, source) if _has_headers(source) else None
        if _by_line(source):
            return _parsed(_lines(spark, found, headers, source), schema, source, spark)
        if source.format in ("parquet", "orc"):
            return _columnar(spark, found, schema, source)
        return _whole_files(spark, found, schema, source)
    except SPARK_ERRORS as error:
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
    if source.format == "csv":
        return not _spans_lines(source) and encoding_of(source.options) in LINE_ENCODINGS
    return source.format == "text" or (source.format == "json" and not _spans_lines(source))


def _spans_lines(source: Source) -> bool:
    return {key.lower(): value for key, value in source.options.items()}.get("multiline") == "true"


def _has_headers(source: Source) -> bool:
    options = {key.lower(): value.lower() for key, value in source.options.items()}
    return source.format == "csv" and options.get("header") == "true"


def _lines(spark: SparkSession, found: Inputs, headers: Headers | None, source: Source) -> DataFrame:
    """Read lines as text: `_raw`, `_source_file` and, where files have headers, `_header_line`."""
    encoding = encoding_of(source.options)
    if is_wide(encoding):
        files = _texts(spark, found, source)
        text = _decoded(F.col("value").cast("binary"), source)
        lines = files.select(F.explode(_split(text, source)).alias(RAW), _file())
        return lines.withColumn(RAW, _without_mark(F.col(RAW)))
    options = {key.lower(): value for key, value in source.options.items()}
    reader = spark.read.options(**source.options).option("recursiveFileLookup", "true")
    lines = reader.text(found.paths)
    require_all_found(lines, found, source)
    if source.format == "csv" and options.get("comment"):
        lines = lines.where(~F.col("value").startswith(options["comment"]))
    marks = [headers.mark(F.col("value").cast("binary"), LINE_ENCODINGS[encoding])] if headers else []
    return lines.select(_without_mark(_line(F.col("value"), source)).alias(RAW), _file(), *marks)


def _texts(spark: SparkSession, found: Inputs, source: Source) -> DataFrame:
    """Read each file whole, as text that has not been decoded."""
    reader = spark.read.options(**_of_files(source)).option("recursiveFileLookup", "true")
    texts = reader.text(found.paths, wholetext=True)
    require_all_found(texts, found, source)
    return texts


def _of_files(source: Source) -> dict[str, str]:
    """Take those options that choose files, which hold whatever the reader."""
    return {key: value for key, value in source.options.items() if key.lower() in FILE_FILTERS}


def _line(value: Column, source: Source) -> Column:
    """Read a line's bytes as text. JSON and CSV make valid text of UTF-8 when they are parsed."""
    encoding = encoding_of(source.options)
    if LINE_ENCODINGS.get(encoding) != "UTF-8":
        return F.decode(value.cast("binary"), LINE_ENCODINGS.get(encoding, encoding))
    return valid_text(value) if source.format == "text" else value


def _decoded(content: Column, source: Source) -> Column:
    """Decode a file of JSON as Spark's reader does: of the encodings of Unicode, the file itself says which."""
    encoding = encoding_of(source.options)
    if not (is_wide(encoding) or LINE_ENCODINGS.get(encoding) == "UTF-8"):
        return F.decode(content, encoding)
    start = F.hex(F.substring(content, 1, 4))
    text = F.when(start.rlike("^(0000FEFF|000000)"), F.decode(content, "UTF-32BE"))
    text = text.when(start.rlike("^(FFFE0000|..000000)"), F.decode(content, "UTF-32LE"))
    text = text.when(start.rlike("^(FEFF|00)"), F.decode(content, "UTF-16BE"))
    text = text.when(start.rlike("^(FFFE|..00)"), F.decode(content, "UTF-16LE"))
    return _without_mark(text.otherwise(F.decode(content, "UTF-8")))


def _without_mark(text: Column) -> Column:
    """Drop the byte order mark that a text begins with; a file that was joined from others has some in its middle."""
    return F.when(text.startswith(_BYTE_ORDER_MARK), F.substring(text, 2, _ALL)).otherwise(text)


def _split(text: Column, source: Source) -> Column:
    """Cut a text into its lines, as Spark's reader of lines does: the last line's end begins no other."""
    given = {key.lower(): value for key, value in source.options.items()}.get("linesep")
    end = re.escape(given) if given else "\r\n|\r|\n"
    lines = F.split(F.regexp_replace(text, rf"(?:{end})\z", ""), end)
    return F.when(text != "", lines)


def _parsed(lines: DataFrame, schema: StructType, source: Source, spark: SparkSession) -> DataFrame:
    raw = F.col(RAW)
    kept = [F.col(name) for name in lines.columns]
    if source.format == "text":
        return _parse_by_patterns(lines, kept, line_patterns(source, spark))
    parse = parse_json if source.format == "json" else parse_csv
    parsed = lines.select(*kept, parse(raw, schema, source).alias("_parsed"))
    record = F.col("_parsed")
    fault = json_fault(raw, record) if source.format == "json" else csv_fault(raw, record[CORRUPT], schema, source)
    return parsed.select(*record_columns(record, schema, source), *kept, fault.alias(FAULT))


def _parse_by_patterns(lines: DataFrame, kept: list[Column], patterns: Sequence[LinePattern]) -> DataFrame:
    """Cut lines into the named groups of the patterns. Without patterns the line is the only column."""
    if not patterns:
        return lines.select(*kept, F.lit(None).cast("string").alias(FAULT))
    raw, matching = F.col(RAW), F.col("_matching")  # its own column, so that a line is tried once
    tried = lines.withColumn("_matching", find_matching_pattern(raw, patterns))
    return tried.select(*parse_text(raw, matching, patterns), *kept, text_fault(matching).alias(FAULT))


def _whole_files(spark: SparkSession, found: Inputs, schema: StructType, source: Source) -> DataFrame:
    """Read records that span lines or are not UTF-8; `_raw` is a refused record's text, else the record as JSON."""
    wanted = StructType([*schema.fields, StructField(CORRUPT, StringType())])
    columns = [F.col(_quoted(name)) for name in schema.names]
    files = _reader(spark, source).schema(wanted).format(source.format).load(found.paths)
    require_all_found(files, found, source)
    corrupt = F.col(CORRUPT)
    if source.format == "csv":
        text, fault = corrupt, csv_fault(corrupt, corrupt, schema, source)
    else:
        something = _any([column.isNotNull() for column in columns])
        text = _decoded(corrupt.cast("binary"), source)
        fault = F.when(corrupt.isNotNull(), F.when(something, MISMATCH).otherwise(MALFORMED))
    raw = F.coalesce(text, F.to_json(F.struct(*columns), RECORD_JSON))
    rendered = corrupt.isNull().alias(RENDERED)
    records = files.select(*columns, raw.alias(RAW), _file(), fault.alias(FAULT), rendered)
    if source.format == "csv":
        return records
    # Spark reads one value of each file. A file that is anything but one value is refused whole, once.
    told_whole = (F.col(FAULT) == MALFORMED) & ~is_one_value(F.col(RAW), source)
    return records.where(~F.coalesce(told_whole, F.lit(False))).unionByName(_left_over(spark, found, schema, source))


def _reader(spark: SparkSession, source: Source) -> DataFrameReader:
    """Set up Spark's own reader of JSON or CSV, for records that may span lines."""
    encoding = encoding_of(source.options)
    options = dict(source.options)
    if source.format == "json" and (is_wide(encoding) or LINE_ENCODINGS.get(encoding) == "UTF-8"):
        # Told an encoding, Spark takes a byte order mark for text; of JSON, the parser itself finds out which it is.
        options = {key: value for key, value in options.items() if key.lower() not in ("encoding", "charset")}
    wide = {"multiLine": "true"} if is_wide(encoding) else {}
    own = {"recursiveFileLookup": "true", "columnNameOfCorruptRecord": CORRUPT}
    return spark.read.options(**{**options, **wide, **own})


def _left_over(spark: SparkSession, found: Inputs, schema: StructType, source: Source) -> DataFrame:
    """Refuse, whole, the JSON files that are not one value."""
    text = _decoded(F.col("value").cast("binary"), source)
    texts = _texts(spark, found, source).select(text.alias(RAW), _file())
    more = texts.where(~is_blank(F.col(RAW)) & ~is_one_value(F.col(RAW), source))
    return more.select(*_nothing(schema), RAW, SOURCE_FILE, F.lit(MALFORMED).alias(FAULT), F.lit(False).alias(RENDERED))


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
