"""Records that are text: lines of JSON, CSV, W3C logs and patterns, JSON that is framed otherwise, and folded CSV."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from functools import reduce
from typing import Final

from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from jobs.lake.filesystem import literal
from jobs.reading.headers import (
    Headers,
    Layout,
    check_w3c_fields,
    find_layout,
    layout_by_position,
    read_headers,
    split_header,
)
from jobs.reading.inputs import Inputs, file_filters, require_all_found
from jobs.reading.mapping_check import line_patterns
from transforms.columns import FAULT, HEADER_TEXT, RAW, RENDERED, SOURCE_FILE, quoted
from transforms.mapping.model import COLUMNAR_FORMATS, LINE_ENCODINGS, Source, encoding_of, is_wide
from transforms.parsing import (
    CORRUPT,
    RECORD_JSON,
    LinePattern,
    csv_fault,
    csv_limits,
    find_matching_pattern,
    json_fault,
    json_values,
    parse_csv,
    parse_json,
    parse_json_again,
    parse_text,
    record_columns,
    text_fault,
    valid_text,
)
from transforms.records import is_blank
from transforms.w3c import parse_w3c, w3c_chunks, w3c_columns

_BYTE_ORDER_MARK: Final = "\ufeff"
_ALL: Final = 2**31 - 1


def read_text_records(
    spark: SparkSession,
    found: Inputs,
    schema: StructType,
    source: Source,
    elsewhere: Collection[str] = (),
) -> DataFrame:
    """Read the records of files of text.

    Args:
        spark: reads them.
        found: the files.
        schema: the mapping's.
        source: the mapping's.
        elsewhere: columns that the folders of the files hold, in lower case.

    Returns:
        See `sources.read_records`.

    Raises:
        ConfigurationError: the header of a file is not one of the schema.
    """
    if source.format == "w3c":
        check_w3c_fields(spark, found.files, schema, source, elsewhere)
        return parse_text_records(_w3c_lines(spark, found, source), schema, source, spark)
    if source.format != "csv":
        lines = _values(spark, found, source) if source.framing != "lines" else _json_lines(spark, found, source)
        return parse_text_records(lines, schema, source, spark)
    headers = read_headers(spark, found.files, schema, source, elsewhere) if _has_headers(source) else []
    read = _read_csv_lines if _is_read_by_line(source) else _read_folded_csv
    if not headers:
        return read(spark, found, None, schema, source)
    if len(headers) == 1:
        return read(spark, found, headers[0], schema, source)
    parts = [read(spark, _inputs(one.paths), one, schema, source) for one in headers]
    return reduce(DataFrame.unionByName, parts)


def parse_text_records(lines: DataFrame, schema: StructType, source: Source, spark: SparkSession) -> DataFrame:
    """Parse texts, a record each.

    Args:
        lines: `_raw`, and whatever is to be kept; with `_header` where columns go by the names in it.
        schema: the mapping's.
        source: the mapping's.
        spark: reads patterns.

    Returns:
        The record's columns, those of `lines`, and `_fault`.
    """
    raw, kept = F.col(RAW), [F.col(name) for name in lines.columns]
    match source.format:
        case "text":
            return _parse_by_patterns(lines, kept, line_patterns(source, spark))
        case "w3c":
            parsed = lines.select(*kept, parse_w3c(raw, F.col(HEADER_TEXT), source).alias("_parsed"))
            columns, fault = w3c_columns(F.col("_parsed"), schema)
            return parsed.select(*columns, *kept, fault.alias(FAULT))
        case "csv":
            return _parse_csv_by_header(lines, schema, source)
    parsed = lines.select(*kept, parse_json(raw, schema, source).alias("_parsed"))
    record = F.col("_parsed")
    fault = json_fault(raw, record).alias(FAULT)
    again = parse_json_again(raw, record, schema, source)
    if again is None:
        return parsed.select(*record_columns(record, schema, source), *kept, fault)
    twice = parsed.select(*kept, "_parsed", again.alias("_again"))
    return twice.select(*record_columns(record, schema, source, F.col("_again")), *kept, fault)


def _parse_by_patterns(lines: DataFrame, kept: list[Column], patterns: Sequence[LinePattern]) -> DataFrame:
    """Cut lines into the named groups of the patterns. Without patterns the line is the only column."""
    if not patterns:
        return lines.select(*kept, F.lit(None).cast("string").alias(FAULT))
    raw, matching = F.col(RAW), F.col("_matching")  # its own column, so that a line is tried once
    tried = lines.withColumn("_matching", find_matching_pattern(raw, patterns))
    return tried.select(*parse_text(raw, matching, patterns), *kept, text_fault(matching).alias(FAULT))


def has_text_of_its_own(source: Source) -> bool:
    """Whether each record keeps its raw text: all but the CSV that Spark's own reader takes apart."""
    return source.format not in COLUMNAR_FORMATS and (source.format != "csv" or _is_read_by_line(source))


