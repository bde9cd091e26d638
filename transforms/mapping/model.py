"""What a user writes to map one raw record to candidates, as frozen dataclasses.

`reader` reads the TOML file into them; `check` finds the faults that only Spark can see.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from transforms.mapping.toml_places import TomlPlaces

FORMATS: Final = ("json", "csv", "parquet", "orc", "text", "w3c", "avro", "table", "delta", "iceberg")
FRAMINGS: Final = ("lines", "concatenated", "array", "document")
"""How JSON values stand in a file: one a line, one behind the other, in one array, or one alone."""
EVENT_FIELDS: Final = (
    "eventType",
    "sentAt",
    "userId",
    "visitorId",
    "sessionId",
    "eventId",
    "itemId",
    "eventValue",
    "impression",
    "recommendationId",
    "eventAttributionSource",
)
IDENTITY_FIELDS: Final = ("userId", "visitorId", "sessionId")
# Set by the job itself: a mapping that could change them could make a record vanish unseen.
OWN_OPTIONS: Final = frozenset(
    {"mode", "columnnameofcorruptrecord", "inferschema", "path", "wholetext"}
    | {"recursivefilelookup", "basepath", "ignorecorruptfiles", "ignoremissingfiles"}
)
LINE_ENCODINGS: Final = {"utf-8": "UTF-8", "utf8": "UTF-8", "iso-8859-1": "ISO-8859-1", "latin1": "ISO-8859-1"}
"""In which a line's end is one byte, and which Spark's `decode` knows."""
MISSING_WORDS: Final = (
    "null",
    "undefined",
    "none",
    "nan",
    "-",
    "(not set)",
    "(none)",
    "[object Object]",
    r"\N",
    "00000000-0000-0000-0000-000000000000",
    "00000000000000000000000000000000",
)
"""What logs write for a value that is not there, in any case of letters; a mapping may list others."""
EXTENDS: Final = "extends"
"""The key that names the shipped mapping that a file extends."""
TABLE_FORMATS: Final = ("table", "delta", "iceberg")
"""Those that read tables, by name or path, and know their files themselves."""
COLUMNAR_FORMATS: Final = ("parquet", "orc", "avro", *TABLE_FORMATS)
"""Those whose input says which columns it has."""
CAMEL_CASE: Final = re.compile(r"[a-z][A-Za-z0-9]*")


@dataclass(frozen=True, slots=True, order=True)
class ConfigFault:
    """Something wrong in a mapping file.

    Attributes:
        line: 1-based line of the file; 0 where it is the file as a whole.
        place: the key, as `[table] key`.
        problem: what is wrong, and what to do.
    """

    line: int
    place: str
    problem: str

    def describe(self, file: str) -> str:
        """Name the place and the problem in one line.

        Examples:
            >>> ConfigFault(7, "[event] sentAt", "is missing").describe("shop.toml")
            'shop.toml:7: [event] sentAt: is missing'
        """
        at = f"{file}:{self.line}" if self.line else file
        return f"{at}: {self.place}: {self.problem}" if self.place else f"{at}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Source:
    """How raw records are read.

    Attributes:
        format: one of `FORMATS`.
        schema: Spark DDL of a record; None for text.
        options: Spark reader options.
        pattern: Java regular expression whose named groups become STRING columns; text only.
        patterns: several in its place; the first that matches a line gives its columns.
        missing: words that count as a missing value, in any case of letters.
        framing: one of `FRAMINGS`; JSON only.
        optional: columns of the schema that the input may lack; files that say which columns they have.
        partitions: Spark DDL of the columns that only the folders above a file hold.
    """

    format: str
    schema: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    pattern: str | None = None
    patterns: tuple[str, ...] = ()
    missing: tuple[str, ...] = MISSING_WORDS
    framing: str = "lines"
    optional: tuple[str, ...] = ()
    partitions: str | None = None

    def option(self, name: str) -> str | None:
        """Find a reader option, whose name may be written in any case of letters.

        Examples:
            >>> Source("csv", options={"lineSep": ";"}).option("linesep")
            ';'
        """
        return next((value for key, value in self.options.items() if key.lower() == name), None)

    @property
    def line_patterns(self) -> tuple[str, ...]:
        """The patterns to try, in order; empty if a line is one column."""
        return self.patterns or ((self.pattern,) if self.pattern else ())


@dataclass(frozen=True, slots=True)
class EventMapping:
    """One mapping file. Expressions are Spark SQL, over the record's columns, `_raw` and `element`.

    Attributes:
        source: how records are read.
        where: records for which it is not true are filtered.
        explode: an ARRAY; one candidate an element.
        event: expression by field of `EVENT_FIELDS`.
        properties: expression by camelCase key.
        places: where each key stands in the file.
    """

    source: Source
    event: Mapping[str, str]
    properties: Mapping[str, str]
    where: str | None
    explode: str | None
    places: TomlPlaces

    def fault(self, table: str, key: str, problem: str) -> ConfigFault:
        """Build a fault at a key of this file."""
        return fault_at(self.places, table, key, problem)


def encoding_of(options: Mapping[str, str]) -> str:
    """Find the encoding among reader options, lower-cased; Spark knows two names for it."""
    named = {key.lower(): value.lower() for key, value in options.items()}
    return named.get("encoding", named.get("charset", "utf-8"))


def is_wide(encoding: str) -> bool:
    """Whether an encoding writes a line's end in more bytes than one.

    Examples:
        >>> is_wide("utf-16le"), is_wide("windows-1252")
        (True, False)
    """
    return encoding.startswith(("utf-16", "utf16", "utf-32", "utf32", "x-utf-16", "x-utf-32", "unicode", "ucs"))


def fault_at(places: TomlPlaces, table: str, key: str, problem: str) -> ConfigFault:
    """Build a fault at `[table] key`, with its line. A key of the extended mapping has the line of `extends`."""
    place = f"[{table}] {key}" if table and key else f"[{table}]" if table else key
    if places.is_inherited(table, key):
        return ConfigFault(places.line("", EXTENDS), f"{EXTENDS}: {place}", problem)
    return ConfigFault(places.line(table, key), place, problem)
