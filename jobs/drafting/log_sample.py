"""What the starts of some files say of a log: its format, how records stand in it, and some of them."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pyspark.sql.types import StringType, StructField, StructType

from jobs.drafting.json_types import infer_type
from jobs.reading.json_framing import find_framing

_DECODER: Final = json.JSONDecoder(strict=False)
_SEPARATORS: Final = ("\t", ";", "|", ",")
_MOST_RECORDS: Final = 2_000
"""Of the sample."""
_W3C_FIELDS: Final = re.compile(r"^#Fields:[ \t]*(.*)$", re.MULTILINE)
_VALUE: Final = re.compile(r"[+-]?\d[\d.,:/TZ -]*|true|false|null|\s*", re.IGNORECASE)
_ENOUGH: Final = 0.7
"""Share of the lines that must have as many columns as most: others may be damaged."""
_LEAST_COLUMNS: Final = 3
"""Two could be a text with a comma in it."""


@dataclass(frozen=True, slots=True)
class FileStart:
    """The start of a file.

    Attributes:
        text: decoded.
        is_whole: whether the file goes on no further.
    """

    text: str
    is_whole: bool


@dataclass(frozen=True, slots=True)
class LogSample:
    """What is known of a log.

    Attributes:
        format: as in `[source]`.
        records: some, by the names of their columns.
        schema: their columns.
        framing: of JSON.
        options: of Spark's reader.
        notes: what a person should know, a line each.
    """

    format: str
    records: Sequence[Mapping[str, Any]]
    schema: StructType
    framing: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def sample_log(starts: Sequence[FileStart], kind: str | None = None) -> LogSample | None:
    """Find out what a log of text is; None where its files hold nothing, or lines of no known form.

    Args:
        starts: of some of its files.
        kind: its format, where somebody has said it.
    """
    filled = [FileStart(start.text.lstrip("\ufeff"), start.is_whole) for start in starts if start.text.strip()]
    if not filled:
        return None
    if kind is None:
        is_w3c = any(_W3C_FIELDS.search(start.text) for start in filled)
        kind = "w3c" if is_w3c else "json" if filled[0].text.lstrip()[:1] in ("{", "[") else "csv"
    read = {"w3c": _sample_w3c, "json": _sample_json, "csv": _sample_csv}.get(kind)
    return read(filled) if read else None


def _sample_json(starts: Sequence[FileStart]) -> LogSample | None:
    framings = [find_framing(start.text, is_whole=start.is_whole) for start in starts]
    framing = next((one for one in framings if one), "lines")
    records = [one for start in starts for one in _json_objects(start)][:_MOST_RECORDS]
    if not records:
        return None
    notes = ("files have different framings: build them apart",) if len({*framings} - {None}) > 1 else ()
    kind = infer_type(records)
    if not isinstance(kind, StructType):
        return None
    return LogSample("json", records, kind, framing if framing != "lines" else None, notes=notes)


def _json_objects(start: FileStart) -> Iterator[dict[str, Any]]:
    """Read objects one behind the other, in an array or not, as far as the text is whole."""
    text, place = start.text, 0
    while place < len(text):
        while place < len(text) and text[place] in " \t\r\n,[]":
            place += 1
        try:
            value, place = _DECODER.raw_decode(text, place)
        except ValueError:
            following = text.find("\n", place)
            if following < 0:
                return
            place = following + 1
            continue
        if isinstance(value, dict):
            yield value


def _sample_csv(starts: Sequence[FileStart]) -> LogSample | None:
    lines = [_whole_lines(start) for start in starts]
    separator = _find_separator([line for some in lines for line in some[:200]])
    if separator is None:
        return None
    tables = [list(csv.reader(some, delimiter=separator)) for some in lines if some]
    width = Counter(len(row) for table in tables for row in table).most_common(1)[0][0]
    first = tables[0][0]
    has_header = _is_header(first, tables)
    names = first if has_header else [f"c{place}" for place in range(1, width + 1)]
    names = _distinct(names)
    records = [
        dict(zip(names, row, strict=False))
        for table in tables
        for row in table[1 if has_header else 0 :]
        if len(row) == width
    ][:_MOST_RECORDS]
    options = {**({"header": "true"} if has_header else {}), **({"sep": separator} if separator != "," else {})}
    if any('""' in line for some in lines for line in some):
        options["escape"] = '"'
    notes = () if has_header else ("there is no header: give the columns names",)
    schema = StructType([StructField(name, StringType()) for name in names])
    return LogSample("csv", [_without_blanks(record) for record in records], schema, options=options, notes=notes)


def _find_separator(lines: Sequence[str]) -> str | None:
    """Find the separator that cuts most lines into equally many columns, and into the most of them."""
    best: tuple[int, str] | None = None
    for separator in _SEPARATORS:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=separator))
        width, lines_of_it = widths.most_common(1)[0]
        if width >= _LEAST_COLUMNS and lines_of_it >= _ENOUGH * len(lines) and (best is None or width > best[0]):
            best = (width, separator)
    return best[1] if best else None


def _is_header(first: Sequence[str], tables: Sequence[Sequence[Sequence[str]]]) -> bool:
    """Whether a first line names columns: no name is a value, none but blank ones come twice, no record repeats one."""
    if any(name and _VALUE.fullmatch(name.strip()) for name in first) or not any(first):
        return False
    named = [name for name in first if name]
    values = {value for table in tables for row in table[1:50] for value in row}
    return len(set(named)) >= len(named) - 1 and not values.intersection(named)


def _distinct(names: Sequence[str]) -> list[str]:
    """Name columns as a schema must: each once, in any case of letters, none blank."""
    seen: Counter[str] = Counter()
    distinct = []
    for place, name in enumerate(names, start=1):
        plain = name.strip() or f"c{place}"
        seen[plain.lower()] += 1
        count = seen[plain.lower()]
        distinct.append(plain if count == 1 else f"{plain}_{count}")
    return distinct


def _sample_w3c(starts: Sequence[FileStart]) -> LogSample:
    names: list[str] = []
    records: list[dict[str, str]] = []
    for start in starts:
        fields: list[str] = []
        for line in _whole_lines(start):
            if found := _W3C_FIELDS.match(line):
                fields = found[1].split()
                names += [name for name in fields if name.lower() not in {one.lower() for one in names}]
            elif not line.startswith("#"):
                records.append({name: value for name, value in zip(fields, line.split(), strict=False) if value != "-"})
    schema = StructType([StructField(name, StringType()) for name in names])
    return LogSample("w3c", records[:_MOST_RECORDS], schema)


def _whole_lines(start: FileStart) -> list[str]:
    lines = start.text.splitlines()
    return [line for line in (lines if start.is_whole else lines[:-1]) if line.strip()]


def _without_blanks(record: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in record.items() if value.strip()}
