"""JSON by the standard: what Python's own decoder lets pass beyond it is refused."""

import json
import re
from typing import Any, NoReturn

# What the service allows is ours to guess: its own requests are 5 deep. Python's decoder has a limit too, but that
# depends on how deep the program itself is: what it once took, it might not take the next time.
MAX_DEPTH = 100
# A string that does not end is no JSON, however it goes on.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[\]{}]', re.DOTALL)


def decode_json(text: str | bytes) -> Any:
    """Decode JSON text; bytes must be UTF-8 without a byte order mark.

    Raises:
        ValueError: if the text is not JSON, holds NaN or Infinity, or nests too deep to be read.
    """
    if isinstance(text, bytes):
        text = text.decode()
    # Nothing is deeper than it has brackets: that is counted much faster than the depth.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper(text, MAX_DEPTH):
        raise ValueError("nested too deep")
    return _decode(text)


def _is_deeper(text: str, most: int) -> bool:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        match match[0]:
            case "[" | "{":
                depth += 1
                if depth > most:
                    return True
            case "]" | "}":
                depth -= 1
    return False


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("not a JSON number")


# One decoder for all calls: json.loads with a parse_constant would build one for each.
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
