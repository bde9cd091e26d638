"""Parses the bytes of a connection into requests, with llhttp, the parser of Node.js."""

import uuid
from collections.abc import Callable
from itertools import count

import httptools

from emulator.messages import HttpRequest, Refusal

# Our own limits for memory and time, because those of the real service are not documented. A request of the model
# has much less than 1 MB, and its headers have about 3 kB in addition to a session token.
MAX_BODY_BYTES = 5_000_000
MAX_HEAD_BYTES = 65_536
MAX_HEADERS = 100
# A chunked body with the sizes, extensions and trailers of its chunks.
_MAX_REQUEST_BYTES = 2 * MAX_BODY_BYTES
# Bytes that are read before the limits are checked again.
_PIECE_BYTES = 16_384

_process_id = str(uuid.uuid4())[:-12]
_numbers = count(1)


def new_request_id() -> str:
    """Return an id in the form of a UUID, counted within the process: faster than a random one."""
    return f"{_process_id}{next(_numbers):012x}"


class RequestParser:
    """Reads requests from the pieces in which they arrive: split anywhere, pipelined, with chunked bodies.

    Attributes:
        is_midway: whether a request has begun that has not ended.
    """

    def __init__(self, received: Callable[[HttpRequest], None], wants_continue: Callable[[], None]) -> None:
        """Call `received` for each whole request, `wants_continue` when a client asks to send its body."""
        self._received = received
        self._wants_continue = wants_continue
        self._parser = httptools.HttpRequestParser(self)
        self._refusal: Refusal | None = None
        self.is_midway = False

    def feed(self, data: bytes) -> None:
        """Read the next piece.

        Raises:
            Refusal: BadRequestException, RequestHeaderSectionTooLargeException or RequestEntityTooLargeException;
                nothing can be read after it.
        """
        if len(data) <= _PIECE_BYTES:
            self._feed_piece(data)
            return
        for start in range(0, len(data), _PIECE_BYTES):
            self._feed_piece(data[start : start + _PIECE_BYTES])

    def _feed_piece(self, piece: bytes) -> None:
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            raise Refusal("BadRequestException", "No other protocol can be upgraded to.") from None
        except httptools.HttpParserError:
            raise Refusal("BadRequestException", "The request is not valid HTTP.") from None
        if self.is_midway:
            self._count_bytes(len(piece))
        if self._refusal is not None:
            raise self._refusal

    def _count_bytes(self, more: int) -> None:
        self._bytes += more
        if self._bytes > MAX_HEAD_BYTES and not self._head_ended:
            self._refuse_head(f"The request line and headers have more than {MAX_HEAD_BYTES} bytes.")
        elif self._bytes > _MAX_REQUEST_BYTES:
            self._refuse_body()

    def _refuse_head(self, message: str) -> None:
        self._refusal = self._refusal or Refusal("RequestHeaderSectionTooLargeException", message)

    def _refuse_body(self) -> None:
        message = f"The body has more than {MAX_BODY_BYTES} bytes."
        self._refusal = self._refusal or Refusal("RequestEntityTooLargeException", message)

    # Called by the parser; the names are its own.

    def on_message_begin(self) -> None:
        """Start a request."""
        self.is_midway = True
        self._head_ended = False
        self._bytes = 0
        self._repeated = 0
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a header after the body cannot be signed."""
        if self._head_ended:
            return
        name = name.lower()
        known = self._headers.get(name)
        if known is not None:
            self._repeated += 1
            if self._repeated > MAX_HEADERS:
                return
            value = known.rstrip() + b"," + value.lstrip()
        self._headers[name] = value

    def on_headers_complete(self) -> None:
        """Check whether the body may come."""
        self._head_ended = True
        if len(self._headers) + self._repeated > MAX_HEADERS:
            self._refuse_head(f"There are more than {MAX_HEADERS} headers.")
        elif int(self._headers.get(b"content-length", b"0")) > MAX_BODY_BYTES:
            self._refuse_body()
        elif self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._wants_continue()

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        if len(self._body) + len(piece) > MAX_BODY_BYTES:
            self._refuse_body()
        elif self._refusal is None:
            self._body += piece

    def on_message_complete(self) -> None:
        """Hand over the request."""
        parser = self._parser
        if parser.should_upgrade():
            return  # The parser does not read the body of a request for an upgrade.
        self.is_midway = False
        if self._refusal is not None:
            return
        path, query = _split_target(self._url)
        self._received(
            HttpRequest(
                method=parser.get_method(),
                path=path,
                query=query,
                headers=self._headers,
                body=bytes(self._body),
                request_id=new_request_id(),
                keep_alive=parser.should_keep_alive(),
                chunked_reply=parser.get_http_version() == "1.1",
            )
        )


def _split_target(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query, also of a whole URL, which a client sends to a proxy.

    Examples:
        >>> _split_target(b"/events?a=1"), _split_target(b"http://localhost:8080/events")
        ((b'/events', b'a=1'), (b'/events', b''))
    """
    if not target.startswith(b"/"):
        target = target.partition(b"://")[2]
        target = target[target.find(b"/") :] if b"/" in target else b""
    path, _, query = target.partition(b"?")
    return path, query
