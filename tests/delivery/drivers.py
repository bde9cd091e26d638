"""A driver that tasks reach over a real socket, and that keeps what they tell; a service that answers at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256

import pytest

from delivery.control.dispatcher import Dispatcher, ServiceHistory
from delivery.control.server import ControlServer, serving_tasks
from delivery.control.wire import DriverAddress
from delivery.http.endpoint import TrackerEndpoint
from delivery.model import OutcomeRow, Request, Response
from delivery.rate.aimd import AimdRateController
from delivery.responses import ResponseMeaning, interpret_response
from delivery.task import TaskConfig, UnreportedOutcomes

SOON = 30.0
"""Seconds that a test waits for what must happen, before it fails."""
UNKNOWN = ServiceHistory()
NOWHERE = TrackerEndpoint("t-1", "eu-west-1", "http://127.0.0.1:9")


def name(number: int) -> str:
    """The requestId of a test's n-th request."""
    return sha256(str(number).encode()).hexdigest()


def request(number: int, events: int = 1) -> Request:
    ids = tuple(f"e{number}-{place}" for place in range(events))
    return Request(name(number), f"u{number}", f"s{number}", ids, ("{}",) * events)


def pieces(count: int, events: int = 1, size: int = 20) -> Iterator[list[Request]]:
    """A part's requests, some at a time."""
    for start in range(0, count, size):
        yield [request(number, events) for number in range(start, min(start + size, count))]


@dataclass
class Driver:
    """A delivery's driver.

    Attributes:
        server: that the tasks reach.
        dispatcher: that answers them.
        address: where.
        kept: the outcomes that it was told, in the order in which they came.
    """

    server: ControlServer
    dispatcher: Dispatcher
    address: DriverAddress
    kept: list[OutcomeRow] = field(default_factory=list)

    def task_config(self, service: TrackerEndpoint = NOWHERE, in_flight: int = 16) -> TaskConfig:
        return TaskConfig(service, self.address, in_flight)

    def keep(self) -> None:
        """Take what came, as the driver does about once a second: where it does not, no task may call any more."""
        self.kept += self.server.call(self.dispatcher.take)
        self.server.call(self.dispatcher.confirm_durable)

    def wait_for(self, tasks: int) -> None:
        """Wait until so many attempts are heard."""
        until = time.monotonic() + SOON
        while self.server.call(self.dispatcher.progress).tasks < tasks:
            assert time.monotonic() < until
            time.sleep(0.01)

    def accept(self, left: UnreportedOutcomes) -> None:
        """Take in what a task gave back."""
        for number, row in left.rows:
            self.dispatcher.accept(left.attempt, number, row)
        self.dispatcher.conclude()
        self.kept += self.dispatcher.take()

    def told(self) -> Counter[str]:
        return Counter(row["requestId"] for row in self.kept)


@contextmanager
def driving(limit: float = 2_000.0, trust: ServiceHistory = UNKNOWN) -> Iterator[Driver]:
    """Have a driver for as long as the context lasts; what it was told is complete then."""
    dispatcher = Dispatcher(AimdRateController(limit), service_history=trust)
    ended = threading.Event()
    with serving_tasks(dispatcher, "127.0.0.1", "127.0.0.1", 0) as (server, address):
        driver = Driver(server, dispatcher, address)

        def keep() -> None:
            while not ended.wait(0.1):
                driver.keep()

        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            yield driver
        finally:
            ended.set()
            keeper.join()
    dispatcher.conclude()
    driver.kept += dispatcher.take()


class Instant:
    """A service in place of the client: it answers in no time, in whatever loop, and keeps what it was asked.

    Args:
        answer: to each call.
    """

    def __init__(self, answer: Callable[[Request], Response] = lambda _: Response(200, awsRequestId="aws-1")) -> None:
        self._answer = answer
        self._moved = threading.Condition()
        self._held = threading.Event()
        self._held.set()
        self.calls: list[Request] = []
        self.delivered: Counter[str] = Counter()
        """How often which request was acknowledged."""
        self.ready = True
        self.clients = 0
        """How many are not closed."""

    async def open(self) -> None:
        pass

    async def connect(self) -> None:
        pass

    async def put(self, each: Request) -> Response:
        with self._moved:
            self.calls.append(each)
            self._moved.notify_all()
        while not self._held.is_set():
            await asyncio.sleep(0.01)
        answer = self._answer(each)
        if interpret_response(answer) is ResponseMeaning.DELIVERED:
            self.delivered[each.requestId] += 1
        return answer

    async def renew(self) -> bool:
        return False

    async def close(self) -> None:
        self.clients -= 1

    def hold(self) -> None:
        """Leave calls without an answer for now."""
        self._held.clear()

    def let_go(self) -> None:
        """Answer."""
        self._held.set()

    def wait_for(self, calls: int) -> None:
        with self._moved:
            assert self._moved.wait_for(lambda: len(self.calls) >= calls, SOON)

    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the client's place in tasks that start from now on."""

        def connect(_service: TrackerEndpoint, _connections: int) -> Instant:
            self.clients += 1
            return self

        monkeypatch.setattr("delivery.task.connect", connect)
