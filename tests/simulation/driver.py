"""The driver of one sending: the real attendance, server and dispatcher, in the world's loop."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest.mock import patch

from delivery import task
from delivery.control.dispatcher import Dispatcher, ServiceHistory
from delivery.control.server import ControlServer
from delivery.control.wire import DriverAddress
from delivery.rate.aimd import AimdRateController
from jobs.deliver import delivery_monitor
from jobs.deliver.delivery_monitor import DeliveryMonitor, DeliveryResult, MonitorHooks
from jobs.errors import UnfinishedError
from tests.simulation.spark import Job
from tests.simulation.store import Store
from tests.simulation.world import Process, World

_T = TypeVar("_T")
START = datetime(2024, 1, 1, tzinfo=UTC)


class _Server(ControlServer):
    """The server without a thread and a loop of its own: it lives in the world's."""

    def __init__(self, dispatcher: Dispatcher, secret: str, world: World) -> None:
        super().__init__(dispatcher, secret)
        self._loop.close()
        self._loop = world  # type: ignore[assignment]

    async def open(self) -> int:
        self._listener = await asyncio.start_server(self._serve, "", 0)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self.port

    def call(self, work: Callable[[], _T]) -> _T:
        return work()

    def hang_up(self) -> None:
        assert self._listener is not None
        self._listener.close()
        for talk in self._conversations:
            talk.cancel()


class Driver:
    """The driver's process, from its start to its end.

    Attributes:
        process: in which it runs.
        dispatcher: its.
        sent: what came of the sending; None while it goes on, or where it was ended.
        error: what ended it.
        over: whether it has ended; not so where it was killed.
    """

    def __init__(self, world: World, process: Process, store: Store, limit: float, trust: ServiceHistory) -> None:
        self.world, self.process, self.store = world, process, store
        self.asked = threading.Event()
        self.lock_lost = False
        self.sent: DeliveryResult | None = None
        self.error: Exception | None = None
        self.over = False
        self.ended_at = 0.0
        with world.acting(process):
            self.dispatcher = Dispatcher(AimdRateController(limit, world.time), world.time, trust)
            self.server = _Server(self.dispatcher, "secret", world)

    async def listen(self) -> DriverAddress:
        """Open the port."""
        return DriverAddress(self.process.host, await self.server.open(), "secret")

    def attend(self, job: Job) -> None:
        """Send, in what is a thread of its own elsewhere."""
        watch = MonitorHooks(self.store.keep, self._check, self.asked)

        def work() -> None:
            self.sent = DeliveryMonitor(self.dispatcher, self.server, watch).watch(job)  # type: ignore[arg-type]
            self.error = self.sent.error
            self.over, self.ended_at = True, self.world.now
            self.server.hang_up()

        self.world.block(self.process, work)

    def _check(self) -> None:
        if self.lock_lost:
            raise UnfinishedError("the lock is lost")


class _Day:
    """The clock of the day of whichever process asks."""

    def __init__(self, world: World) -> None:
        self._world = world

    def now(self, _zone: tzinfo | None = None) -> datetime:
        return START + timedelta(seconds=self._world.now + self._world.current.wrong)


@contextmanager
def replaced(world: World) -> Iterator[None]:
    """Replace time, the client and Spark's thread where the code under test finds them."""

    def wait(works: list[Future[Any]], timeout: float) -> SimpleNamespace:
        if not works[0].done():
            world.sleep(timeout)
        return SimpleNamespace(not_done={work for work in works if not work.done()})

    clock = SimpleNamespace(monotonic=world.time, sleep=world.sleep)
    with (
        patch.multiple(delivery_monitor, time=clock, wait=wait, _run_in_thread=lambda run: run()),
        patch.multiple(task, connect=lambda client, _: client, datetime=_Day(world), uptime_seconds=world.boot_time),
        _quiet(delivery_monitor.log),
    ):
        yield


@contextmanager
def _quiet(log: logging.Logger) -> Iterator[None]:
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before
