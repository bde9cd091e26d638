"""Blocking work in a thread beside an event loop."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


def run_beside(work: Callable[[], _T]) -> Future[_T]:
    """Run blocking work in a daemon thread: nobody has to wait for a source of credentials that hangs."""
    future: Future[_T] = Future()
    threading.Thread(target=_run, args=(work, future), daemon=True).start()
    return future


def _run(work: Callable[[], _T], future: Future[_T]) -> None:
    future.set_running_or_notify_cancel()
    try:
        future.set_result(work())
    except BaseException as error:  # whoever waits must hear of anything
        future.set_exception(error)


class SingleFlight(Generic[_T]):
    """Runs blocking work in a thread, once at a time: who asks while it is under way waits for the same."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work = work
        self._under_way: asyncio.Future[_T] | None = None

    async def result(self) -> _T:
        """Return what the work returns, or raise what it raises."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.wrap_future(run_beside(self._work))
        return await asyncio.shield(self._under_way)

    def cancel(self) -> None:
        """Wait no longer; the thread ends when its work does."""
        if self._under_way is not None:
            self._under_way.cancel()


class LookupLoop(asyncio.SelectorEventLoop):
    """An event loop that waits for no look-up when it ends, and looks each name up once at a time.

    asyncio's own has a few threads for look-ups, which are full as soon as one name hangs, and waits for them at its
    end: a task would end only when its resolver gives up, long after all its calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self._look_ups: dict[Any, SingleFlight[list[Any]]] = {}

    async def getaddrinfo(self, host: Any, port: Any, **hints: int) -> list[Any]:
        """Look a name up; who asks for the same meanwhile waits for the same."""
        question = (host, port, *sorted(hints.items()))
        if question not in self._look_ups:
            self._look_ups[question] = SingleFlight(partial(socket.getaddrinfo, host, port, **hints))
        return await self._look_ups[question].result()

    def close(self) -> None:
        """End; what is still looked up is of no use to anybody."""
        for look_up in self._look_ups.values():
            look_up.cancel()
        super().close()
