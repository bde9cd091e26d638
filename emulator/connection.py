"""One client's connection: requests in, replies out, in order."""

import asyncio
import math
import socket
import struct
import traceback
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Protocol, cast

from emulator.listener import listening, most_connections
from emulator.messages import HttpReply, HttpRequest, Refusal, refuse, render_head
from emulator.request_parser import RequestParser, new_request_id

# How long a client may continue to send after a refusal during its request. Closing at once would reset
# the connection, and the client might never see the answer.
_LINGER_SECONDS = 2.0
# How long a request may take from its first byte to its last.
REQUEST_SECONDS = 60.0
# A connection that was idle for so long may be closed to make room for another.
_IDLE_SECONDS = 1.0
# SO_LINGER with time 0: closing then sends a reset.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

_BUSY_SERVER = Refusal("ServiceUnavailable", "The service has no room for another connection.")
_LATE = Refusal("RequestTimeoutException", f"The request did not end within {REQUEST_SECONDS:g} s.")
_HALF = Refusal("BadRequestException", "The request did not end.")
_FAILED = Refusal("InternalFailure", "The emulator failed: its standard error says why.")


class RequestHandler(Protocol):
    """What answers the requests of all connections."""

    def respond(self, request: HttpRequest) -> HttpReply:
        """Return the reply to a request."""

    def refuse(self, refusal: Refusal) -> HttpReply:
        """Return the reply to an incomplete request."""


@asynccontextmanager
async def serving_connections(host: str, port: int, site: RequestHandler) -> AsyncIterator[str]:
    """Serve a site in the running event loop while the context lasts; return its URL.

    Raises:
        OSError: if the address, its `filename`, cannot be listened on.
    """
    connections: set[ClientConnection] = set()
    most = most_connections()
    new_connection = partial(ClientConnection, site.respond, connections, site.refuse, most)
    try:
        with listening(host, port, new_connection, connections, most) as chosen:
            yield f"http://{f'[{host}]' if ':' in host else host}:{chosen}"
    finally:
        for connection in tuple(connections):
            connection.close()


