"""One kept-alive connection to the service: a request out, an answer in."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from delivery.http.response_parser import HttpResponse, MalformedResponseError, ResponseParser
from delivery.responses import BAD_ANSWER, CLOSED, NOT_ANSWERED_IN_TIME, NoResponseError


class Connection(asyncio.Protocol):
    """Bears one call at a time.

    Args:
        seconds: that an answer may take to its end.

    Attributes:
        transport: to the other side; whoever opens the connection may lay TLS over it.
        open: whether it may bear another call.
        idle_since: when the last call ended, in the event loop's time.
        lost: done once it is closed.
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
        """Whether it ever bore a call."""
        return self._answer is not None

    async def exchange(self, message: bytes, *, to_connect: bool = False) -> HttpResponse:
        """Send a request and wait for its answer.

        Args:
            message: the whole request.
            to_connect: whether it is CONNECT.

        Raises:
            NoResponseError: no answer came, or none that is HTTP.
        """
        self._reader = ResponseParser(to_connect=to_connect)
        self._answer = self._loop.create_future()
        self._set_deadline()
        self.transport.write(message)
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.abort()  # what may come yet would answer the next call
            raise

    def begin_anew(self) -> None:
        """Go on as one that bore no call: a tunnel is there, and what the proxy said of its own connection is past.

        Many a proxy answers CONNECT by HTTP/1.0, or says `close`: that is no word about the tunnel.
        """
        self._answer = None
        self._reader = ResponseParser()
        self.open = not self.transport.is_closing()

    def abort(self) -> None:
        """Close at once; a call under way gets no answer."""
        self._fail(CLOSED, "it was given up")

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin. asyncio has set TCP_NODELAY."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.open = True

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._answer is None or self._answer.done():
            self.abort()  # nobody asked: what else may come is not to be trusted
            return
        try:
            answer = self._reader.feed(data)
        except MalformedResponseError as error:
            self._fail(BAD_ANSWER, f"the answer is not valid: {error}")
            return
        if answer is not None:
            self._end(answer)

    def eof_received(self) -> None:
        """See whether that ends the answer; asyncio closes the connection next."""
        answer = self._reader.end() if self._is_waiting() else None
        self.open = False
        if answer is not None:
            self._end(answer)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell a call under way."""
        how = "closed" if error is None else "reset"
        when = "in the midst of" if self._reader.began else "before"
        self._fail(CLOSED, f"the connection was {how} {when} the answer")
        self.lost.set_result(None)
        if self._timer is not None:
            self._timer.cancel()

    # Inside.

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
        """Have the call end in time. A timer is not set for each call, but only when the last one has gone off."""
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
            self._fail(NOT_ANSWERED_IN_TIME, "the answer was not there in time")
