"""Names of hosts, looked up beside an event loop that can end while a name server hangs."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import Any

from delivery.http.flight import Flight


class Loop(asyncio.SelectorEventLoop):
    """An event loop that waits for no look-up when it ends, and looks each name up once at a time.

    asyncio's own has a few threads for look-ups, which are full as soon as one name hangs, and waits for them at its
    end: a task would end only when its resolver gives up, long after all its calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self._look_ups: dict[Any, Flight[list[Any]]] = {}

    async def getaddrinfo(self, host: Any, port: Any, **hints: int) -> list[Any]:
        """Look a name up; who asks for the same meanwhile waits for the same."""
        question = (host, port, *sorted(hints.items()))
        if question not in self._look_ups:
            self._look_ups[question] = Flight(partial(socket.getaddrinfo, host, port, **hints))
        return await self._look_ups[question].result()

    def close(self) -> None:
        """End; what is still looked up is of no use to anybody."""
        for look_up in self._look_ups.values():
            look_up.cancel()
        super().close()
