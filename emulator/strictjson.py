"""JSON by the standard: what Python's own decoder lets pass beyond it is refused."""

import json
from typing import Any, NoReturn


def decode_json(text: str | bytes) -> Any:
    """Decode JSON text; bytes must be UTF-8 without a byte order mark.

    Raises:
        ValueError: if the text is not JSON, holds NaN or Infinity, or nests too deep to be read.
    """
    try:
        return _decode(text.decode() if isinstance(text, bytes) else text)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("not a JSON number")


# One decoder for all calls: json.loads with a parse_constant would build one for each.
_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
