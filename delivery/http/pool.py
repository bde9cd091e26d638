"""The connections to the service."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from delivery.http.connect import open_connection
from delivery.http.connection import Connection
from delivery.http.endpoint import Endpoint
from delivery.http.response_parser import HttpResponse
from delivery.responses import CLOSED, NoResponseError


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait.

    Attributes:
        connect: seconds for a connection, proxy and TLS included.
        answer: seconds for an answer, to its last byte.
        idle: a connection that was idle for longer (seconds) carries no other call. Services close idle ones after 5
            to 60 s, and a call at that moment is lost.
        credentials: seconds for boto3 to find them and the endpoint; the sources of its chain give up sooner.
    """

    connect: float = 5.0
    answer: float = 30.0
    idle: float = 4.0
    credentials: float = 30.0


class ConnectionPool:
    """Kept-alive connections: a call takes the one used last, or opens another. It belongs to one event loop.

    A caller that starts a call only if `ready`, and takes a connection for it at once, never waits for one.

    Args:
        endpoint: where they go.
        size: the maximum number of connections; further calls wait.
        patience: how long to wait for each thing.
    """

    def __init__(self, endpoint: Endpoint, size: int, patience: Timeouts) -> None:
        self._endpoint = endpoint
        self._patience = patience
        self._free = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._connections: set[Connection] = set()
        self._openings: set[asyncio.Timeout] = set()
        self._lost_unused = 0
        """Connections that the other side closed before a call, and that are not reported yet."""
        self._aborted = False

    @property
    def ready(self) -> bool:
        """Whether a connection is free."""
        oldest = asyncio.get_running_loop().time() - self._patience.idle
        while self._idle and not (self._idle[-1].open and self._idle[-1].idle_since >= oldest):
            connection = self._idle.pop()
            self._lost_unused += not (connection.open or connection.was_used)
            connection.abort()
        return bool(self._idle)

    def take(self) -> Connection | None:
        """Take the connection that was used last, for a call; None if none is free."""
        return self._idle.pop() if self.ready else None

    async def open(self) -> None:
        """Open a connection for a later call.

        Raises:
            NoResponseError: it cannot be opened, or the last one was closed before it had a call. If a server closes
                connections at once, the task must not open more of them than calls are allowed.
        """
        if self._lost_unused:
            self._lost_unused -= 1
            raise NoResponseError(CLOSED, "the connection was closed before the call")
        connection = await self._open()
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)

    async def call(self, message: bytes, connection: Connection | None = None) -> HttpResponse:
        """Send a request and wait for its answer.

        Args:
            message: the whole request.
            connection: taken for this call.

        Raises:
            NoResponseError: no answer came.
        """
        async with self._free:
            connection = connection or self.take() or await self._open()
            answer = await connection.exchange(message)
            if connection.open:
                self._idle.append(connection)
            else:
                connection.abort()
            return answer

    def abort(self) -> None:
        """Close all connections at once, for good; calls in flight get no answer."""
        self._aborted = True
        now = asyncio.get_running_loop().time()
        for opening in self._openings:
            if not opening.expired():
                opening.reschedule(now)
        for connection in self._connections:
            connection.abort()

    async def close(self) -> None:
        """Close all connections at once, for good, and wait until they are closed."""
        self.abort()
        if self._connections:
            await asyncio.wait([connection.lost for connection in self._connections])

    async def _open(self) -> Connection:
        self._check()
        timeout = asyncio.timeout(self._patience.connect)
        self._openings.add(timeout)
        try:
            connection = await open_connection(self._endpoint, timeout, self._patience.answer)
        except NoResponseError:
            self._check()
            raise
        finally:
            self._openings.discard(timeout)
        self._keep(connection)
        return connection

    def _keep(self, connection: Connection) -> None:
        self._connections.add(connection)
        connection.lost.add_done_callback(lambda _: self._connections.discard(connection))
        if self._aborted:
            connection.abort()

    def _check(self) -> None:
        if self._aborted:
            raise NoResponseError(CLOSED, "the client is closed")
