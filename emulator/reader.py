"""Bytes of a connection to requests, by llhttp, the parser of Node.js."""

import uuid
from collections.abc import Callable
from itertools import count

import httptools

from emulator.messages import Request
from emulator.refusal import Refusal

# Ours, to bound memory: how much the real service takes in one request is documented nowhere. What the model
# allows comes to well under 1 MB.
MAX_BODY_BYTES = 5_000_000

_process_id = str(uuid.uuid4())[:-12]
_numbers = count(1)


def new_request_id() -> str:
    """Return an id in the form of a UUID, counted within the process: faster than a random one."""
    return f"{_process_id}{next(_numbers):012x}"


class RequestReader:
    """Reads requests from the pieces in which they arrive: split anywhere, pipelined, with chunked bodies."""

    def __init__(self, received: Callable[[Request], None], wants_continue: Callable[[], None]) -> None:
        """Call `received` for each whole request, `wants_continue` when a client asks to send its body."""
        self._received = received
        self._wants_continue = wants_continue
        self._parser = httptools.HttpRequestParser(self)
        self._too_large = False

    def feed(self, data: bytes) -> None:
        """Read the next piece.

        Raises:
            Refusal: BadRequestException or RequestEntityTooLargeException; nothing can be read after it.
        """
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise Refusal("BadRequestException", "No other protocol can be upgraded to.") from None
        except httptools.HttpParserError:
            raise Refusal("BadRequestException", "The request is not valid HTTP.") from None
        if self._too_large:
            raise Refusal("RequestEntityTooLargeException", f"The body has more than {MAX_BODY_BYTES} bytes.")

    # What the parser calls; the names are its own.

    def on_message_begin(self) -> None:
        """Start a request."""
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        name = name.lower()
        known = self._headers.get(name)
        self._headers[name] = value if known is None else known + b"," + value

    def on_headers_complete(self) -> None:
        """See whether the body may come."""
        self._too_large = int(self._headers.get(b"content-length", b"0")) > MAX_BODY_BYTES
        if not self._too_large and self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._wants_continue()

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        self._size += len(piece)
        self._too_large = self._too_large or self._size > MAX_BODY_BYTES
        if not self._too_large:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        """Hand over the request."""
        if self._too_large or self._parser.should_upgrade():
            # Of a request that asks for an upgrade the parser does not read the body.
            return
        path, _, query = self._url.partition(b"?")
        parser = self._parser
        self._received(
            Request(
                method=parser.get_method(),
                path=path,
                query=query,
                headers=self._headers,
                body=b"".join(self._body),
                request_id=new_request_id(),
                keep_alive=parser.should_keep_alive(),
                chunked_reply=parser.get_http_version() == "1.1",
            )
        )