class ClientConnection(asyncio.Protocol):
    """Answers the requests of one client one after another, as HTTP/1.1 requires.

    Every request gets an answer: also one that never ends, or that makes `respond` fail.
    """

    def __init__(
        self,
        respond: Callable[[HttpRequest], HttpReply],
        open_connections: "set[ClientConnection]",
        refuse: Callable[[Refusal], HttpReply] = refuse,
        most: float = math.inf,
    ) -> None:
        """Answer, and be in `open_connections` for as long as the connection lives.

        Args:
            respond: makes the answer to a whole request.
            open_connections: those of all clients.
            refuse: makes the answer to an incomplete request.
            most: the maximum number of connections; the next client gets the answer that the service is busy.
        """
        self._respond = respond
        self._refuse = refuse
        self._open_connections = open_connections
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._reader = RequestParser(self._receive, self._owe_continue)
        self._waiting: deque[tuple[HttpRequest, Refusal | None]] = deque()
        self._busy = False
        self._owes_continue = False
        self._deaf = False
        self._turned_away = False
        self._hangs = False
        self._ended = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._stream: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._idle_since = self._loop.time()

    def close(self) -> None:
        """End the connection now, even during a request."""
        self._transport.abort()

    def is_idle(self) -> bool:
        """Whether the connection has been idle for a while."""
        busy = self._busy or self._waiting or self._deaf or self._reader.is_midway
        return (
            not busy
            and not self._transport.get_write_buffer_size()
            and self._loop.time() - self._idle_since >= _IDLE_SECONDS
        )

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start, if there is room."""
        self._transport = cast(asyncio.Transport, transport)
        if len(self._open_connections) >= self._most:
            self._make_room()
        self._open_connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Drop the present request."""
        self._open_connections.discard(self)
        self._waiting.clear()
        self._stop_deadline()
        if self._stream is not None:
            self._stream.cancel()

    def data_received(self, data: bytes) -> None:
        """Read the next bytes, and answer complete requests."""
        if self._deaf:
            return
        if self._turned_away:
            self._refuse_rest(_BUSY_SERVER)
            return
        try:
            self._reader.feed(data)
        except Refusal as refusal:
            self._refuse_rest(refusal)
            return
        self._answer_waiting()
        if self._reader.is_midway:
            self._start_deadline()
        elif self._deadline is not None:
            self._stop_deadline()

    def eof_received(self) -> bool:
        """Continue only if answers are open: a client may close its sending side and still read."""
        self._ended = True
        if self._reader.is_midway and not self._deaf:
            self._refuse_rest(_HALF)
        return (self._busy and not self._hangs) or bool(self._waiting)

    def pause_writing(self) -> None:
        """Pause the answers, because the client reads too slowly."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Continue the answers."""
        self._writable.set()
        self._answer_waiting()

    # Called by the reader.

    def _receive(self, request: HttpRequest) -> None:
        self._waiting.append((request, None))

    def _owe_continue(self) -> None:
        self._owes_continue = True

    # Refusing.

    def _make_room(self) -> None:
        """Close an idle connection; if there is none, refuse this client."""
        idle = next((each for each in self._open_connections if each.is_idle()), None)
        if idle is not None:
            self._open_connections.discard(idle)
            idle.close()
        else:
            self._turned_away = True
            self._deadline = self._loop.call_later(_LINGER_SECONDS, self._transport.close)

    def _refuse_rest(self, refusal: Refusal) -> None:
        """Make this the last answer, and read no more."""
        self._deaf = True
        self._stop_deadline()
        self._waiting.append((_unread_request(), refusal))
        self._answer_waiting()

    def _start_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self._loop.call_later(REQUEST_SECONDS, self._pass_deadline)

    def _pass_deadline(self) -> None:
        self._deadline = None
        if self._busy or self._waiting:  # We have paused the reading ourselves.
            self._start_deadline()
        else:
            self._refuse_rest(_LATE)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # Answering.

    def _answer_waiting(self) -> None:
        transport = self._transport
        while self._waiting and not self._busy and self._writable.is_set() and not transport.is_closing():
            request, refusal = self._waiting.popleft()
            self._answer(request, self._make_reply(request) if refusal is None else self._refuse(refusal))
        # A client that sends faster than the answers go out must wait.
        if self._waiting and transport.is_reading():
            transport.pause_reading()
        elif not self._waiting and not transport.is_reading():
            transport.resume_reading()
        if self._owes_continue and not self._waiting and not self._busy:
            self._owes_continue = False
            if self._reader.is_midway and not self._deaf:
                transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _make_reply(self, request: HttpRequest) -> HttpReply:
        try:
            return self._respond(request)
        except Exception:
            traceback.print_exc()
            return self._refuse(_FAILED)

    def _answer(self, request: HttpRequest, reply: HttpReply) -> None:
        if reply.delay:
            self._busy = True
            self._loop.call_later(reply.delay, self._answer_late, request, reply)
        elif reply.reset:
            self._reset()
        elif reply.hang:
            self._hang()
        elif isinstance(reply.body, bytes) and not reply.drip:
            head = render_head(reply, request.request_id, request.keep_alive)
            self._transport.write(head if request.method == b"HEAD" else head + reply.body)
            self._end_answer(request)
        else:
            self._busy = True
            self._stream = self._loop.create_task(self._send_slowly(request, reply))

    def _answer_late(self, request: HttpRequest, reply: HttpReply) -> None:
        if not self._transport.is_closing():
            self._busy = False
            self._answer(request, replace(reply, delay=0.0))
            self._answer_waiting()

    def _hang(self) -> None:
        self._busy = self._hangs = True
        if self._ended:
            self._transport.close()

    def _end_answer(self, request: HttpRequest) -> None:
        self._idle_since = self._loop.time()
        if request.keep_alive and not (self._ended and not self._waiting):
            return
        self._waiting.clear()
        if self._deaf and not self._ended:
            self._loop.call_later(_LINGER_SECONDS, self._transport.close)
        else:
            self._transport.close()

    async def _send_slowly(self, request: HttpRequest, reply: HttpReply) -> None:
        try:
            if isinstance(reply.body, bytes):
                await self._send_drops(request, reply, reply.body)
            else:
                request = await self._send_stream(request, reply, reply.body)
        except Exception:  # The head is sent: only the end of the connection can show that the answer failed.
            traceback.print_exc()
            self._reset()
            return
        self._busy = False
        self._end_answer(request)
        self._answer_waiting()

    async def _send_drops(self, request: HttpRequest, reply: HttpReply, body: bytes) -> None:
        self._transport.write(render_head(reply, request.request_id, request.keep_alive))
        for byte in body:
            await asyncio.sleep(reply.drip / len(body))
            self._transport.write(bytes((byte,)))

    async def _send_stream(self, request: HttpRequest, reply: HttpReply, pieces: AsyncIterator[bytes]) -> HttpRequest:
        """Return the request for its answer: the connection may have to end although it was kept alive."""
        chunked = request.chunked_reply
        keep_alive = request.keep_alive and chunked
        self._transport.write(render_head(reply, request.request_id, keep_alive, chunked))
        async for piece in pieces:
            if piece:
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            await self._writable.wait()
        if chunked:
            self._transport.write(b"0\r\n\r\n")
        return replace(request, keep_alive=keep_alive)

    def _reset(self) -> None:
        tcp_socket = self._transport.get_extra_info("socket")
        tcp_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()


def _unread_request() -> HttpRequest:
    """Return a placeholder for a request that could not be read: its answer is the last."""
    return HttpRequest(b"", b"", b"", {}, b"", new_request_id(), keep_alive=False)
