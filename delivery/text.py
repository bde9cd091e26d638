"""Text from outside: made safe to store and to print, and without values of a request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from delivery.model import Request

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_SPACES: Final = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
_UNSAFE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Control characters change a terminal, direction marks reverse a line, half a surrogate pair is not UTF-8."""


def sanitize(text: str, longest: int) -> str:
    """Replace characters that cannot be stored or printed, and cut a text that is too long.

    Args:
        text: from outside.
        longest: the maximum number of characters.

    Examples:
        >>> sanitize("half a pair: \\ud83d,\\na colour: \\x1b[31m", 100)
        'half a pair: �, a colour: �[31m'
        >>> sanitize("a long story", 7)
        'a long…'
    """
    kept = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return _UNSAFE.sub(_REPLACEMENT, _SPACES.sub(" ", kept))


_HIDDEN: Final = "…"
_LONGEST: Final = 300
"""Characters that are kept of the service's message."""
_QUOTED: Final = re.compile(r"""'[^']*'|"[^"]*"|\[[^\]]*\]""")
_PLACE: Final = re.compile(r"""(['"]?)([A-Za-z]+(?:\.(?:[A-Za-z]+|\d{1,2}))*)\1""")
"""A path into the request, quoted or not, e.g. `'eventList.1.member.itemId'`."""
_CLOSING: Final = "),.:;!?"
"""Punctuation after a word."""
_LIMIT: Final = re.compile(r"\d{1,5}")
_BEFORE_LIMIT: Final = frozenset(["exceed", "exceeds", "least", "maximum", "minimum", "most", "of", "than", "to"])
FIELDS: Final = frozenset(
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


_SENTENCES: Final = """
a about access account accepted action active all allowed already an and any api are argument array arn as at
attempt attribute attribution aws be because been before being between body boolean but by byte bytes call cannot
categorical certain change character characters check choose column columns constraint contain contains content
could create created creating credentials data dataset date default define defined delete deleted deleting denied
describe detected different does double doesn't don't duplicate during each either element elements empty enough
enum equal error errors event events exactly exceed exceeded exceeds exist exists expected expected expired
expression fail failed failing fails failure false field fields find first float for forbidden format found from get
given greater group had has have header help holds id identifier ids if impression impressions in inactive incorrect
index input integer interaction interactions internal into invalid is isn't it item items its json key keys known
last later least length less limit limits list long longer lower malformed many map match matches matching maximum
may member members message metadata metric minimum missing more most must name names no non none not null number
numbers object of on one only operation or other out over parameter parameters parse parsed pattern payload per
perform permission personalize please position prefix present properties property provide provided range rate
reached read reason received recommendation record records refused region regular request requests require required
requires resource response retry satisfy schema second seconds send sent service session set short should signature
size smaller some specified specify state status string strings structure such support supported syntax textual than
that the their then there these they this throttled time timestamp times to token too top tracker tracking true try
type types unable unexpected unique unknown unsupported until update updated use used user users using valid
validate validation value values was we were when where which while will with within without wrong you your
"""
_WORDS: Final = frozenset(_SENTENCES.split())
"""Words of the service's own sentences. Any other word may be a value of the request, in any spelling."""


def redact(message: str | None, request: Request) -> str | None:
    """Keep only words that are certainly the service's own: known words, names of fields, limits.

    A service may spell, escape or cut a value differently, so a search for the values is not enough.

    Examples:
        >>> request = Request("r", "ann", "s-1", ("e-1",), ('{"eventType": "view", "itemId": "shoe 7"}',))
        >>> redact("1 error: Value 'x y' at 'eventList.1.member.itemId' is too long", request)
        "1 error: Value … at 'eventList.1.member.itemId' is too long"
        >>> redact("user ann saw shoe+7 in s-1: must be at most 256 characters", request)
        'user … in …: must be at most 256 characters'
    """
    if message is None:
        return None
    # A request may have a thousand values, and the event loop waits: most do not occur in the message.
    folded = message.casefold()
    values = {value for value in _values(request) if value and value not in FIELDS and value.casefold() in folded}
    hidden = message
    for value in sorted(values, key=len, reverse=True):
        hidden = re.sub(rf"(?<![^\W_]){re.escape(value)}(?![^\W_])", _HIDDEN, hidden, flags=re.IGNORECASE)
    kept: list[str] = []
    before = ""
    for token in _QUOTED.sub(_hide, hidden).split():
        kept.append(_keep(token, before))
        before = token
    short = re.sub(rf"{_HIDDEN}(?: {_HIDDEN})+", _HIDDEN, " ".join(kept))
    return short if len(short) <= _LONGEST else f"{short[:_LONGEST]}{_HIDDEN}"


def _hide(quoted: re.Match[str]) -> str:
    return quoted[0] if _is_place(quoted[0]) else _HIDDEN


def _keep(token: str, before: str) -> str:
    """Return a word between two blanks if all of it is known."""
    after = token.lstrip("(")
    core = after.rstrip(_CLOSING)
    if not core:
        return _HIDDEN
    opening, closing = token[: len(token) - len(after)], after[len(core) :]
    is_limit = _LIMIT.fullmatch(core) is not None and (before.lower() in _BEFORE_LIMIT or not before)
    is_known = is_limit or _is_place(core) or all(word in _WORDS for word in re.split("[-/]", core.lower()))
    return f"{opening}{core if is_known else _HIDDEN}{closing}"


def _is_place(text: str) -> bool:
    path = _PLACE.fullmatch(text)
    if path is None:
        return False
    first, *others = path[2].split(".")
    return first in FIELDS and all(part in FIELDS or part == "member" or part.isdigit() for part in others)


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
    """Return the values of properties, which are JSON in a string."""
    if text.startswith("{"):
        try:
            yield from _leaves(json.loads(text))
        except (ValueError, RecursionError):  # not JSON, or nested too deep
            return
