"""A body in chunks, put together from the pieces in which it arrives."""

from __future__ import annotations

import re
from typing import Final

# Ours, to bound memory: PutEvents' own answers are below 2 KB.
LINE_MAX: Final = 65_536
BODY_MAX: Final = 1_048_576

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_END: Final = b"\r\n"


class BadAnswerError(ValueError):
    """What came is not HTTP, or too large. The message quotes none of it."""


class Chunks:
    """Reads a body in chunks: each stands behind its size, the last is empty, and header lines may follow it.

    Examples:
        >>> Chunks().take(bytearray(b"2\\r\\nhi\\r\\n0\\r\\n\\r\\n"))
        b'hi'
    """

    __slots__ = ("_body", "_left")

    def __init__(self) -> None:
        self._body = bytearray()
        self._left: int | None = None

    def take(self, data: bytearray) -> bytes | None:
        """Take what is complete off the front of `data`; give the body once it is whole.

        Raises:
            BadAnswerError: it is not in chunks, or larger than BODY_MAX bytes.
        """
        while self._left != 0:
            if not self._take_chunk(data):
                return None
        while (line := _take_line(data)) is not None:
            if not line:
                return bytes(self._body)
        return None

    def _take_chunk(self, data: bytearray) -> bool:
        if self._left is None:
            self._left = self._take_size(data)
        if not self._left:
            return self._left == 0
        if len(data) < self._left + len(_END):
            return False
        self._body += data[: self._left]
        del data[: self._left]
        if not data.startswith(_END):
            raise BadAnswerError("a chunk is longer than it says")
        del data[: len(_END)]
        self._left = None
        return True

    def _take_size(self, data: bytearray) -> int | None:
        line = _take_line(data)
        if line is None:
            return None
        told = _SIZE.fullmatch(line)
        if told is None:
            raise BadAnswerError("a chunk does not say how long it is")
        size = int(told[1], 16)
        if len(self._body) + size > BODY_MAX:
            raise BadAnswerError("the body is too large")
        return size


def _take_line(data: bytearray) -> bytes | None:
    end = data.find(_END)
    if max(end, 0 if end >= 0 else len(data)) > LINE_MAX:
        raise BadAnswerError("a line is too long")
    if end < 0:
        return None
    line = bytes(data[:end])
    del data[: end + len(_END)]
    return line
