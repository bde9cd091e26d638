"""How the JSON values of a file stand in it, seen from its start: what does not fit the mapping is told in words."""

from __future__ import annotations

import json
import re
from typing import Final

_DECODER: Final = json.JSONDecoder(strict=False)
_ARRAY_OF_OBJECTS: Final = re.compile(r"\[\s*{")
"""A line of text in brackets, such as `[2024-01-02] ready`, is no array."""
_OPEN: Final = ("{", "[", ",")
"""The end of a line in whose midst a value goes on."""


def framing_fault(text: str, framing: str, *, is_whole: bool) -> str | None:
    r"""Say why a file does not fit a framing; None where it does, or where its start does not tell.

    Args:
        text: the file's start.
        framing: of the mapping.
        is_whole: whether the file goes on no further.

    Examples:
        >>> framing_fault('{"a":1}{"a":2}', "lines", is_whole=True)
        'has several JSON objects on one line: set [source] framing = "concatenated"'
        >>> framing_fault('[\n {"a":1},', "lines", is_whole=False)
        'begins with a JSON array: set [source] framing = "array"'
        >>> framing_fault('{\n "a":1\n}\n', "lines", is_whole=True)
        'has a JSON object that spans lines: set [source] framing = "document"'
        >>> framing_fault('{"a":1}\n{"a":2}\n', "document", is_whole=True)
        'has more than one JSON value: set [source] framing = "lines"'
        >>> framing_fault('{"a":1}\n[oops', "lines", is_whole=True) is None
        True
    """
    start = text.lstrip("\ufeff \t\r\n")
    found = find_framing(start, is_whole=is_whole)
    if found is None or found == framing or found in _READ_BY[framing]:
        return None
    is_one = framing in ("document", "array") and found in ("lines", "concatenated")
    problem = "has more than one JSON value" if is_one else _SEEN[found]
    return f'{problem}: set [source] framing = "{found}"'


_READ_BY: Final = {
    "lines": frozenset[str](),
    "concatenated": frozenset({"lines", "document"}),
    "document": frozenset({"array"}),
    "array": frozenset[str](),
}
"""Framings that are read rightly as another one."""
_SEEN: Final = {
    "lines": "has one JSON object a line",
    "concatenated": "has several JSON objects on one line",
    "document": "has a JSON object that spans lines",
    "array": "begins with a JSON array",
}


def find_framing(start: str, *, is_whole: bool) -> str | None:
    """Find how the JSON values of a file stand in it, by its start; None where that does not tell."""
    if _ARRAY_OF_OBJECTS.match(start):
        return _framing_of_array(start, is_whole=is_whole)
    if not start.startswith("{"):
        return None
    try:
        _, end = _DECODER.raw_decode(start)
    except (ValueError, RecursionError):
        first = start.partition("\n")[0].rstrip()
        return "document" if not is_whole and first.endswith(_OPEN) and first != start.rstrip() else None
    value, rest = start[:end], start[end:]
    if rest.lstrip(" \t").startswith("{"):
        return "concatenated"
    if "\n" not in value:
        # One value alone may be a line as well as a document.
        return "lines" if rest.strip() or not is_whole else None
    return "concatenated" if rest.lstrip().startswith("{") else "document"


def _framing_of_array(start: str, *, is_whole: bool) -> str | None:
    try:
        _, end = _DECODER.raw_decode(start)
    except (ValueError, RecursionError):
        return None if is_whole or not _has_whole_element(start) else "array"
    # Lines that are arrays are no records of any framing.
    return None if start[end:].strip() else "array"


def _has_whole_element(start: str) -> bool:
    try:
        _DECODER.raw_decode(start, start.index("{"))
    except (ValueError, RecursionError):
        return False
    return True