def _is_read_by_line(source: Source) -> bool:
    """Whether a line of CSV is a record, which keeps its raw text; other CSV goes through Spark's own reader."""
    return not _spans_lines(source) and encoding_of(source.options) in LINE_ENCODINGS


def _spans_lines(source: Source) -> bool:
    return source.option("multiline") == "true"


def _has_headers(source: Source) -> bool:
    return (source.option("header") or "").lower() == "true"


def _inputs(paths: Sequence[str]) -> Inputs:
    return Inputs([literal(path) for path in paths], list(paths))


def _read_csv_lines(
    spark: SparkSession, found: Inputs, headers: Headers | None, schema: StructType, source: Source
) -> DataFrame:
    layout = headers.layout if headers else layout_by_position(schema)
    return _parse_csv(_lines(spark, found, source, headers), layout, schema, source)


def _parse_csv_by_header(lines: DataFrame, schema: StructType, source: Source) -> DataFrame:
    """Parse lines of CSV that come from several files, each by the header that it has, or by position."""
    by_position = layout_by_position(schema)
    if HEADER_TEXT not in lines.columns or not _has_headers(source):
        return _parse_csv(lines, by_position, schema, source)
    headers = [row[0] for row in lines.select(HEADER_TEXT).where(F.col(HEADER_TEXT).isNotNull()).distinct().collect()]
    parts = [_parse_csv(lines.where(F.col(HEADER_TEXT).isNull()), by_position, schema, source)]
    for header in sorted(headers):
        layout = find_layout(split_header(header, source), schema.names)
        parts.append(_parse_csv(lines.where(F.col(HEADER_TEXT) == header), layout, schema, source))
    return reduce(DataFrame.unionByName, parts)


def _parse_csv(lines: DataFrame, layout: Layout, schema: StructType, source: Source) -> DataFrame:
    raw, kept = F.col(RAW), [F.col(name) for name in lines.columns]
    columns = layout.columns(schema)
    parsed = lines.select(*kept, parse_csv(raw, columns, source).alias("_parsed"))
    record = F.col("_parsed")
    fault = csv_fault(raw, record[CORRUPT], columns, source)
    return parsed.select(*_fields(record, schema, layout), *kept, fault.alias(FAULT))


def _fields(record: Column, schema: StructType, layout: Layout | None = None) -> list[Column]:
    """Take the columns of the schema out of a struct; those that a layout does not have are null."""
    places = layout.places if layout else range(len(schema.fields))
    return [
        (record[field.name] if place is not None else F.lit(None).cast(field.dataType)).alias(field.name)
        for field, place in zip(schema.fields, places, strict=True)
    ]


def _json_lines(spark: SparkSession, found: Inputs, source: Source) -> DataFrame:
    """Read lines; those of files that are UTF-16 or UTF-32 as such."""
    others = [path for path in found.files if path not in found.wide]
    if not found.wide or not others:
        return _wide_lines(spark, found, source) if found.wide else _lines(spark, found, source)
    return _lines(spark, _inputs(others), source).unionByName(_wide_lines(spark, _inputs(sorted(found.wide)), source))


def _wide_lines(spark: SparkSession, found: Inputs, source: Source) -> DataFrame:
    lines = _texts(spark, found, source).select(F.explode(_split(F.col(RAW), source)).alias(RAW), SOURCE_FILE)
    return lines.withColumn(RAW, _without_mark(F.col(RAW)))


