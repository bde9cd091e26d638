"""One kept-alive connection to the service: it sends a request and receives an answer."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from delivery.http.response_parser import HttpResponse, MalformedResponseError, ResponseParser
from delivery.responses import BAD_ANSWER, CLOSED, NOT_ANSWERED_IN_TIME, NoResponseError


class Connection(asyncio.Protocol):
    """Carries one call at a time.

    Args:
        seconds: the time limit of a whole answer.

    Attributes:
        transport: to the other side; the opener may put TLS over it.
        open: whether it can carry another call.
        idle_since: when the last call ended, in the event loop's time.
        lost: done when the connection is closed.
    """

    transport: asyncio.Transport

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[HttpResponse] | None = None
        self._reader = ResponseParser()
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.open = False
        self.idle_since = 0.0
        self.lost: asyncio.Future[None] = self._loop.create_future()

    @property
    def was_used(self) -> bool:
        """Whether it ever carried a call."""
        return self._answer is not None

    async def exchange(self, message: bytes, *, to_connect: bool = False) -> HttpResponse:
        """Send a request and wait for its answer.

        Args:
            message: the whole request.
            to_connect: whether it is CONNECT.

        Raises:
            NoResponseError: no answer came, or it is not HTTP.
        """
        self._reader = ResponseParser(to_connect=to_connect)
        self._answer = self._loop.create_future()
        self._set_deadline()
        self.transport.write(message)
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.abort()  # a late answer would look like that of the next call
            raise

    def begin_anew(self) -> None:
        """Reset to a connection without calls: the tunnel exists, and the proxy's answer no longer matters.

        Many proxies answer CONNECT with HTTP/1.0 or with `close`. That says nothing about the tunnel.
        """
        self._answer = None
        self._reader = ResponseParser()
        self.open = not self.transport.is_closing()

    def abort(self) -> None:
        """Close at once; a call in flight gets no answer."""
        self._fail(CLOSED, "it was given up")

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin. asyncio has set TCP_NODELAY."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._answer is None or self._answer.done():
            self.abort()  # data without a request: do not trust this connection
            return
        try:
            answer = self._reader.feed(data)
        except MalformedResponseError as error:
            self._fail(BAD_ANSWER, f"the answer is not valid: {error}")
            return
        if answer is not None:
            self._end(answer)

    def eof_received(self) -> None:
        """Check whether this ends the answer; asyncio closes the connection next."""
        answer = self._reader.end() if self._is_waiting() else None
        self.open = False
        if answer is not None:
            self._end(answer)

    def connection_lost(self, error: Exception | None) -> None:
        """Report the loss to a call in flight."""
        how = "closed" if error is None else "reset"
        when = "during" if self._reader.began else "before"
        self._fail(CLOSED, f"the connection was {how} {when} the answer")
        self.lost.set_result(None)
        if self._timer is not None:
            self._timer.cancel()

    # Internal.

    def _is_waiting(self) -> bool:
        return self._answer is not None and not self._answer.done()

    def _end(self, answer: HttpResponse) -> None:
        assert self._answer is not None
        self.idle_since = self._loop.time()
        self.open = answer.keep_alive
        self._answer.set_result(answer)

    def _fail(self, code: str, message: str) -> None:
        self.open = False
        self.transport.abort()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NoResponseError(code, message))

    def _set_deadline(self) -> None:
        """Limit the time of the call. A new timer is set only when the last one has fired, not for each call."""
        self._deadline = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._is_waiting():
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look)
        else:
            self._fail(NOT_ANSWERED_IN_TIME, "the answer did not come in time")
