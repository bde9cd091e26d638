"""The service's words without what they quote of a request, so that a log may hold them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from delivery.records import Request

_HIDDEN: Final = "…"
_LONGEST: Final = 300
"""Characters of the service's words that are kept."""
_QUOTED: Final = re.compile(r"""'[^']*'|"[^"]*"|\[[^\]]*\]""")
_PLACE: Final = re.compile(r"""['"][A-Za-z]+(?:\.(?:[A-Za-z]+|\d+))*['"]""")
"""A quoted path into the request, e.g. `'eventList.1.member.itemId'`."""
_FIELDS: Final = frozenset(
    {
        *(
            "trackingId",
            "sessionId",
            "userId",
            "eventList",
            "eventId",
            "eventType",
            "eventValue",
            "itemId",
            "impression",
        ),
        *("properties", "recommendationId", "sentAt", "metricAttribution", "eventAttributionSource"),
    }
)


def redact(message: str | None, request: Request) -> str | None:
    """Hide every value of a request in the service's words, and whatever else they quote but the names of fields.

    Examples:
        >>> request = Request("r", "ann", "s-1", ("e-1",), ('{"eventType": "view", "itemId": "shoe 7"}',))
        >>> redact("1 error: Value 'x y' at 'eventList.1.member.itemId' is too long", request)
        "1 error: Value … at 'eventList.1.member.itemId' is too long"
        >>> redact("user ann saw shoe 7 in s-1", request)
        'user … saw … in …'
    """
    if message is None:
        return None
    values = sorted({value for value in _values(request) if value}, key=len, reverse=True)
    hidden = message
    for value in values:
        if value not in _FIELDS:
            hidden = re.sub(rf"(?<![^\W_]){re.escape(value)}(?![^\W_])", _HIDDEN, hidden, flags=re.IGNORECASE)
    hidden = _QUOTED.sub(_hide, hidden)
    printable = " ".join("".join(each if each.isprintable() else " " for each in hidden).split())
    return printable if len(printable) <= _LONGEST else f"{printable[:_LONGEST]}{_HIDDEN}"


def _hide(quoted: re.Match[str]) -> str:
    text = quoted[0]
    is_place = _PLACE.fullmatch(text) is not None and text[1:-1].split(".")[0] in _FIELDS
    return text if is_place else _HIDDEN


def _values(request: Request) -> Iterator[str]:
    yield from (request.requestId, request.userId or "", request.sessionId, *request.eventIds)
    for event in request.events:
        yield from _leaves(json.loads(event))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for member in value.values():
            yield from _leaves(member)
    elif isinstance(value, list):
        for member in value:
            yield from _leaves(member)
    elif isinstance(value, str):
        yield value
        yield from _parsed(value)
    elif value is not None:
        yield str(value)


def _parsed(text: str) -> Iterator[str]:
    """Give the values of properties, which travel as JSON in a string."""
    if text.startswith("{"):
        try:
            yield from _leaves(json.loads(text))
        except (ValueError, RecursionError):  # no JSON after all, or nested to annoy
            return
