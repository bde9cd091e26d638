"""Raw logs as records: a mapping's columns, with `_raw`, `_source_file` and `_fault`."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import NamedTuple

from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
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
from jobs.reading.csv_headers import Headers, read_headers
from jobs.reading.folders import add_folder_values, check_partitions, folder_keys, folder_value
from jobs.reading.inputs import Inputs, choose_files, file_filters, find_inputs, require_all_found
from jobs.reading.mapping_check import partition_schema, pattern_groups, record_schema
from jobs.reading.read_faults import explain_unreadable_input
from jobs.spark_internals.catalyst import CatalystExpressions
from jobs.spark_internals.errors import SPARK_ERRORS, in_words
from transforms.columns import AT, ATTEMPTS, FAULT, RAW, RENDERED, SOURCE_FILE, quoted
from transforms.conversions import converted, in_letters_of, is_converted, missing_fields
from transforms.mapping.model import COLUMNAR_FORMATS, LINE_ENCODINGS, EventMapping, Source, encoding_of, is_wide
from transforms.parsing import (
    CORRUPT,
    MALFORMED,
    MISMATCH,
    RECORD_JSON,
    csv_fault,
    csv_limits,
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

_BYTE_ORDER_MARK = "\ufeff"
_ALL = 2**31 - 1

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
        headers = read_headers(spark, found.files, schema, source) if _has_headers(source) else None
        if _by_line(source):
            records = _parsed(_lines(spark, found, headers, source), schema, source, spark)
        else:
            records = _whole_files(spark, found, schema, source)
        return add_folder_values(records, schema, partitions, folder_keys(found.files))
    except SPARK_ERRORS as error:
        raise explain_unreadable_input(error, spark, source) or ConfigurationError(
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
    source, schema, partitions = mapping.source, record_schema(mapping, spark), partition_schema(mapping.source)
    named = {RAW: "record", SOURCE_FILE: "sourceFile", AT: "element", ATTEMPTS: "attempts", RENDERED: "rendered"}
    known = F.coalesce("rendered", _was_rendered(source))
    rows = quarantine.withColumn("rendered", known).select(*[F.col(old).alias(new) for new, old in named.items()])
    texts, rendered = rows.where(~F.col(RENDERED)), rows.where(RENDERED)
    columns, fault = parse_record_json(F.col(RAW), schema)
    read = rendered.select(*columns, *named, fault.alias(FAULT))
    if source.format in COLUMNAR_FORMATS:  # whose records have no text, whatever the mapping was before
        of_texts = texts.select(*_nothing(schema), *named, F.lit(MALFORMED).alias(FAULT))
    else:
        of_texts = _parsed(texts, schema, source, spark)
    return add_folder_values(read.unionByName(of_texts), schema, partitions)


def _was_rendered(source: Source) -> Column:
    """Tell of rows from before they told themselves: what Spark's own readers had read was rendered."""
    own_text = F.lit(False) if source.format in COLUMNAR_FORMATS else F.col("stage") == "read"
    return F.lit(False) if _by_line(source) else ~own_text


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
    require_all_found(lines, found)
    if source.format == "csv" and options.get("comment"):
        lines = lines.where(~F.col("value").startswith(options["comment"]))
    marks = [headers.mark(F.col("value").cast("binary"), LINE_ENCODINGS[encoding])] if headers else []
    return lines.select(_without_mark(_line(F.col("value"), source)).alias(RAW), _file(), *marks)


def _texts(spark: SparkSession, found: Inputs, source: Source) -> DataFrame:
    """Read each file whole, as text that has not been decoded."""
    reader = spark.read.options(**file_filters(source)).option("recursiveFileLookup", "true")
    texts = reader.text(found.paths, wholetext=True)
    require_all_found(texts, found)
    return texts


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
        columns = parse_text(raw, source.pattern, pattern_groups(source, spark)) if source.pattern else []
        return lines.select(*columns, *kept, text_fault(raw, source.pattern).alias(FAULT))
    parse = parse_json if source.format == "json" else parse_csv
    parsed = lines.select(*kept, parse(raw, schema, source).alias("_parsed"))
    record = F.col("_parsed")
    fault = json_fault(raw, record) if source.format == "json" else csv_fault(raw, record[CORRUPT], schema, source)
    return parsed.select(*record_columns(record, schema, source), *kept, fault.alias(FAULT))


def _whole_files(spark: SparkSession, found: Inputs, schema: StructType, source: Source) -> DataFrame:
    """Read records that span lines or are not UTF-8; `_raw` is a refused record's text, else the record as JSON."""
    wanted = StructType([*schema.fields, StructField(CORRUPT, StringType())])
    columns = [F.col(quoted(name)) for name in schema.names]
    files = _reader(spark, source).schema(wanted).format(source.format).load(found.paths)
    require_all_found(files, found)
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
    limits = csv_limits(source) if source.format == "csv" else {}
    own = {"recursiveFileLookup": "true", "columnNameOfCorruptRecord": CORRUPT}
    return spark.read.options(**{**options, **wide, **limits, **own})


def _left_over(spark: SparkSession, found: Inputs, schema: StructType, source: Source) -> DataFrame:
    """Refuse, whole, the JSON files that are not one value."""
    text = _decoded(F.col("value").cast("binary"), source)
    texts = _texts(spark, found, source).select(text.alias(RAW), _file())
    more = texts.where(~is_blank(F.col(RAW)) & ~is_one_value(F.col(RAW), source))
    return more.select(*_nothing(schema), RAW, SOURCE_FILE, F.lit(MALFORMED).alias(FAULT), F.lit(False).alias(RENDERED))


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
