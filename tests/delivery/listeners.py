"""Servers for tests of connections: each a handler, in the test's own event loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from delivery.http.connections import ConnectionPool, Timeouts
from delivery.http.endpoint import Endpoint
from delivery.http.response_parser import HttpResponse
from delivery.responses import NoResponseError

POST = b"POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
PATIENT = Timeouts(connect=20.0, answer=20.0, idle=20.0)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose time can be set forward: what was to happen meanwhile happens at once."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


def run(work: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(work)


def jump(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, JumpingLoop)
    loop.ahead += seconds


class Listener:
    """A running server.

    Attributes:
        port: where it listens.
        connections: how many were made.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        finally:
            writer.close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert ended is None or isinstance(ended, asyncio.CancelledError), ended


@asynccontextmanager
async def listening(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[Listener]:
    listener = Listener(handler)
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0, ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        await listener.stop()


@asynccontextmanager
async def pool(port: int, size: int = 8, patience: Timeouts = PATIENT, **changes: Any) -> AsyncIterator[ConnectionPool]:
    """Make a pool of connections to a port of this machine, by https where it is told whom to trust."""
    scheme = "https" if changes.get("trust") else "http"
    url = f"{scheme}://127.0.0.1:{port}/events"
    made = ConnectionPool(
        Endpoint(url, "eu-west-1", "personalize", "Boto3", "application/json", **changes), size, patience
    )
    try:
        yield made
    finally:
        await made.close()


async def read_call(reader: asyncio.StreamReader) -> bytes:
    """Read a POST, or another request without a body; give all of it."""
    head = await reader.readuntil(b"\r\n\r\n")
    return head + (await reader.readexactly(2) if head.startswith(b"POST") else b"")


def answering(answer: bytes) -> Handler:
    """Give all calls one answer."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_call(reader):
            writer.write(answer)

    return handle


async def silence(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Take everything, and say nothing."""
    while await reader.read(1_000):
        pass


async def code(call: Awaitable[HttpResponse]) -> str:
    """Say why a call had no answer."""
    with pytest.raises(NoResponseError) as raised:
        await call
    return raised.value.code
