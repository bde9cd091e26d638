"""The headers of CSV files and W3C logs: read on the driver, file by file, so that columns go by their names.

The header of a CSV file is its first line that is neither blank nor a comment. It says where the columns of the schema
stand in that file. Where lines are read as text, each line that equals the header of a file is marked: the first one
of a file is its header by position, and one further down is left by whoever joined files. No record can be taken for a
header, because a header bears the names of the schema's columns.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.reading.inputs import escape_path, first_of
from jobs.reading.read_causes import cause_in_words
from transforms.columns import HEADER
from transforms.mapping.model import LINE_ENCODINGS, Source, encoding_of

_SIZES: Final = (8 * 1024, 1024 * 1024, 16 * 1024 * 1024)
"""Bytes of a file that are looked at: more only where fewer do not hold its first line."""
_AT_ONCE: Final = 16
"""Files that are opened at the same time: a store far away takes its time for each."""
_BYTE_ORDER_MARK: Final = "\ufeff"
_WHITE: Final = " \t\n\x0b\f\r"
_LINE_END: Final = re.compile("\r\n|\r|\n")
_VALUE: Final = re.compile(r"[+-]?(\d[\d,.]*|\.\d+)([eE][+-]?\d+)?|\d{4}-\d\d-\d\d([T ].*)?|true|false", re.IGNORECASE)
"""What a record holds, and what nobody calls a column: a number, a date or a truth value."""
_W3C_FIELDS: Final = re.compile(r"^\ufeff?#Fields:[ \t]*(.*)$", re.MULTILINE)
_NO_HEADER: Final = 'if the file has no header, set header = "false"'
_NUMBERED: Final = re.compile(r"(.+)_([2-9]|[1-9][0-9])")
"""What a schema may call the n-th column of one name."""
_MOST_NAMES: Final = 10
_MOST_LAYOUTS: Final = 200
"""Each is a plan of its own."""

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the columns of a schema stand in a file.

    Attributes:
        places: of each column of the schema, its place in the file from 0; None where the file does not have it.
        width: columns of the file.
    """

    places: tuple[int | None, ...]
    width: int

    def columns(self, schema: StructType) -> StructType:
        """Give the columns of the file in its own order; those that the schema does not have are STRING."""
        fields = [StructField(f"_column_{place}", StringType()) for place in range(self.width)]
        for place, field in zip(self.places, schema.fields, strict=True):
            if place is not None:
                fields[place] = field
        return StructType(fields)


