"""Reads a mapping file's text, and finds every fault of form in it: unknown keys, missing ones, wrong TOML types."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from transforms.limits import RESERVED_PROPERTY_KEYS
from transforms.mapping.model import (
    CAMEL_CASE,
    COLUMNAR_FORMATS,
    EVENT_FIELDS,
    EXTENDS,
    FORMATS,
    FRAMINGS,
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

_NO_OTHERS: Final[Mapping[str, str]] = {}


def read_mapping(text: str, shipped: Mapping[str, str] = _NO_OTHERS) -> tuple[EventMapping | None, list[ConfigFault]]:
    """Read a mapping file's text, whole.

    Args:
        text: TOML.
        shipped: texts of the mappings that it may extend, by name.

    Returns:
        What could be read (None where the text is no TOML, or what it extends is not known) and every fault of form.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return None, [ConfigFault(syntax_line(error), "", f"is not TOML: {error}")]
    if EXTENDS not in document:
        reader = _Reader(document, TomlPlaces(text))
        return reader.mapping(), reader.faults
    base = _find_base(document, shipped)
    if isinstance(base, str):
        alone = _Reader(document, TomlPlaces(text), is_whole=False)
        alone.mapping()
        return None, [fault_at(TomlPlaces(text), "", EXTENDS, base), *alone.faults]
    reader = _Reader(_extend_document(base.document, document), TomlPlaces(text, base.places))
    return reader.mapping(), reader.faults


class _BaseMapping(NamedTuple):
    """The mapping that a file extends, merged with what it extends itself."""

    document: dict[str, Any]
    places: TomlPlaces


def _find_base(document: dict[str, Any], shipped: Mapping[str, str]) -> _BaseMapping | str:
    """Find the mapping that a document extends. If there is none, return the problem as text."""
    name = document[EXTENDS]
    if not isinstance(name, str) or name not in shipped:
        near = difflib.get_close_matches(name, shipped, n=1) if isinstance(name, str) else []
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(shipped))}"
        return f"is {name!r}: it must be the name of a mapping that ships with the project; {hint}"
    text = shipped[name]
    own = tomllib.loads(text)
    if EXTENDS not in own:
        return _BaseMapping(own, TomlPlaces(text))
    others = {other: shipped[other] for other in shipped if other != name}  # so that a circle ends
    base = _find_base(own, others)
    if isinstance(base, str):
        return base
    return _BaseMapping(_extend_document(base.document, own), TomlPlaces(text, base.places))


