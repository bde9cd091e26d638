"""The emulator as a running server: in the event loop of this thread, or in its own thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from emulator.call_log import read_events
from emulator.routes import Routes
from emulator.service import PutEventsService
from emulator.settings import EmulatorClock, EmulatorSettings

_T = TypeVar("_T")


class Server:
    """A running emulator. Until it stops, its methods work from any other thread.

    Attributes:
        endpoint_url: the URL to give to boto3 as `endpoint_url`.
    """

    def __init__(self, endpoint_url: str, site: Routes, loop: asyncio.AbstractEventLoop) -> None:
        """Control `site`, which `loop` serves at `endpoint_url`."""
        self.endpoint_url = endpoint_url
        self._site = site
        self._loop = loop

    def summary(self) -> dict[str, Any]:
        """Return the content of `GET /_emulator/summary`."""
        return self._run(self._site.summary())

    def events(self, tracking_id: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield the events of `GET /_emulator/events`, one at a time, up to the moment of the call."""
        return read_events(self._site.accepted(), tracking_id)

    def reset(self) -> None:
        """Forget everything received, as `POST /_emulator/reset` does."""
        self._run(self._reset())

    def change(self, *, quota: int | None = None, other_rate: float | None = None) -> None:
        """Use another quota, or another rate of the other client, as `POST /_emulator/settings` does.

        Other settings do not change. A reset does not undo a change.

        Raises:
            ValueError: if Settings refuse the value; then nothing changes.
        """
        changes = {"quota": quota, "other_rate": other_rate}
        self._run(self._change({name: value for name, value in changes.items() if value is not None}))

    async def _reset(self) -> None:
        self._site.reset()

    async def _change(self, changes: dict[str, Any]) -> None:
        self._site.change(changes)

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


@contextmanager
def running(settings: EmulatorSettings | None = None, clock: EmulatorClock | None = None) -> Iterator[Server]:
    """Run an emulator in its own thread while the context lasts.

    Args:
        settings: by default a free port, without quota, latency or faults.
        clock: the source of the time; by default the system's.

    Raises:
        OSError: if the address cannot be listened on.
    """
    started: Future[tuple[Server, asyncio.Event]] = Future()
    arguments = (settings or EmulatorSettings(), clock or EmulatorClock(), started)
    thread = threading.Thread(target=_run_thread, args=arguments, name="emulator", daemon=True)
    thread.start()
    server, stop = started.result()
    try:
        yield server
    finally:
        server._loop.call_soon_threadsafe(stop.set)
        thread.join()


@asynccontextmanager
async def serving(settings: EmulatorSettings, clock: EmulatorClock) -> AsyncIterator[Server]:
    """Run an emulator in the current event loop while the context lasts.

    Raises:
        OSError: if the address cannot be listened on.
    """
    from emulator.connection import serving_connections  # noqa: PLC0415 - its parser is an extra: see --help without

    site = Routes(PutEventsService(settings, clock))
    async with serving_connections(settings.host, settings.port, site) as url:
        yield Server(url, site, asyncio.get_running_loop())


def _run_thread(
    settings: EmulatorSettings, clock: EmulatorClock, started: "Future[tuple[Server, asyncio.Event]]"
) -> None:
    async def serve() -> None:
        stop = asyncio.Event()
        async with serving(settings, clock) as server:
            started.set_result((server, stop))
            await stop.wait()

    try:
        asyncio.run(serve())
    except BaseException as error:
        # The caller that waits for the start must get every error.
        if started.done():
            raise
        started.set_exception(error)