def layout_by_position(schema: StructType) -> Layout:
    """Give the layout of files without a header."""
    return Layout(tuple(range(len(schema.fields))), len(schema.fields))


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers that files of one layout begin with.

    Attributes:
        layout: that all of them say.
        files: by header, the files that begin with it; as text, without a byte order mark.
        files_in_all: how many files of the input have a header, of whatever layout.
    """

    layout: Layout
    files: Mapping[str, Sequence[str]]
    files_in_all: int

    @property
    def text(self) -> str:
        """One of the headers, which stands for the others: they say the same layout."""
        return next(iter(self.files))

    @property
    def paths(self) -> list[str]:
        """The files."""
        return [file for files in self.files.values() for file in files]

    def mark(self, line: Column, encoding: str) -> Column:
        """Tell whether a line, as its bytes, is a header; the column knows how many files begin with one."""
        headers = [header.encode(encoding, "surrogateescape") for header in self.files]
        known = [F.lit(line) for header in headers for line in (header, codecs.BOM_UTF8 + header)]
        return line.isin(*known).alias(HEADER, metadata={"files": self.files_in_all})


def files_with_header(records: DataFrame) -> int:
    """Count the files whose headers `Headers.mark` has marked."""
    return int(records.schema[HEADER].metadata["files"]) if HEADER in records.columns else 0


def read_headers(
    spark: SparkSession, files: Sequence[str], schema: StructType, source: Source, elsewhere: Collection[str] = ()
) -> list[Headers]:
    """Read the header of each file, and find the columns of the schema in it by their names.

    Args:
        spark: opens the files.
        files: by path.
        schema: the mapping's.
        source: the mapping's, for its options.
        elsewhere: columns that the folders of the files hold, in lower case.

    Returns:
        The headers by layout. Files without a line have none.

    Raises:
        ConfigurationError: a file cannot be read, its first line is not a header, or no file has a column.
    """
    lines = _read_each(_Reader(FileSystem(spark), source).first_record, files)
    by_header: dict[str, list[str]] = {}
    faults = []
    for file, line in zip(files, lines, strict=True):
        if isinstance(line, OSError):
            faults.append(f"--input {escape_path(file)}: cannot be read: {cause_in_words(str(line)) or line}")
        elif line is not None:
            by_header.setdefault(line, []).append(file)
    cells = {header: split_header(header, source) for header in by_header}
    for header, its_files in by_header.items():
        if fault := _fault(cells[header], schema.names, _separator(source)):
            faults += [f"--input {escape_path(file)}: {fault}" for file in its_files]
    if faults:
        raise ConfigurationError(*first_of(faults))
    by_layout: dict[Layout, dict[str, Sequence[str]]] = {}
    for header, its_files in by_header.items():
        by_layout.setdefault(find_layout(cells[header], schema.names), {})[header] = its_files
    if len(by_layout) == 1 and _is_only_renamed(next(iter(by_layout))):
        layout, its_headers = by_layout.popitem()
        renamed = [name for name, place in zip(schema.names, layout.places, strict=True) if place is None]
        log.warning(
            "--input: no header has the columns %s of the mapping's schema: they are read by their positions",
            _list(renamed),
        )
        by_layout = {layout_by_position(schema): its_headers}
    _require_columns(list(by_layout), list(cells.values()), schema.names, {*source.optional, *elsewhere})
    if len(by_layout) > _MOST_LAYOUTS:
        raise ConfigurationError(
            f"--input: its files have {len(by_layout):,} different headers, at most {_MOST_LAYOUTS} can be read at "
            "once: is each first line a header? Otherwise build the batch in parts"
        )
    count = sum(map(len, by_header.values()))
    return [Headers(layout, its_headers, count) for layout, its_headers in by_layout.items()]


def check_w3c_fields(
    spark: SparkSession, files: Sequence[str], schema: StructType, source: Source, elsewhere: Collection[str] = ()
) -> None:
    """See that W3C logs begin with lines that name their columns, and that some of them names each column of a schema.

    Args:
        spark: opens the files.
        files: by path.
        schema: the mapping's.
        source: the mapping's.
        elsewhere: columns that the folders of the files hold, in lower case.

    Raises:
        ConfigurationError: a file cannot be read or names no columns, or no file has a column.
    """
    found = _read_each(_Reader(FileSystem(spark), source).w3c_fields, files)
    faults, cells = [], []
    for file, fields in zip(files, found, strict=True):
        if isinstance(fields, OSError):
            faults.append(f"--input {escape_path(file)}: cannot be read: {cause_in_words(str(fields)) or fields}")
        elif fields == []:
            faults.append(
                f"--input {escape_path(file)}: its first {_SIZES[0]:,} bytes have no #Fields: line: is it a W3C log?"
            )
        elif fields is not None:
            cells += fields
    if faults:
        raise ConfigurationError(*first_of(faults))
    layouts = [find_layout(names, schema.names) for names in cells]
    _require_columns(layouts, cells, schema.names, {*source.optional, *elsewhere})


def _read_each(read: Callable[[str], T], files: Sequence[str]) -> list[T]:
    """Read something of each file; many files at the same time."""
    if len(files) <= _AT_ONCE:
        return list(map(read, files))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(read, files))


def find_layout(cells: Sequence[str], names: Sequence[str]) -> Layout:
    """Find the columns of a schema in a header by their names, in any case of letters.

    A schema cannot have two columns of one name, so it may call the second `name` of a header `name_2`, the third one
    `name_3`, and so on. A column without a name, or a later one of a name, may also have any name of the schema at the
    same place.

    Examples:
        >>> find_layout(["at", "Who", "more"], ["who", "kind", "at"])
        Layout(places=(1, None, 0), width=3)
        >>> find_layout(["", "who", "at", "who"], ["row", "who", "at", "other"]).places
        (0, 1, 2, 3)
        >>> find_layout(["at", "who", "who"], ["who", "who_2", "at"]).places
        (1, 2, 0)
    """
    found: dict[str, list[int]] = {}
    for place, cell in enumerate(cells):
        found.setdefault(_name(cell), []).append(place)
    places: list[int | None] = []
    for name in map(str.lower, names):
        numbered = _NUMBERED.fullmatch(name)
        if name in found:
            places.append(found[name][0])
        elif numbered and len(found.get(numbered[1], ())) >= int(numbered[2]):
            places.append(found[numbered[1]][int(numbered[2]) - 1])
        else:
            places.append(None)
    taken = {place for place in places if place is not None}
    for place, at in enumerate(places):
        if at is None and place < len(cells) and place not in taken and _has_no_name_of_its_own(place, cells, found):
            places[place] = place
    return Layout(tuple(places), len(cells))


def _is_only_renamed(layout: Layout) -> bool:
    """Tell whether a schema differs from a header in names alone: as many columns, and none in another place."""
    places = layout.places
    return (
        layout.width == len(places) and None in places and all(at in (None, place) for place, at in enumerate(places))
    )


def _has_no_name_of_its_own(place: int, cells: Sequence[str], found: Mapping[str, Sequence[int]]) -> bool:
    name = _name(cells[place])
    return not name or found[name][0] != place


def _require_columns(
    layouts: Sequence[Layout], headers: Sequence[Sequence[str]], names: Sequence[str], known: Collection[str]
) -> None:
    """Refuse a schema with a column that no file has; tell of those that some files do not have."""
    faults = []
    for place, name in enumerate(names):
        lacking = sum(layout.places[place] is None for layout in layouts)
        if layouts and lacking == len(layouts) and name.lower() not in {other.lower() for other in known}:
            own = {cell.strip() for cells in headers for cell in cells} - set(names)
            near = difflib.get_close_matches(name, sorted(own), n=1)
            hint = f"did you mean {near[0]}?" if near else "name it as the header does, or list it in [source] optional"
            faults.append(f"--input: no header has the column {name} of the mapping's schema: {hint}")
        elif 0 < lacking < len(layouts):
            log.info("--input: some headers do not have the column %s: it is null in their files", name)
    if faults:
        raise ConfigurationError(*first_of(faults))


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
    comment, separator = source.option("comment") or "", source.option("linesep")
    line_end = re.compile(re.escape(separator)) if separator else _LINE_END
    quote = _quote(source) if source.option("multiline") == "true" else ""
    escape = source.option("escape") or "\\"
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

    def w3c_fields(self, file: str) -> list[list[str]] | OSError | None:
        """Read the names on each `#Fields:` line of a file's start; None where the file is empty."""
        try:
            text = self._text(self._files.read_start(file, _SIZES[0]))
        except OSError as error:
            return error
        return [names.split() for names in _W3C_FIELDS.findall(text)] if text.strip() else None

    def _text(self, start: bytes) -> str:
        encoding = encoding_of(self._source.options)
        bare = start.removeprefix(codecs.BOM_UTF8)
        if encoding in LINE_ENCODINGS:  # so that the very bytes can be had back
            return bare.decode(LINE_ENCODINGS[encoding], "surrogateescape")
        return self._files.decode(bare, encoding).removeprefix(_BYTE_ORDER_MARK)