def _extend_document(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Merge two documents key by key. A value of `own` replaces that of `base`.

    Examples:
        >>> base = {"source": {"format": "json", "schema": "a INT"}, "event": {"itemId": "a"}}
        >>> _extend_document(base, {"extends": "base", "source": {"format": "orc"}})
        {'source': {'format': 'orc', 'schema': 'a INT'}, 'event': {'itemId': 'a'}}
    """
    kept = {**base, "source": _inherited_source(base.get("source", {}), own.get("source", {}))}
    return _merge_tables(kept, {key: value for key, value in own.items() if key != EXTENDS})


def _inherited_source(base: dict[str, Any], own: object) -> dict[str, Any]:
    """Drop what `own` replaces under another key, and what has no meaning in the format of `own`."""
    given = own if isinstance(own, dict) else {}
    gone = {"pattern", "patterns"} if given.keys() & {"pattern", "patterns"} else set()
    if "schema" in given:  # `optional` names columns of the schema that is replaced
        gone.add("optional")
    if given.get("format", base.get("format")) != base.get("format"):
        gone |= {"framing", "options", "pattern", "patterns"} | ({"schema"} if given["format"] == "text" else set())
    return {key: value for key, value in base.items() if key not in gone}


def _merge_tables(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge_tables(base[key], value) if both else value
    return merged


class _Reader:
    """Takes a parsed document apart, noting each fault instead of stopping at the first."""

    def __init__(self, document: dict[str, Any], places: TomlPlaces, *, is_whole: bool = True) -> None:
        """Start with no fault.

        Args:
            document: what TOML says.
            places: where.
            is_whole: whether it must have all that a mapping needs.
        """
        self._document = document
        self._places = places
        self._is_whole = is_whole
        self.faults: list[ConfigFault] = []

    def mapping(self) -> EventMapping:
        self._refuse_unknown("", self._document, (EXTENDS, "source", "record", "event"))
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
        known = ("format", "framing", "schema", "optional", "options", "pattern", "patterns", "missing", "partitions")
        self._refuse_unknown("source", table, known)
        kind = self._format(table)
        schema, pattern = self._text("source", table, "schema"), self._text("source", table, "pattern")
        patterns = self._patterns(table)
        if kind == "text" and schema is not None:
            self._note("source", "schema", "has no meaning for text: its columns are the pattern's named groups")
        for key in ("pattern", "patterns"):
            if kind not in ("text", "") and key in table:
                self._note("source", key, f"has no meaning for {kind}: only text is read by a pattern")
        if kind not in ("text", "") and "schema" not in table and self._is_whole:
            self._note("source", "", f'schema is missing: {kind} needs the columns, e.g. schema = "id STRING"')
        options = self._options(table.get("options", {}))
        if kind == "text" and encoding_of(options) not in LINE_ENCODINGS:
            self._note("source", "options", f"text is read as {' or '.join(sorted(set(LINE_ENCODINGS.values())))}")
        framing = self._framing(table, kind, options)
        return Source(
            kind,
            None if kind == "text" else schema,
            options,
            pattern if kind == "text" else None,
            patterns if kind == "text" else (),
            self._missing_words(table.get("missing", list(MISSING_WORDS))),
            framing,
            self._optional(table.get("optional", []), kind, options),
            self._text("source", table, "partitions"),
        )

    def _format(self, table: dict[str, Any]) -> str:
        value = self._text("source", table, "format")
        if value is None:
            if "format" not in table and self._is_whole:
                self._note("source", "", f"format is missing: one of {', '.join(FORMATS)}")
            return ""
        if value not in FORMATS:
            self._note("source", "format", f"is {value!r}: it must be one of {', '.join(FORMATS)}")
            return ""
        return value

    def _framing(self, table: dict[str, Any], kind: str, options: dict[str, str]) -> str:
        spans_lines = any(key.lower() == "multiline" and value == "true" for key, value in options.items())
        value = self._text("source", table, "framing")
        if value is None:
            return "document" if spans_lines and kind == "json" else "lines"
        if kind not in ("json", ""):
            self._note("source", "framing", f"has no meaning for {kind}: only JSON is framed")
        elif value not in FRAMINGS:
            near = difflib.get_close_matches(value, FRAMINGS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it must be one of {', '.join(FRAMINGS)}"
            self._note("source", "framing", f"is {value!r}: {hint}")
        elif spans_lines:
            self._note("source", "options", "multiLine: take it out, framing says how the values stand in a file")
        return value

    def _patterns(self, table: dict[str, Any]) -> tuple[str, ...]:
        value = table.get("patterns", [])
        patterns = [item for item in value if isinstance(item, str) and item] if isinstance(value, list) else []
        if "patterns" in table and (not patterns or len(patterns) < len(value)):
            self._note(
                "source", "patterns", "must be an array of strings that are not empty, a regular expression each"
            )
        if "patterns" in table and "pattern" in table:
            self._note(
                "source",
                "patterns",
                "cannot stand beside pattern: write all of them in patterns, in the order to try them",
            )
        return tuple(patterns)

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

    def _optional(self, value: object, kind: str, options: dict[str, str]) -> tuple[str, ...]:
        names = [name for name in value if isinstance(name, str) and name] if isinstance(value, list) else []
        has_names = any(key.lower() == "header" and item == "true" for key, item in options.items())
        if not isinstance(value, list) or len(names) < len(value):
            self._note("source", "optional", 'must be an array of columns, e.g. ["price"]')
        elif names and kind not in (*COLUMNAR_FORMATS, "w3c", "") and not (kind == "csv" and has_names):
            words = f"{', '.join(COLUMNAR_FORMATS)}, w3c, and csv with a header"
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
        if not self._is_whole:
            return
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
