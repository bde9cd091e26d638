"""One client's connection: requests in, replies out, in order."""

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import cast

from emulator.messages import Reply, Request, refuse, render_head
from emulator.reader import RequestReader, new_request_id
from emulator.refusal import Refusal

# How long a client that was refused in the midst of a request may go on sending. Closing at once would reset
# the connection, and the client might never see the answer.
_LINGER_SECONDS = 2.0
# Linger on, for no time: closing then sends a reset.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """Answers one client's requests one after the other, as HTTP/1.1 wants it."""

    def __init__(self, respond: Callable[[Request], Reply], open_connections: "set[Connection]") -> None:
        """Answer by `respond`; be in `open_connections` for as long as the connection lives."""
        self._respond = respond
        self._open_connections = open_connections
        self._reader = RequestReader(self._receive, self._send_continue)
        self._waiting: deque[tuple[Request, Reply | None]] = deque()
        self._busy = False
        self._deaf = False
        self._writable = asyncio.Event()
        self._writable.set()
        self._stream: asyncio.Task[None] | None = None

    def close(self) -> None:
        """End the connection now, whatever is under way."""
        self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start."""
        self._transport = cast(asyncio.Transport, transport)
        self._open_connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Drop what is under way."""
        self._open_connections.discard(self)
        self._waiting.clear()
        if self._stream is not None:
            self._stream.cancel()

    def data_received(self, data: bytes) -> None:
        """Read on, and answer what is complete."""
        if self._deaf:
            return
        try:
            self._reader.feed(data)
        except Refusal as refusal:
            self._deaf = True
            self._waiting.append((_unread_request(), refuse(refusal)))
        self._answer_waiting()

    def pause_writing(self) -> None:
        """Hold a stream back: the client does not keep up."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let a stream go on."""
        self._writable.set()

    # What the reader calls.

    def _receive(self, request: Request) -> None:
        self._waiting.append((request, None))

    def _send_continue(self) -> None:
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    # Answering.

    def _answer_waiting(self) -> None:
        transport = self._transport
        while self._waiting and not self._busy and not transport.is_closing():
            request, reply = self._waiting.popleft()
            self._answer(request, reply or self._respond(request))
        # Who sends faster than the answers go out must wait.
        if self._waiting and transport.is_reading():
            transport.pause_reading()
        elif not self._waiting and not transport.is_reading():
            transport.resume_reading()

    def _answer(self, request: Request, reply: Reply) -> None:
        if reply.delay:
            self._busy = True
            asyncio.get_running_loop().call_later(reply.delay, self._answer_late, request, reply)
        elif reply.reset:
            self._reset()
        elif reply.hang:
            self._busy = True
        elif isinstance(reply.body, bytes) and not reply.drip:
            self._transport.write(render_head(reply, request.request_id, request.keep_alive) + reply.body)
            self._end_answer(request)
        else:
            self._busy = True
            self._stream = asyncio.get_running_loop().create_task(self._send_slowly(request, reply))

    def _answer_late(self, request: Request, reply: Reply) -> None:
        if not self._transport.is_closing():
            self._busy = False
            self._answer(request, replace(reply, delay=0.0))
            self._answer_waiting()

    def _end_answer(self, request: Request) -> None:
        if self._deaf:
            asyncio.get_running_loop().call_later(_LINGER_SECONDS, self._transport.close)
        elif not request.keep_alive:
            self._transport.close()

    async def _send_slowly(self, request: Request, reply: Reply) -> None:
        if isinstance(reply.body, bytes):
            await self._send_drops(request, reply, reply.body)
        else:
            request = await self._send_stream(request, reply, reply.body)
        self._busy = False
        self._end_answer(request)
        self._answer_waiting()

    async def _send_drops(self, request: Request, reply: Reply, body: bytes) -> None:
        self._transport.write(render_head(reply, request.request_id, request.keep_alive))
        for byte in body:
            await asyncio.sleep(reply.drip / len(body))
            self._transport.write(bytes((byte,)))

    async def _send_stream(self, request: Request, reply: Reply, pieces: AsyncIterator[bytes]) -> Request:
        """Return the request as answered: the connection may have to end where it was to be kept alive."""
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


def _unread_request() -> Request:
    """Return what stands for a request that could not be read: its answer is the last."""
    return Request(b"", b"", b"", {}, b"", new_request_id(), keep_alive=False)
