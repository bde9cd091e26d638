"""What a user writes to map one raw record to candidates: the TOML file, read into frozen dataclasses.

Reading finds every fault of form (unknown keys, missing ones, wrong TOML types, reserved property keys);
`mapping_check` finds those that only Spark can see.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from transforms.limits import RESERVED_PROPERTY_KEYS
from transforms.toml_places import TomlPlaces

FORMATS: Final = ("json", "csv", "parquet", "orc", "text")
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
OWN_OPTIONS: Final = frozenset({"mode", "columnnameofcorruptrecord", "inferschema", "path", "wholetext"})
LINE_ENCODINGS: Final = {"utf-8": "UTF-8", "utf8": "UTF-8", "iso-8859-1": "ISO-8859-1", "latin1": "ISO-8859-1"}
"""In which a line's end is one byte, and which Spark's `decode` knows."""
CAMEL_CASE: Final = re.compile(r"[a-z][A-Za-z0-9]*")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
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
            >>> Fault(7, "[event] sentAt", "is missing").describe("shop.toml")
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
    """

    format: str
    schema: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    pattern: str | None = None


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

    def fault(self, table: str, key: str, problem: str) -> Fault:
        """Build a fault at a key of this file."""
        return fault_at(self.places, table, key, problem)


def read_mapping(text: str) -> tuple[EventMapping | None, list[Fault]]:
    """Read a mapping file's text, whole.

    Returns:
        What could be read (None where the text is no TOML at all) and every fault of form.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [_syntax_fault(error)]
    places = TomlPlaces(text)
    reader = _Reader(document, places)
    return reader.mapping(), reader.faults


def encoding_of(options: Mapping[str, str]) -> str:
    """Find the encoding among reader options, lower-cased; Spark knows two names for it."""
    named = {key.lower(): value.lower() for key, value in options.items()}
    return named.get("encoding", named.get("charset", "utf-8"))


def fault_at(places: TomlPlaces, table: str, key: str, problem: str) -> Fault:
    """Build a fault at `[table] key`, with its line."""
    place = f"[{table}] {key}" if table and key else f"[{table}]" if table else key
    return Fault(places.line(table, key), place, problem)


def _syntax_fault(error: tomllib.TOMLDecodeError) -> Fault:
    line = re.search(r"at line (\d+)", str(error))
    return Fault(int(line.group(1)) if line else 0, "", f"is not TOML: {error}")


class _Reader:
    """Takes a parsed document apart, noting each fault instead of stopping at the first."""

    def __init__(self, document: dict[str, Any], places: TomlPlaces) -> None:
        self._document = document
        self._places = places
        self.faults: list[Fault] = []

    def mapping(self) -> EventMapping:
        self._refuse_unknown("", self._document, ("source", "record", "event"))
        source = self._source()
        record = self._table("record")
        self._refuse_unknown("record", record, ("where", "explode"))
        event = self._table("event")
        properties = self._properties(event.pop("properties", {}))
        self._refuse_unknown("event", event, EVENT_FIELDS)
        self._require(event)
        return EventMapping(
            source=source,
            event=self._texts("event", event, EVENT_FIELDS),
            properties=properties,
            where=self._text("record", record, "where"),
            explode=self._text("record", record, "explode"),
            places=self._places,
        )

    def _source(self) -> Source:
        table = self._table("source")
        self._refuse_unknown("source", table, ("format", "schema", "options", "pattern"))
        kind = self._format(table)
        schema, pattern = self._text("source", table, "schema"), self._text("source", table, "pattern")
        if kind == "text" and schema is not None:
            self._note("source", "schema", "has no meaning for text: its columns are the pattern's named groups")
        if kind not in ("text", "") and pattern is not None:
            self._note("source", "pattern", f"has no meaning for {kind}: only text is read by a pattern")
        if kind not in ("text", "") and "schema" not in table:
            self._note("source", "", f'schema is missing: {kind} needs the columns, e.g. schema = "id STRING"')
        options = self._options(table.get("options", {}))
        if kind == "text" and encoding_of(options) not in LINE_ENCODINGS:
            self._note("source", "options", f"text is read as {' or '.join(sorted(set(LINE_ENCODINGS.values())))}")
        return Source(kind, None if kind == "text" else schema, options, pattern if kind == "text" else None)

    def _format(self, table: dict[str, Any]) -> str:
        value = self._text("source", table, "format")
        if value is None:
            if "format" not in table:
                self._note("source", "", f"format is missing: one of {', '.join(FORMATS)}")
            return ""
        if value not in FORMATS:
            self._note("source", "format", f"is {value!r}: it must be one of {', '.join(FORMATS)}")
            return ""
        return value

    def _options(self, value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            self._note("source", "options", 'must be a table, e.g. { header = "true" }')
            return {}
        for key in value:
            if key.lower() in OWN_OPTIONS:
                self._note("source", "options", f"{key} is set by the job itself: take it out")
            if key.lower() in ("header", "multiline") and str(value[key]).lower() not in ("true", "false"):
                self._note("source", "options", f'{key} must be "true" or "false"')
        scalars = {key: item for key, item in value.items() if isinstance(item, str | bool | int)}
        for key in value.keys() - scalars.keys():
            self._note("source", "options", f"{key} must be a string")
        return {key: str(item).lower() if isinstance(item, bool) else str(item) for key, item in scalars.items()}

    def _properties(self, value: object) -> dict[str, str]:
        if not isinstance(value, dict):
            self._note("event", "properties", "must be a table: camelCase key = expression")
            return {}
        for key in value:
            if key.lower() in RESERVED_PROPERTY_KEYS:
                self._note("event.properties", key, "is a key that the service reserves: choose another")
            elif not CAMEL_CASE.fullmatch(key):
                self._note("event.properties", key, "must be camelCase, as the schema's field: letters and digits")
        return self._texts("event.properties", value, sorted(value))

    def _require(self, event: dict[str, Any]) -> None:
        for name in ("eventType", "sentAt"):
            if name not in event:
                self._note("event", "", f"{name} is missing: every event needs it")
        if not any(name in event for name in IDENTITY_FIELDS):
            self._note("event", "", "one of userId, visitorId, sessionId is needed to say whose event it is")

    def _table(self, name: str) -> dict[str, Any]:
        value = self._document.get(name, {})
        if isinstance(value, dict):
            return dict(value)
        self._note("", name, f"must be a table: write [{name}]")
        return {}

    def _texts(self, table: str, values: dict[str, Any], names: Iterable[str]) -> dict[str, str]:
        texts = {name: self._text(table, values, name) for name in names}
        return {name: text for name, text in texts.items() if text is not None}

    def _text(self, table: str, values: dict[str, Any], key: str) -> str | None:
        value = values.get(key)
        if value is None:
            return None
        if isinstance(value, str) and value.strip():
            return value
        self._note(table, key, "must be a string that is not empty")
        return None

    def _refuse_unknown(self, table: str, values: dict[str, Any], known: tuple[str, ...]) -> None:
        for key in values.keys() - set(known):
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
            self._note(table, key, f"is not a known key; {hint}")

    def _note(self, table: str, key: str, problem: str) -> None:
        self.faults.append(fault_at(self._places, table, key, problem))
