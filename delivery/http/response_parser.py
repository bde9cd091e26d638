"""Parses an HTTP/1.1 response from the pieces in which it arrives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# Our own limit for memory: PutEvents' answers are below 2 KB.
LINE_MAX: Final = 65_536
BODY_MAX: Final = 1_048_576

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")
_END: Final = b"\r\n"


class MalformedResponseError(ValueError):
    """The answer is not HTTP, or too large. The message does not quote it."""


class ChunkedBody:
    """Reads a body in chunks: each follows its size, the last is empty, and header lines may follow it.

    Examples:
        >>> ChunkedBody().take(bytearray(b"2\\r\\nhi\\r\\n0\\r\\n\\r\\n"))
        b'hi'
    """

    __slots__ = ("_body", "_remaining")

    def __init__(self) -> None:
        self._body = bytearray()
        self._remaining: int | None = None

    def take(self, data: bytearray) -> bytes | None:
        """Remove complete chunks from the front of `data`; return the body when it is whole.

        Raises:
            MalformedResponseError: it is not in chunks, or larger than BODY_MAX bytes.
        """
        while self._remaining != 0:
            if not self._take_chunk(data):
                return None
        while (line := _take_line(data)) is not None:
            if not line:
                return bytes(self._body)
        return None

    def _take_chunk(self, data: bytearray) -> bool:
        if self._remaining is None:
            self._remaining = self._take_size(data)
        if not self._remaining:
            return self._remaining == 0
        if len(data) < self._remaining + len(_END):
            return False
        self._body += data[: self._remaining]
        del data[: self._remaining]
        if not data.startswith(_END):
            raise MalformedResponseError("a chunk is longer than it says")
        del data[: len(_END)]
        self._remaining = None
        return True

    def _take_size(self, data: bytearray) -> int | None:
        line = _take_line(data)
        if line is None:
            return None
        match = _SIZE.fullmatch(line)
        if match is None:
            raise MalformedResponseError("a chunk does not say how long it is")
        size = int(match[1], 16)
        if len(self._body) + size > BODY_MAX:
            raise MalformedResponseError("the body is too large")
        return size


def _take_line(data: bytearray) -> bytes | None:
    end = data.find(_END)
    if max(end, 0 if end >= 0 else len(data)) > LINE_MAX:
        raise MalformedResponseError("a line is too long")
    if end < 0:
        return None
    line = bytes(data[:end])
    del data[: end + len(_END)]
    return line


HEAD_MAX: Final = 65_536
"""Bytes. Our own limit for memory: PutEvents' heads are below 1 KB."""
_STATUS: Final = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: .*)?")
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LENGTH: Final = re.compile(rb"\d{1,15}")
_IN_CHUNKS: Final = -1
_TO_THE_END: Final = -2
"""Instead of the length of a body: it ends with the connection."""

Headers = dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole answer.

    Attributes:
        status: 200 to 999.
        headers: lower-case names to values; values of a repeated name are joined by commas.
        body: without transfer coding.
        keep_alive: whether the connection can carry another call.
    """

    status: int
    headers: Headers
    body: bytes
    keep_alive: bool


class ResponseParser:
    """Reads one answer; interim ones (1xx) before it are skipped.

    Args:
        to_connect: it answers CONNECT: a success has no body, whatever its headers say.

    Attributes:
        has_begun: whether any byte came.

    Examples:
        >>> reader = ResponseParser()
        >>> reader.feed(b"HTTP/1.1 200 OK\\r\\nContent-Le")
        >>> reader.feed(b"ngth: 2\\r\\n\\r\\nhi").body
        b'hi'
    """

    __slots__ = ("_chunks", "_data", "_headers", "_length", "_persistent", "_status", "_to_connect", "has_begun")

    def __init__(self, *, to_connect: bool = False) -> None:
        self._to_connect = to_connect
        self._data = bytearray()
        self._status = 0
        self.has_begun = False

    def feed(self, data: bytes) -> HttpResponse | None:
        """Read the next piece; return the answer when it is whole.

        Raises:
            MalformedResponseError: the answer is not HTTP, or too large.
        """
        self.has_begun = True
        self._data += data
        while self._status < 200:
            lines = _take_head(self._data)
            if lines is None:
                return None
            self._read_head(lines)
        body = self._take_body()
        # Bytes after the end belong to no request.
        return None if body is None else self._whole(body, keep_alive=self._persistent and not self._data)

    def end(self) -> HttpResponse | None:
        """Note that the other side has closed; return the answer, if this is its end."""
        if self._status < 200 or self._length != _TO_THE_END:
            return None
        return self._whole(bytes(self._data), keep_alive=False)

    def _read_head(self, lines: list[bytes]) -> None:
        line = _STATUS.fullmatch(lines[0])
        if line is None:
            raise MalformedResponseError("there is no status line")
        self._status = int(line[2])
        if self._status == 101:
            raise MalformedResponseError("it switches to another protocol")
        self._headers = headers = _read_headers(lines)
        self._length = 0 if self._is_bodiless() else _read_length(headers)
        self._persistent = _is_persistent(line[1], headers)
        self._chunks = ChunkedBody() if self._length == _IN_CHUNKS else None

    def _is_bodiless(self) -> bool:
        return self._status < 200 or self._status in {204, 304} or (self._to_connect and self._status < 300)

    def _take_body(self) -> bytes | None:
        if self._chunks is not None:
            return self._chunks.take(self._data)
        if max(self._length, len(self._data)) > BODY_MAX:
            raise MalformedResponseError("the body is too large")
        if self._length == _TO_THE_END or len(self._data) < self._length:
            return None
        body = bytes(self._data[: self._length])
        del self._data[: self._length]
        return body

    def _whole(self, body: bytes, *, keep_alive: bool) -> HttpResponse:
        return HttpResponse(self._status, self._headers, body, keep_alive)


def _take_head(data: bytearray) -> list[bytes] | None:
    end = data.find(b"\r\n\r\n")
    if end > HEAD_MAX or (end < 0 and len(data) > HEAD_MAX):
        raise MalformedResponseError("the head is too large")
    if end < 0:
        return None
    lines = bytes(data[:end]).split(b"\r\n")
    del data[: end + 4]
    return lines


def _read_headers(lines: list[bytes]) -> Headers:
    headers: Headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not _NAME.fullmatch(name):
            raise MalformedResponseError("a header line is not valid")
        name, value = name.lower(), value.strip()
        headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def _read_length(headers: Headers) -> int:
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        if coding.lower() != b"chunked":
            raise MalformedResponseError("its transfer coding is not known")
        return _IN_CHUNKS
    length = headers.get(b"content-length")
    if length is None:
        return _TO_THE_END
    if not _LENGTH.fullmatch(length):
        raise MalformedResponseError("its length is not a number")
    return int(length)


def _is_persistent(minor: bytes, headers: Headers) -> bool:
    # Two lengths: a server between may see another end (RFC 9112, 6.1).
    if b"transfer-encoding" in headers and b"content-length" in headers:
        return False
    options = headers.get(b"connection", b"").lower()
    return b"close" not in options and (minor == b"1" or b"keep-alive" in options)
