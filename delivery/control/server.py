"""The port where the tasks of a delivery reach its driver: one authenticated connection for each task."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from typing import Final, TypeVar

from delivery.control.dispatcher import Dispatcher
from delivery.control.wire import (
    LONGEST_GREETING,
    ChannelError,
    DriverAddress,
    Message,
    MessageMac,
    message_macs,
    nonce,
    read_line,
)

_T = TypeVar("_T")
_SILENT: Final = 2.0
"""Seconds of silence after which a task counts as lost; it sends five messages a second."""
_MOST_UNAUTHENTICATED: Final = 512
"""Connections that have not proved yet that they know the secret. If there are more, the oldest is closed."""


class ControlServer:
    """The driver's end of the channel, in a thread of its own.

    Attributes:
        port: where it listens.
    """

    def __init__(self, dispatcher: Dispatcher, secret: str) -> None:
        self._dispatcher = dispatcher
        self._secret = secret
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="delivery-server", daemon=True)
        self._connections: dict[str, tuple[asyncio.StreamWriter, MessageMac]] = {}
        self._conversations: set[asyncio.Task[None]] = set()
        self._unauthenticated: dict[asyncio.Task[None], None] = {}
        self._listener: asyncio.Server | None = None
        self._next_inform: asyncio.TimerHandle | None = None
        self.port = 0

    def start(self, host: str, port: int) -> None:
        """Listen; port 0 takes any free one.

        Raises:
            OSError: the address cannot be listened on.
        """
        self._thread.start()
        self._listener = self._run(asyncio.start_server(self._serve, host, port))
        self.port = self._listener.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Close all connections."""
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Callable[[], _T]) -> _T:
        """Call a function with the dispatcher, between two messages."""

        async def alone() -> _T:
            return work()

        return self._run(alone())

    def stop(self) -> None:
        """End the delivery, and tell every task at once."""
        self.call(self._stop)

    def _stop(self) -> None:
        self._dispatcher.stop()
        self._inform_all()

    def _run(self, work: Awaitable[_T]) -> _T:
        future: Future[_T] = asyncio.run_coroutine_threadsafe(work, self._loop)  # type: ignore[arg-type]
        return future.result()

    async def _close(self) -> None:
        while asyncio.all_tasks() - {asyncio.current_task()}:
            for conversation in self._conversations:
                conversation.cancel()
            await asyncio.sleep(0.0)
        if self._listener is not None:
            self._listener.close()  # last: asyncio neither serves nor closes what it accepts now

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.current_task()
        assert conversation is not None
        self._conversations.add(conversation)
        try:
            await self._converse(reader, writer)
        except (ChannelError, OSError, TimeoutError):
            pass  # a task of this delivery connects again
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            self._conversations.discard(conversation)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_driver, to_task, hello = await self._authenticate(reader, writer)
        name, connection = hello["attempt"], (writer, to_task)
        self._dispatcher.add_attempt(name, hello["part"])
        self._connections[name] = connection
        try:
            has_left = False
            while not has_left:
                message = to_driver.verify(await read_line(reader, _SILENT))
                if self._connections.get(name) is not connection:
                    return  # it has connected again since
                has_left = message["gone"]
                self._answer(name, message)
        finally:
            if self._connections.get(name) is connection:
                del self._connections[name]
                self._dispatcher.lose(name)

    async def _authenticate(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[MessageMac, MessageMac, Message]:
        """Make the other end prove that it knows the secret."""
        conversation = asyncio.current_task()
        assert conversation is not None
        self._unauthenticated[conversation] = None
        if len(self._unauthenticated) > _MOST_UNAUTHENTICATED:
            next(iter(self._unauthenticated)).cancel()
        try:
            drivers = nonce()
            writer.write(drivers)
            to_driver, to_task = message_macs(self._secret, drivers, await read_line(reader, _SILENT, LONGEST_GREETING))
            return to_driver, to_task, to_driver.verify(await read_line(reader, _SILENT, LONGEST_GREETING))
        finally:
            del self._unauthenticated[conversation]

    def _answer(self, name: str, message: Message) -> None:
        stopped = self._dispatcher.stopped
        self._send(name, {**self._dispatcher.handle_message(name, message), "to": message["number"]})
        if self._dispatcher.stopped and not stopped:
            self._inform_all()
        self._inform_attempts()

    def _inform_attempts(self) -> None:
        """Answer tasks that may get more, and check again when a former rate becomes free."""
        self._inform(self._dispatcher.attempts_to_inform())
        if self._next_inform is not None:
            self._next_inform.cancel()
        seconds = self._dispatcher.seconds_to_more()
        self._next_inform = self._loop.call_later(seconds, self._inform_attempts) if seconds is not None else None

    def _inform_all(self) -> None:
        self._inform(list(self._connections))

    def _inform(self, names: list[str]) -> None:
        for name in names:
            if name in self._connections:
                self._send(name, self._dispatcher.answer(name))

    def _send(self, name: str, message: Message) -> None:
        writer, mac = self._connections[name]
        writer.write(mac.sign(message))


@contextlib.contextmanager
def serving_tasks(
    dispatcher: Dispatcher, host: str, bind: str, port: int
) -> Iterator[tuple[ControlServer, DriverAddress]]:
    """Serve a dispatcher's tasks for as long as the context lasts.

    Args:
        dispatcher: answers them.
        host: of the driver, as the executors know it.
        bind: the address to listen on.
        port: 0 for any free one.

    Raises:
        OSError: the address cannot be listened on.
    """
    secret = secrets.token_hex(32)
    server = ControlServer(dispatcher, secret)
    try:
        server.start(bind, port)
        yield server, DriverAddress(host, server.port, secret)
    finally:
        server.close()
