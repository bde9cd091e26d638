"""A TCP relay between tasks and a driver, which can cut, freeze and tamper, and keeps what passed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from delivery.control.wire import DriverAddress

Tamper = Callable[[bytes], bytes]


class Relay:
    """Passes bytes on between whoever connects here and an address, in the test's own event loop.

    Attributes:
        address: to be used in place of the other.
        connections: how many were made.
        to_driver: all bytes that passed, connection by connection.
        to_task: the same, the other way.
    """

    def __init__(self, beyond: DriverAddress) -> None:
        self._beyond = beyond
        self._writers: list[asyncio.StreamWriter] = []
        self._flows = asyncio.Event()
        self._flows.set()
        self._tamper: Tamper | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = beyond
        self.connections = 0
        self.to_driver: list[bytearray] = []
        self.to_task: list[bytearray] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = replace(self._beyond, port=self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break all connections; others may be made."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def freeze(self) -> None:
        """Let nothing pass; connections can be made, and nothing tells that they lead nowhere."""
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def tamper(self, how: Tamper) -> None:
        """Change what passes next, to the driver, once."""
        self._tamper = how

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        with suppress(OSError, asyncio.CancelledError):
            beyond_reader, beyond_writer = await asyncio.open_connection(self._beyond.host, self._beyond.port)
            self._writers += [writer, beyond_writer]
            self.to_driver.append(bytearray())
            self.to_task.append(bytearray())
            await asyncio.gather(
                self._pass(reader, beyond_writer, self.to_driver[-1]),
                self._pass(beyond_reader, writer, self.to_task[-1]),
            )

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
        try:
            while data := await reader.read(65_536):
                await self._flows.wait()
                if kept in self.to_driver and self._tamper is not None:
                    data, self._tamper = self._tamper(data), None
                kept += data
                writer.write(data)
        finally:
            writer.close()


@asynccontextmanager
async def relaying(beyond: DriverAddress) -> AsyncIterator[Relay]:
    relay = Relay(beyond)
    await relay.start()
    try:
        yield relay
    finally:
        await relay.close()
