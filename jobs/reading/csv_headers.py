"""The headers of CSV files: read on the driver, file by file, and held against the mapping's schema.

A file's header is its first line that is neither blank nor a comment. Where Spark's own reader drops it, this module
only judges it. Where lines are read as text, each line that equals the header of a file is marked: the first one of a
file is its header by position, and one further down is left by whoever joined files. No record can be taken for a
header, because a header bears the names of the schema's columns.
"""

from __future__ import annotations

import codecs
import csv
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.reading.inputs import escape_path, first_of
from jobs.reading.read_causes import cause_in_words
from transforms.columns import HEADER
from transforms.mapping.model import LINE_ENCODINGS, Source, encoding_of
from transforms.parsing import CORRUPT, parse_csv

_SIZES: Final = (8 * 1024, 1024 * 1024, 16 * 1024 * 1024)
"""Bytes of a file that are looked at: more only where fewer do not hold its first line."""
_AT_ONCE: Final = 16
"""Files that are opened at the same time: a store far away takes its time for each."""
_BYTE_ORDER_MARK: Final = "\ufeff"
_WHITE: Final = " \t\n\x0b\f\r"
_LINE_END: Final = re.compile("\r\n|\r|\n")
_VALUE: Final = re.compile(r"[+-]?(\d[\d,.]*|\.\d+)([eE][+-]?\d+)?|\d{4}-\d\d-\d\d([T ].*)?|true|false", re.IGNORECASE)
"""What a record holds, and what nobody calls a column: a number, a date or a truth value."""
_COLUMN: Final = re.compile(r"[^\W\d]\w{0,63}")
_NO_HEADER: Final = 'if the file has no header, set header = "false"'
_MOST_NAMES: Final = 10

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers that some files begin with.

    Attributes:
        files: by header, the files that begin with it; as text, without a byte order mark.
    """

    files: Mapping[str, Sequence[str]]

    def mark(self, line: Column, encoding: str) -> Column:
        """Tell whether a line, as its bytes, is a header; the column knows how many files begin with one."""
        headers = [header.encode(encoding, "surrogateescape") for header in self.files]
        known = [F.lit(line) for header in headers for line in (header, codecs.BOM_UTF8 + header)]
        count = sum(map(len, self.files.values()))
        return line.isin(*known).alias(HEADER, metadata={"files": count})


def files_with_header(records: DataFrame) -> int:
    """Count the files whose headers `Headers.mark` has marked."""
    return int(records.schema[HEADER].metadata["files"]) if HEADER in records.columns else 0


def read_headers(spark: SparkSession, files: Sequence[str], schema: StructType, source: Source) -> Headers:
    """Read the header of each file, and judge it.

    Args:
        spark: opens the files, and parses their headers.
        files: by path.
        schema: the mapping's.
        source: the mapping's, for its options.

    Raises:
        ConfigurationError: a file cannot be read, its first line is not a header, or its columns are not the schema's.
    """
    reader = _Reader(FileSystem(spark), source)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        lines = list(pool.map(reader.first_record, files) if len(files) > _AT_ONCE else map(reader.first_record, files))
    by_header: dict[str, list[str]] = {}
    faults = []
    for file, line in zip(files, lines, strict=True):
        if isinstance(line, OSError):
            faults.append(f"--input {escape_path(file)}: cannot be read: {cause_in_words(str(line)) or line}")
        elif line is not None:
            by_header.setdefault(line, []).append(file)
    cells = _cells(spark, list(by_header), schema, source)
    for (header, its_files), (names, whole) in zip(by_header.items(), cells, strict=True):
        if fault := _fault(names, schema.names, _Shape(_split(header, source), whole, _separator(source))):
            faults += [f"--input {escape_path(file)}: {fault}" for file in its_files]
    if faults:
        raise ConfigurationError(*first_of(faults))
    _tell_other_names([names for names, _ in cells], schema.names)
    return Headers(by_header)


def first_record(text: str, *, whole: bool, source: Source) -> str | None:
    """Cut off the first record of a CSV file.

    Args:
        text: of the file's start.
        whole: whether the file goes on no further.
        source: the mapping's, for its options.

    Returns:
        The record without its line's end, "" where there is none, and None where the text ends before it does.

    Examples:
        >>> commented = Source("csv", options={"comment": "#"})
        >>> first_record("\\n# made by hand\\r\\na,b\\r\\n1,2", whole=False, source=commented)
        'a,b'
        >>> quoted = '"a\\nb",c\\n1,2\\n'
        >>> first_record(quoted, whole=False, source=Source("csv", options={"multiLine": "true"}))
        '"a\\nb",c'
        >>> first_record("a,b", whole=False, source=Source("csv")) is None
        True
    """
    options = {key.lower(): value for key, value in source.options.items()}
    comment, line_end = options.get("comment", ""), _LINE_END
    if "linesep" in options:
        line_end = re.compile(re.escape(options["linesep"]))
    quote = options.get("quote", '"') if options.get("multiline") == "true" else ""
    escape = options.get("escape", "\\")
    start = counted = quotes = 0
    ends = [
        *((match.start(), match.end()) for match in line_end.finditer(text)),
        *([(len(text),) * 2] if whole else []),
    ]
    for end, following in ends:
        quotes += _quotes(text[counted:end], quote, escape)
        counted = following
        if quotes % 2:  # the line's end is a part of a quoted value
            continue
        line, start = text[start:end], following
        if line.strip(_WHITE) and not (comment and line.startswith(comment)):
            return line
    return "" if whole else None


def _quotes(text: str, quote: str, escape: str) -> int:
    """Count the quotes that begin or end a value; doubled ones count as two, which changes nothing."""
    return 0 if not quote else text.count(quote) if escape == quote else text.replace(escape + quote, "").count(quote)


class _Reader:
    def __init__(self, files: FileSystem, source: Source) -> None:
        self._files = files
        self._source = source

    def first_record(self, file: str) -> str | OSError | None:
        """Read a file's first record; None where it has none."""
        try:
            for size in _SIZES:
                start = self._files.read_start(file, size)
                record = first_record(self._text(start), whole=len(start) < size, source=self._source)
                if record is not None:
                    return record or None
        except OSError as error:
            return error
        return OSError(f"its first {_SIZES[-1]:,} bytes have no line end")

    def _text(self, start: bytes) -> str:
        encoding = encoding_of(self._source.options)
        bare = start.removeprefix(codecs.BOM_UTF8)
        if encoding in LINE_ENCODINGS:  # so that the very bytes can be had back
            return bare.decode(LINE_ENCODINGS[encoding], "surrogateescape")
        return self._files.decode(bare, encoding).removeprefix(_BYTE_ORDER_MARK)