def _separator(source: Source) -> str:
    return source.option("sep") or source.option("delimiter") or ","


def _quote(source: Source) -> str:
    quote = source.option("quote")
    return '"' if quote is None else quote


def split_header(line: str, source: Source) -> list[str]:
    """Cut a header into its cells."""
    separator, quote = _separator(source), _quote(source)
    if len(separator) == 1 and len(quote) == 1:
        with suppress(csv.Error):
            return next(csv.reader([line], delimiter=separator, quotechar=quote), [])
    return line.split(separator)


def _fault(cells: Sequence[str], names: Sequence[str], separator: str) -> str | None:
    """Say in which way a first line is no header of the schema; its cells may be a record's, so none is repeated."""
    schema = {name.lower() for name in names}
    missing = [name for name in names if name.lower() not in set(map(_name, cells))]
    if len(cells) == 1 < len(names):
        right = f'is [source] options sep = "{separator}" right?'
        return f"its first line has 1 column, the mapping's schema has {len(names)}: {right}"
    if len(missing) == len(names):
        return f"its first line is not a header: it names none of the columns {_list(names)}; {_NO_HEADER}"
    if missing and any(_VALUE.fullmatch(cell.strip()) for cell in cells if _name(cell) not in schema):
        absent = f"of the columns {_list(names)} it does not name {_list(missing)}"
        return f"its first line is not a header: {absent}; {_NO_HEADER}"
    return None


def _name(cell: str) -> str:
    return cell.strip().removeprefix(_BYTE_ORDER_MARK).lower()


def _list(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
