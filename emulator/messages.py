"""The data of a connection: a parsed request, a reply before it is rendered, the errors, JSON."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, NoReturn

# PutEvents itself models InvalidInputException only. ResourceNotFoundException is modelled for its sister
# operations; the others are AWS's common errors, which any operation may answer with.
_STATUS: Final = {
    "InvalidInputException": 400,
    "SerializationException": 400,
    "ThrottlingException": 400,
    "IncompleteSignatureException": 400,
    "BadRequestException": 400,
    "AccessDeniedException": 403,
    "ExpiredTokenException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnrecognizedClientException": 403,
    "InvalidSignatureException": 403,
    "ResourceNotFoundException": 404,
    "UnknownOperationException": 404,
    "RequestTimeoutException": 408,
    "RequestEntityTooLargeException": 413,
    "RequestHeaderSectionTooLargeException": 431,
    "InternalFailure": 500,
    "InternalServerException": 500,
    "ServiceUnavailable": 503,
}


class Refusal(Exception):  # noqa: N818 - an answer of the service, not an error of the emulator
    """A request that is answered with an error.

    Attributes:
        code: the error code as boto3 reports it, one of the common or modelled codes of the service.
        message: for the client; it never quotes a value of the request.
    """

    def __init__(self, code: str, message: str) -> None:
        """Refuse with `code`, which must be a code that has a status here, and `message`."""
        super().__init__(code, message)
        self.code = code
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return _STATUS[self.code]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One HTTP request, whole.

    Attributes:
        method: the method, upper case.
        path: the target's path as sent, still percent-encoded.
        query: the target's query as sent, without the question mark; empty when there is none.
        headers: lower-case names to values; repeated headers are joined by commas.
        body: the payload, without transfer coding.
        request_id: the id in `x-amzn-RequestId` of the answer.
        keep_alive: whether the connection stays open after the answer.
        chunked_reply: whether the client understands chunked answers (HTTP/1.1).
    """

    method: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes
    request_id: str
    keep_alive: bool = True
    chunked_reply: bool = True


@dataclass(frozen=True, slots=True)
class HttpReply:
    """The reply to a request.

    Attributes:
        status: the HTTP status.
        error: the code for `x-amzn-ErrorType`, empty for a success.
        body: the payload, or a stream of its pieces.
        delay: seconds to wait first.
        reset: reset the connection instead of answering.
        hang: do not answer, and leave the connection open.
        drip: seconds that the payload takes after the head, a byte at a time; not for a stream.
    """

    status: int = 200
    error: str = ""
    body: bytes | AsyncIterator[bytes] = b""
    delay: float = 0.0
    reset: bool = False
    hang: bool = False
    drip: float = 0.0


def refuse(refusal: Refusal, delay: float = 0.0) -> HttpReply:
    """Return the reply that boto3 raises as a ClientError with the refusal's code; `delay` is in seconds."""
    body = json.dumps({"message": refusal.message}).encode()
    return HttpReply(refusal.status, refusal.code, body, delay)


def render_head(reply: HttpReply, request_id: str, keep_alive: bool, chunked: bool = False) -> bytes:
    """Return the status line and headers of a reply.

    `Content-Length` gives the length of a body. A stream ends with its last chunk or with the connection.
    """
    head = f"{_status_line(reply.status)}\r\nx-amzn-RequestId: {request_id}\r\nContent-Type: application/json\r\n"
    if reply.error:
        head += f"x-amzn-ErrorType: {reply.error}\r\n"
    if isinstance(reply.body, bytes):
        head += f"Content-Length: {len(reply.body)}\r\n"
    elif chunked:
        head += "Transfer-Encoding: chunked\r\n"
    if not keep_alive:
        head += "Connection: close\r\n"
    return f"{head}\r\n".encode()


@lru_cache
def _status_line(status: int) -> str:
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"


# The limit of the service is unknown: its own requests are 5 deep. Python's decoder has a limit too, but that
# depends on the depth of the program's own stack, so it can differ from call to call.
MAX_DEPTH = 100
# A string that does not end is not JSON.
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[\]{}]', re.DOTALL)


def decode_json(text: str | bytes) -> Any:
    """Decode JSON text; bytes must be UTF-8 without a byte order mark.

    Raises:
        ValueError: if the text is not JSON, holds NaN or Infinity, or nests too deep to be read.
    """
    if isinstance(text, bytes):
        text = text.decode()
    # The depth is at most the number of brackets, and counting these is much faster.
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
