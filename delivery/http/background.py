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
    """Run blocking work in a daemon thread, so that nobody must wait for a source of credentials that hangs."""
    future: Future[_T] = Future()
    threading.Thread(target=_run, args=(work, future), daemon=True).start()
    return future


def _run(work: Callable[[], _T], future: Future[_T]) -> None:
    future.set_running_or_notify_cancel()
    try:
        future.set_result(work())
    except BaseException as error:  # the waiting caller must get every error
        future.set_exception(error)


class SingleFlight(Generic[_T]):
    """Runs blocking work in a thread, once at a time: a second caller waits for the same run."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._work = work
        self._under_way: asyncio.Future[_T] | None = None

    async def result(self) -> _T:
        """Return the result of the work, or raise its error."""
        if self._under_way is None or self._under_way.done():
            self._under_way = asyncio.wrap_future(run_beside(self._work))
        return await asyncio.shield(self._under_way)

    def cancel(self) -> None:
        """Stop waiting; the thread ends when its work ends."""
        if self._under_way is not None:
            self._under_way.cancel()


class LookupLoop(asyncio.SelectorEventLoop):
    """An event loop that does not wait for look-ups when it ends, and looks up each name once at a time.

    asyncio's own loop has a few threads for look-ups. They are full when one name hangs, and the loop waits for them at
    its end. So a task would end only when its resolver gives up, long after all its calls.
    """

    def __init__(self) -> None:
        super().__init__()
        self._look_ups: dict[Any, SingleFlight[list[Any]]] = {}

    async def getaddrinfo(self, host: Any, port: Any, **hints: int) -> list[Any]:
        """Look up a name; a second caller for the same name waits for the same look-up."""
        question = (host, port, *sorted(hints.items()))
        if question not in self._look_ups:
            self._look_ups[question] = SingleFlight(partial(socket.getaddrinfo, host, port, **hints))
        return await self._look_ups[question].result()

    def close(self) -> None:
        """End; nobody needs the look-ups that still run."""
        for look_up in self._look_ups.values():
            look_up.cancel()
        super().close()