def _cells(
    spark: SparkSession, headers: Sequence[str], schema: StructType, source: Source
) -> list[tuple[list[str | None], bool]]:
    """Parse headers as the files' records are: the cells of each, and whether they are as many as the schema's."""
    texts = StructType([StructField(f"_{place}", StringType()) for place in range(len(schema))])
    rows = [(place, header.encode("utf-8", "replace").decode()) for place, header in enumerate(headers)]
    lines = spark.createDataFrame(rows, "place INT, line STRING")
    parsed = lines.select("place", parse_csv(F.col("line"), texts, source).alias("fields")).collect()
    found = []
    for row in sorted(parsed, key=lambda row: int(row["place"])):
        fields: dict[str, Any] = row["fields"].asDict()
        whole = fields.pop(CORRUPT) is None
        found.append((list(fields.values()), whole))
    return found


@dataclass(frozen=True, slots=True)
class _Shape:
    """A first line as it is cut into columns.

    Attributes:
        cells: of all its columns.
        whole: whether they are as many as the schema's.
        separator: that it is cut at.
    """

    cells: Sequence[str]
    whole: bool
    separator: str


def _separator(source: Source) -> str:
    options = {key.lower(): value for key, value in source.options.items()}
    return options.get("sep", options.get("delimiter", ","))


def _split(line: str, source: Source) -> list[str]:
    """Cut a first line into columns, for a message: Spark's parser knows no more of them than the schema has."""
    separator = _separator(source)
    quote = {key.lower(): value for key, value in source.options.items()}.get("quote", '"')
    if len(separator) == 1 and len(quote) == 1:
        with suppress(csv.Error):
            return next(csv.reader([line], delimiter=separator, quotechar=quote), [])
    return line.split(separator)


def _fault(cells: Sequence[str | None], names: Sequence[str], shape: _Shape) -> str | None:
    """Say in which way a first line is no header of the schema; its cells may be a record's, so none is repeated."""
    places = {_name(cell): place for place, cell in reversed(list(enumerate(cells, start=1))) if cell}
    known = [name for name in names if name.lower() in places]
    missing = [name for name in names if name.lower() not in places]
    strangers = [cell for cell, name in zip(cells, names, strict=True) if cell and _name(cell) != name.lower()]
    if len(shape.cells) == 1 < len(names):
        separator = f'is [source] options sep = "{shape.separator}" right?'
        return f"its first line has 1 column, the mapping's schema has {len(names)}: {separator}"
    if not known:
        return f"its first line is not a header: it names none of the columns {_list(names)}; {_NO_HEADER}"
    if any(_VALUE.fullmatch(cell.strip()) for cell in strangers):
        absent = f"of the columns {_list(names)} it does not name {_list(missing)}"
        return f"its first line is not a header: {absent}; {_NO_HEADER}"
    if not shape.whole:
        return _count_fault(names, missing, shape)
    for place, name in enumerate(names, start=1):
        cell = cells[place - 1]
        at = places.get(name.lower(), place)
        if at != place and _name(cell or "") != name.lower():
            return f"{name} is column {at} of its header and {place} of the schema: columns are matched by position"
    return None


def _count_fault(names: Sequence[str], missing: Sequence[str], shape: _Shape) -> str:
    """Say of a header of more or fewer columns which are not the schema's, as far as they look like names."""
    schema = {name.lower() for name in names}
    extra = [cell.strip() for cell in shape.cells if _name(cell) not in schema]
    missing = [name for name in missing if name.lower() not in {_name(cell) for cell in shape.cells}]
    is_header = 2 * len(extra) <= len(shape.cells) and all(_COLUMN.fullmatch(cell) for cell in extra)
    parts = [f"the schema does not have {_list(extra)}"] if extra and is_header else []
    parts += [f"the header does not have {_list(missing)}"] if missing else []
    fault = f"its header has {len(shape.cells)} columns, the mapping's schema has {len(names)}"
    return f"{fault}: {'; '.join(parts)}" if parts else fault


def _tell_other_names(headers: Iterable[Sequence[str | None]], names: Sequence[str]) -> None:
    header_names = {_name(cell) for cells in headers for cell in cells if cell}
    if header_names and (missing := [name for name in names if name.lower() not in header_names]):
        log.info("--input: no header names %s of the mapping's schema: columns are matched by position", _list(missing))


def _name(cell: str) -> str:
    return cell.strip().removeprefix(_BYTE_ORDER_MARK).lower()


def _list(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
