"""Text from outside, made safe to store as UTF-8, to send on and to print."""

from __future__ import annotations

import re
from typing import Final

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_SPACES: Final = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
_UNSAFE: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
"""Control characters steer a terminal, marks of direction turn a line around, half a surrogate pair is no UTF-8."""


def sanitize(text: str, longest: int) -> str:
    """Replace what cannot be stored or printed as it is, and cut off what is too much.

    Args:
        text: from outside.
        longest: characters that are kept at the most.

    Examples:
        >>> sanitize("half a pair: \\ud83d,\\na colour: \\x1b[31m", 100)
        'half a pair: �, a colour: �[31m'
        >>> sanitize("a long story", 7)
        'a long…'
    """
    kept = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return _UNSAFE.sub(_REPLACEMENT, _SPACES.sub(" ", kept))
