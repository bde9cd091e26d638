"""Reads a mapping file's text, and finds every fault of form in it: unknown keys, missing ones, wrong TOML types."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from typing import Any

from transforms.limits import RESERVED_PROPERTY_KEYS
from transforms.mapping.model import (
    CAMEL_CASE,
    COLUMNAR_FORMATS,
    EVENT_FIELDS,
    FORMATS,
    IDENTITY_FIELDS,
    LINE_ENCODINGS,
    MISSING_WORDS,
    OWN_OPTIONS,
    ConfigFault,
    EventMapping,
    Source,
    encoding_of,
    fault_at,
)
from transforms.mapping.toml_places import TomlPlaces, syntax_line


def read_mapping(text: str) -> tuple[EventMapping | None, list[ConfigFault]]:
    """Read a mapping file's text, whole.

    Returns:
        What could be read (None where the text is no TOML at all) and every fault of form.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [ConfigFault(syntax_line(error), "", f"is not TOML: {error}")]
    places = TomlPlaces(text)
    reader = _Reader(document, places)
    return reader.mapping(), reader.faults


class _Reader:
    """Takes a parsed document apart, noting each fault instead of stopping at the first."""

    def __init__(self, document: dict[str, Any], places: TomlPlaces) -> None:
        self._document = document
        self._places = places
        self.faults: list[ConfigFault] = []

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
        self._refuse_unknown(
            "source", table, ("format", "schema", "options", "pattern", "missing", "partitions", "optional")
        )
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
        return Source(
            kind,
            None if kind == "text" else schema,
            options,
            pattern if kind == "text" else None,
            self._missing_words(table.get("missing", list(MISSING_WORDS))),
            self._text("source", table, "partitions"),
            self._optional(table.get("optional", []), kind),
        )

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

    def _missing_words(self, value: object) -> tuple[str, ...]:
        words = [word for word in value if isinstance(word, str)] if isinstance(value, list) else []
        if not isinstance(value, list) or len(words) < len(value):
            self._note("source", "missing", 'must be an array of strings, e.g. ["-", "n/a"]')
        if not all(word.strip() for word in words):
            self._note("source", "missing", "has an empty string: take it out, an empty value always counts as missing")
        return tuple(dict.fromkeys(word.strip() for word in words if word.strip()))

    def _optional(self, value: object, kind: str) -> tuple[str, ...]:
        names = [name for name in value if isinstance(name, str) and name] if isinstance(value, list) else []
        if not isinstance(value, list) or len(names) < len(value):
            self._note("source", "optional", 'must be an array of columns, e.g. ["price"]')
        elif names and kind not in (*COLUMNAR_FORMATS, ""):
            words = ", ".join(COLUMNAR_FORMATS)
            self._note("source", "optional", f"has no meaning for {kind}: only files of {words} say what they have")
        return tuple(names)

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
