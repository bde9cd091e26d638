"""The connections to the service: opened through a proxy and TLS, kept alive, lent to one call at a time."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast
from urllib.parse import SplitResult, urlsplit

from delivery.http.endpoint import PORTS, Endpoint
from delivery.http.proxy import Proxy
from delivery.http.response_parser import HttpResponse, MalformedResponseError, ResponseParser
from delivery.responses import (
    BAD_ANSWER,
    CLOSED,
    NOT_ANSWERED_IN_TIME,
    NOT_LET_THROUGH,
    NOT_REACHED,
    NOT_REACHED_IN_TIME,
    NOT_TRUSTED,
    NoResponseError,
)


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
        when = "during" if self._reader.has_begun else "before"
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


async def open_connection(endpoint: Endpoint, timeout: asyncio.Timeout, seconds: float) -> Connection:
    """Open a connection for calls.

    Args:
        endpoint: where to connect, and how.
        timeout: for the whole connection; not entered yet.
        seconds: for each answer on the connection.

    Raises:
        NoResponseError: it cannot be opened; its code is in UNREACHABLE.
    """
    try:
        async with timeout:
            return await _open(endpoint, partial(Connection, seconds))
    except TimeoutError:
        raise NoResponseError(NOT_REACHED_IN_TIME, "no connection in time") from None
    except ssl.SSLError as error:
        raise NoResponseError(NOT_TRUSTED, f"TLS cannot be agreed: {error}") from None
    except (OSError, UnicodeError) as error:  # UnicodeError: the name cannot be looked up at all
        raise NoResponseError(NOT_REACHED, f"no connection: {error}") from None


async def _open(endpoint: Endpoint, new: Callable[[], Connection]) -> Connection:
    url, proxy = urlsplit(endpoint.url), endpoint.proxy
    trust = endpoint.trust if url.scheme == "https" else None
    if proxy is None:
        return await _connect(new, str(url.hostname), url.port or PORTS[url.scheme], trust)
    connection = await _connect_to_proxy(new, proxy, endpoint.trust)
    if trust is not None:
        await _tunnel(connection, url, proxy)
        await _lay_tls(connection, trust, url.hostname)
    return connection


async def _connect(new: Callable[[], Connection], host: str, port: int, trust: ssl.SSLContext | None) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(new, host, port, ssl=trust)
    return connection


async def _connect_to_proxy(new: Callable[[], Connection], proxy: Proxy, trust: ssl.SSLContext | None) -> Connection:
    try:
        return await _connect(new, proxy.host, proxy.port, trust if proxy.tls else None)
    except (OSError, UnicodeError) as error:
        raise NoResponseError(NOT_LET_THROUGH, f"no connection to the proxy: {error}") from None


async def _tunnel(connection: Connection, url: SplitResult, proxy: Proxy) -> None:
    """Make the proxy connect to the service."""
    host = f"[{url.hostname}]" if ":" in str(url.hostname) else url.hostname
    target = f"{host}:{url.port or PORTS[url.scheme]}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    lines += [f"Proxy-Authorization: {proxy.authorization}"] if proxy.authorization else []
    try:
        answer = await connection.exchange("\r\n".join([*lines, "", ""]).encode(), to_connect=True)
    except NoResponseError as fault:
        raise NoResponseError(NOT_LET_THROUGH, f"the proxy: {fault}") from None
    if answer.status >= 300:
        connection.abort()
        raise NoResponseError(NOT_LET_THROUGH, f"the proxy answered {answer.status} to CONNECT")
    connection.begin_anew()


async def _lay_tls(connection: Connection, trust: ssl.SSLContext, host: str | None) -> None:
    loop = asyncio.get_running_loop()
    # Python before 3.11.8 and 3.12.2 does not report that TLS in TLS cannot be agreed: the timeout does.
    transport = await loop.start_tls(connection.transport, connection, trust, server_hostname=host)
    assert transport is not None
    connection.transport = transport
