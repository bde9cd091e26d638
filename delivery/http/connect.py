"""Connects to the service: TCP, a proxy, TLS."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from urllib.parse import SplitResult, urlsplit

from delivery.http.connection import Connection
from delivery.http.endpoint import PORTS, Endpoint
from delivery.http.proxy import Proxy
from delivery.responses import NOT_LET_THROUGH, NOT_REACHED, NOT_REACHED_IN_TIME, NOT_TRUSTED, NoResponseError


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
