"""The socket for clients: it accepts no more of them than the process has file descriptors for."""

import asyncio
import os
import resource
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

# Clients that may wait in the kernel until they are accepted.
_BACKLOG = 1024
# Clients accepted in a row before the event loop serves the others.
_TURN = 16
# Descriptors kept for clients that are refused, and for the rest of the process.
_FOR_REFUSED, _FOR_OTHERS = 8, 16
# How long nobody is accepted if there is no room even for a refusal.
_PAUSE_SECONDS = 0.05


def raise_file_limit() -> None:
    """Let the process open as many files, and so connections, as its hard limit allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # Some systems report no limit, but have one.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def most_connections() -> int:
    """Return how many connections the process has file descriptors for, in addition to its open files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = 1 << 20
    with suppress(OSError):
        soft -= len(os.listdir("/dev/fd"))
    return max(soft - _FOR_REFUSED - _FOR_OTHERS, 1)


@contextmanager
def listening(
    host: str, port: int, new_connection: Callable[[], asyncio.Protocol], connections: Collection[object], most: int
) -> Iterator[int]:
    """Accept clients in the running event loop while the context lasts; return the port.

    Args:
        host: the address to listen on, or a name for it.
        port: 0 takes any free one.
        new_connection: makes the protocol of a client.
        connections: the living protocols.
        most: the maximum number of these, except some that are about to end.

    Raises:
        OSError: if the address, its `filename`, cannot be listened on.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        error.filename = f"{host}:{port}"
        raise
    with listener:
        listener.setblocking(False)
        acceptor = _Acceptor(listener, new_connection, connections, most + _FOR_REFUSED)
        acceptor.resume()
        try:
            yield listener.getsockname()[1]
        finally:
            acceptor.stop()


class _Acceptor:
    def __init__(
        self,
        listener: socket.socket,
        new_connection: Callable[[], asyncio.Protocol],
        connections: Collection[object],
        most: int,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._new_connection = new_connection
        self._connections = connections
        self._most = most
        self._opening: set[asyncio.Task[object]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def resume(self) -> None:
        self._loop.add_reader(self._listener, self._accept)

    def stop(self) -> None:
        self._loop.remove_reader(self._listener)
        if self._pause is not None:
            self._pause.cancel()

    def _accept(self) -> None:
        for _ in range(_TURN):
            if len(self._connections) + len(self._opening) >= self._most:
                return self._rest()
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return None
            except OSError:  # Another part of this process has taken the last descriptors.
                return self._rest()
            client.setblocking(False)
            opening = self._loop.create_task(self._loop.connect_accepted_socket(self._new_connection, client))
            self._opening.add(opening)
            opening.add_done_callback(self._opening.discard)
        return None

    def _rest(self) -> None:
        """Leave new clients in the kernel's queue for a moment: the socket would be ready again at once."""
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(_PAUSE_SECONDS, self.resume)