def _lines(spark: SparkSession, found: Inputs, source: Source, headers: Headers | None = None) -> DataFrame:
    """Read lines as text: `_raw`, `_source_file` and, where files have headers, `_header` and `_header_line`."""
    encoding = encoding_of(source.options)
    if is_wide(encoding):
        return _wide_lines(spark, found, source)
    reader = spark.read.options(**source.options).option("recursiveFileLookup", "true")
    lines = reader.text(found.paths)
    require_all_found(lines, found)
    comment = source.option("comment")
    if source.format == "csv" and comment:
        lines = lines.where(~F.col("value").startswith(comment))
    marks = []
    if headers:
        marks = [
            headers.mark(F.col("value").cast("binary"), LINE_ENCODINGS[encoding]),
            F.lit(_valid(headers.text)).alias(HEADER_TEXT),
        ]
    return lines.select(_without_mark(_line(F.col("value"), source)).alias(RAW), _file(), *marks)


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _values(spark: SparkSession, found: Inputs, source: Source) -> DataFrame:
    """Read the JSON values of files in which they do not stand one a line: `_raw` and `_source_file`."""
    values = F.explode(json_values(F.col(RAW), source)).alias(RAW)
    return _texts(spark, found, source).select(values, SOURCE_FILE).where(~is_blank(F.col(RAW)))


def _w3c_lines(spark: SparkSession, found: Inputs, source: Source) -> DataFrame:
    """Read the lines of W3C logs, each with the `#Fields:` above it: `_raw`, `_header` and `_source_file`."""
    chunks = _texts(spark, found, source).select(F.explode(w3c_chunks(F.col(RAW))).alias("_elements"), SOURCE_FILE)
    lines = F.explode(_split(F.col("_elements.lines"), source)).alias(RAW)
    header = F.col("_elements.header").alias(HEADER_TEXT)
    return chunks.select(lines, header, SOURCE_FILE).where(~F.col(RAW).startswith("#") & ~is_blank(F.col(RAW)))


def _texts(spark: SparkSession, found: Inputs, source: Source) -> DataFrame:
    """Read each file whole, by one task, as `_raw`; with `_source_file`."""
    reader = spark.read.options(**file_filters(source)).option("recursiveFileLookup", "true")
    texts = reader.text(found.paths, wholetext=True)
    require_all_found(texts, found)
    return texts.select(_decoded(F.col("value").cast("binary"), source).alias(RAW), _file())


def _line(value: Column, source: Source) -> Column:
    """Read a line's bytes as text. JSON and CSV make valid text of UTF-8 when they are parsed."""
    encoding = encoding_of(source.options)
    if LINE_ENCODINGS.get(encoding) != "UTF-8":
        return F.decode(value.cast("binary"), LINE_ENCODINGS.get(encoding, encoding))
    return valid_text(value) if source.format == "text" else value


def _decoded(content: Column, source: Source) -> Column:
    """Decode a file as Spark's reader of JSON does: of the encodings of Unicode, the file itself says which."""
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
    given = source.option("linesep")
    end = re.escape(given) if given else "\r\n|\r|\n"
    lines = F.split(F.regexp_replace(text, rf"(?:{end})\z", ""), end)
    return F.when(text != "", lines)


def _read_folded_csv(
    spark: SparkSession, found: Inputs, headers: Headers | None, schema: StructType, source: Source
) -> DataFrame:
    """Read CSV of folded lines or other encodings; `_raw` is a refused record's text, else the record as JSON."""
    layout = headers.layout if headers else layout_by_position(schema)
    own = layout.columns(schema)
    wanted = StructType([*own.fields, StructField(CORRUPT, StringType())])
    files = _csv_reader(spark, source).schema(wanted).format("csv").load(found.paths)
    require_all_found(files, found)
    corrupt = F.col(CORRUPT)
    columns = [
        (F.col(quoted(field.name)) if place is not None else F.lit(None).cast(field.dataType)).alias(field.name)
        for field, place in zip(schema.fields, layout.places, strict=True)
    ]
    raw = F.coalesce(corrupt, F.to_json(F.struct(*columns), RECORD_JSON)).alias(RAW)
    fault = csv_fault(corrupt, corrupt, own, source).alias(FAULT)
    header = [F.lit(_valid(headers.text)).alias(HEADER_TEXT)] if headers else []
    return files.select(*columns, raw, _file(), fault, corrupt.isNull().alias(RENDERED), *header)


def _csv_reader(spark: SparkSession, source: Source) -> DataFrameReader:
    wide = {"multiLine": "true"} if is_wide(encoding_of(source.options)) else {}
    own = {"recursiveFileLookup": "true", "columnNameOfCorruptRecord": CORRUPT}
    return spark.read.options(**{**source.options, **wide, **csv_limits(source), **own})


def _file() -> Column:
    return F.col("_metadata.file_path").alias(SOURCE_FILE)
