"""Writes the first mapping for a log, with the reason beside each line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from pyspark.sql.types import ArrayType, StructType

from jobs.drafting.json_types import Leaf, describe_type, leaves, quote_name, with_texts
from jobs.drafting.log_sample import LogSample
from jobs.drafting.roles import Choice, choose_fields, choose_time, suggest_properties

_IDENTITIES: Final = ("userId", "visitorId", "sessionId")
_UNSURE: Final = "LOOK: "
_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class _Draft:
    """A mapping that is still to be written.

    Attributes:
        explode: the array that has an element for each event; None where a record is one.
        chosen: the fields.
        properties: that may be wanted.
        schema: the columns.
    """

    explode: str | None
    chosen: tuple[Choice, ...]
    properties: tuple[Choice, ...]
    schema: StructType


def write_draft(sample: LogSample) -> str:
    """Write a mapping for a log.

    Args:
        sample: what is known of it.

    Returns:
        TOML that can be used as it is.
    """
    draft = _draft(sample)
    notes = [f"# {_UNSURE}{note}" for note in sample.notes]
    return "\n".join([*notes, *_source(sample, draft), *_record(draft), *_event(draft), *_properties(draft), ""])


def _draft(sample: LogSample) -> _Draft:
    found = list(leaves(sample.schema, sample.records))
    chosen = choose_fields(found)
    explode = None if _has(chosen, "sentAt") else _find_events(sample)
    if explode is None:
        if not _has(chosen, "sentAt") and (time := choose_time(found)):
            chosen.append(time)
        properties = suggest_properties(found, chosen)
        texts = {choice.text_path for choice in chosen if choice.text_path}
        return _Draft(None, tuple(chosen), tuple(properties), with_texts(sample.schema, texts))
    name, kind, elements = explode
    inner = [replace(leaf, path=("element", *leaf.path)) for leaf in leaves(kind, elements)]
    of_element = choose_fields(inner)
    outer = [one for one in chosen if not _has(of_element, one.field)]
    both = (*of_element, *outer)
    texts = {choice.text_path for choice in outer if choice.text_path}
    element_texts = {choice.text_path[1:] for choice in of_element if choice.text_path}
    schema = with_texts(sample.schema, texts)
    for field in schema.fields:
        if field.name == name:
            field.dataType = ArrayType(with_texts(kind, element_texts))
    return _Draft(quote_name(name), both, tuple(suggest_properties(inner, both)), schema)


def _find_events(sample: LogSample) -> tuple[str, StructType, list[Mapping[str, Any]]] | None:
    """Find an array whose elements are events: they have a time."""
    for field in sample.schema.fields:
        if isinstance(field.dataType, ArrayType) and isinstance(field.dataType.elementType, StructType):
            kind = field.dataType.elementType
            elements = [one for record in sample.records for one in record.get(field.name) or () if one]
            inner: list[Leaf] = list(leaves(kind, elements))
            if _has(choose_fields(inner), "sentAt"):
                return field.name, kind, elements
    return None


def _has(chosen: Sequence[Choice], field: str) -> bool:
    return any(choice.field == field for choice in chosen)


def _source(sample: LogSample, draft: _Draft) -> Iterator[str]:
    yield "[source]"
    yield f'format = "{sample.format}"'
    if sample.framing:
        yield f'framing = "{sample.framing}"'
    if sample.options:
        options = ", ".join(f"{key} = {_toml(value)}" for key, value in sample.options.items())
        yield f"options = {{ {options} }}"
    columns = [f"{quote_name(field.name)} {describe_type(field.dataType)}" for field in draft.schema.fields]
    whole = ", ".join(columns)
    if len(whole) <= _WIDTH:
        yield f"schema = {_toml(whole)}"
    else:
        yield "schema = '''"
        yield from (f"    {column}," for column in columns[:-1])
        yield f"    {columns[-1]}"
        yield "'''"
    yield ""


def _record(draft: _Draft) -> Iterator[str]:
    yield "[record]"
    if draft.explode:
        yield f"explode = {_toml(draft.explode)}  # its elements have times: each is an event"
    yield '# where = "..."  # keeps only the records for which it is true'
    yield ""


def _event(draft: _Draft) -> Iterator[str]:
    yield "[event]"
    if not _has(draft.chosen, "eventType"):
        yield f"""eventType = "'view'"  # {_UNSURE}no column says what happened"""
    if not _has(draft.chosen, "sentAt"):
        yield f'sentAt = "CAST(NULL AS TIMESTAMP)"  # {_UNSURE}no column is a time: every record will be refused'
    if not any(_has(draft.chosen, field) for field in _IDENTITIES):
        yield f'visitorId = "CAST(NULL AS STRING)"  # {_UNSURE}no column says whose event it is'
    for choice in draft.chosen:
        unsure = "" if choice.is_sure else _UNSURE
        yield f"{choice.field} = {_toml(choice.expression)}  # {unsure}{choice.why}"
    yield ""


def _properties(draft: _Draft) -> Iterator[str]:
    yield "[event.properties]"
    for choice in draft.properties:
        yield f"# {choice.field} = {_toml(choice.expression)}  # {choice.why}"


def _toml(text: str) -> str:
    """Write a string of TOML."""
    if "'" not in text and text.isprintable():
        return f"'{text}'" if '"' in text or "\\" in text else f'"{text}"'
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{escaped}"'
