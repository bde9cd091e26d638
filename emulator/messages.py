"""What travels over a connection: a request as parsed, a reply before it is rendered."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

from emulator.refusal import Refusal


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, whole.

    Attributes:
        method: the method, upper case.
        path: the target's path as sent, still percent-encoded.
        query: the target's query as sent, without the question mark; empty when there is none.
        headers: lower-case names to values; repeated headers are joined by commas.
        body: the payload, any transfer coding removed.
        request_id: the id that the answer bears in `x-amzn-RequestId`.
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
class Reply:
    """What becomes of a request.

    Attributes:
        status: the HTTP status.
        error: the code for `x-amzn-ErrorType`, empty for a success.
        body: the payload, or a stream of its pieces.
        delay: seconds to wait before anything is done.
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


def refuse(refusal: Refusal, delay: float = 0.0) -> Reply:
    """Return the reply that boto3 raises as a ClientError with the refusal's code; `delay` is in seconds."""
    body = json.dumps({"message": refusal.message}).encode()
    return Reply(refusal.status, refusal.code, body, delay)


def render_head(reply: Reply, request_id: str, keep_alive: bool, chunked: bool = False) -> bytes:
    """Return the status line and headers of a reply.

    The length of a body is told by `Content-Length`, that of a stream by its chunks or the connection's end.
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
