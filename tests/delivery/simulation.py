"""A whole delivery in virtual time: a driver, tasks that come and go, a service with a quota; messages may be lost."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from delivery.control.dispatcher import Dispatcher
from delivery.control.task_session import TaskSession
from delivery.control.wire import Message
from delivery.model import OutcomeRow, Request, Response
from delivery.rate.aimd import AimdRateController
from delivery.rate.rate_lease import RateLease
from delivery.sender.request_executor import RetryPolicy, WallClock
from delivery.sender.request_queue import RequestBuffer
from delivery.sender.sender import Sender
from delivery.task import row

BEAT = 0.2
"""Seconds between a task's questions."""
WAY = 0.001
"""Seconds that a message between task and driver is under way, unless a test says otherwise."""
START = 0.15
"""Seconds that it takes a slot to start its next task."""

DELIVERED = Response(200, awsRequestId="aws")
THROTTLED = Response(400, "ThrottlingException")


def unlimited(_now: float) -> float:
    return float("inf")


@dataclass(slots=True)
class Service:
    """Admits at most a quota of calls in any second, as they arrive.

    Attributes:
        quota: calls a second, at a time.
        latency: seconds there and back, of a part's calls; the way there takes up to 2 ms more at times.
        answer: to a call that is admitted, at the time when it arrives.
        started: when each call was sent.
        admitted: when each call that was let in arrived.
        throttled: when each other did.
    """

    quota: Callable[[float], float] = unlimited
    latency: Callable[[int], float] = lambda _part: 0.05
    answer: Callable[[float, Request], Response] = lambda _now, _request: DELIVERED
    started: list[float] = field(default_factory=list)
    admitted: list[float] = field(default_factory=list)
    throttled: list[float] = field(default_factory=list)
    ready: bool = True
    _window: deque[float] = field(default_factory=deque)
    _chance: random.Random = field(default_factory=lambda: random.Random(1))

    async def open(self) -> None:
        pass

    async def connect(self) -> None:
        pass

    async def put(self, request: Request) -> Response:
        clock, latency = asyncio.get_running_loop().time, self.latency(int(request.sessionId))
        self.started.append(clock())
        await asyncio.sleep(latency / 2 + self._chance.random() * 0.002)
        answer = self.answer(clock(), request) if self._admits(clock()) else THROTTLED
        await asyncio.sleep(latency / 2)
        return answer

    async def renew(self) -> bool:
        return False

    def _admits(self, now: float) -> bool:
        while self._window and self._window[0] <= now - 1.0:
            self._window.popleft()
        admits = len(self._window) < self.quota(now)
        (self.admitted if admits else self.throttled).append(now)
        if admits:
            self._window.append(now)
        return admits


class NotedPermit(RateLease):
    """A permit that notes when calls started."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.starts: list[float] = []

    def take(self) -> None:
        super().take()
        self.starts.append(asyncio.get_running_loop().time())


class Task:
    """One attempt at one part, of so many requests, and its line to the driver, which can be cut."""

    def __init__(self, delivery: Delivery, part: int, size: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.delivery = delivery
        self.name = f"part {part}, attempt {next(delivery.numbers)}"
        self.part = part
        self.rate_lease = NotedPermit(self.loop.time)
        time = WallClock(lambda: datetime.now(UTC), self.loop.time, random.Random(part).random)
        self.sender = Sender(delivery.service, self.rate_lease, RetryPolicy(), time, delivery.in_flight(part))
        self.talk = TaskSession(self.rate_lease, self.sender, self.loop.time)
        self.sender.on_news = self.ask
        self.requests = [_request(part, number) for number in range(size)]
        self.connected = True
        self._arrivals = {"to driver": 0.0, "to task": 0.0}
        """When the last message arrives, in each direction: none overtakes another."""

    async def live(self) -> None:
        """Send everything, and say so."""
        buffer = RequestBuffer(lambda: None)
        buffer.put(self.requests)
        buffer.close()
        self.delivery.come(self)
        beat = self.loop.create_task(self._beat())
        try:
            await self.sender.send(buffer, lambda outcome: self.talk.report(row(outcome)))
            self.talk.leave(complete=not self.rate_lease.stopped)
            self.ask()
            while self.connected and not self.talk.over:
                await asyncio.sleep(WAY)
        finally:
            beat.cancel()

    def ask(self) -> None:
        question = self.talk.make_question()
        if self.connected:
            self._bring("to driver", self.delivery.hear, self, question)

    def hear(self, answer: Message) -> None:
        if self.connected:
            self._bring("to task", self._obey, answer)

    def _bring(self, direction: str, hear: Callable[..., None], *what: Any) -> None:
        at = max(self.loop.time() + self.delivery.way(), self._arrivals[direction] + 1e-6)
        self._arrivals[direction] = at
        self.loop.call_at(at, hear, *what)

    def cut(self, *, noticed_after: float = 0.0) -> None:
        """Let no message through any more; the driver notices now, or after so many seconds of silence."""
        self.connected = False
        self.loop.call_later(noticed_after, self.delivery.dispatcher.lose, self.name)

    async def _beat(self) -> None:
        while True:
            self.ask()
            await asyncio.sleep(BEAT)

    def _obey(self, answer: Message) -> None:
        if self.connected:
            self.talk.apply_answer(answer)


class Delivery:
    """A driver and its tasks.

    Args:
        limit: calls a second.
        slots: tasks at once.
        service: who is called.
        in_flight: calls under way at once, in a part's task.
        way: seconds that a message is under way, of each anew.

    Attributes:
        tasks: all there ever were, in the order in which they came, by name.
        durable: whether outcomes can be made so.
        kept: the outcomes that were.
    """

    def __init__(
        self,
        limit: float,
        slots: int = 2,
        service: Service | None = None,
        in_flight: Callable[[int], int] = lambda _part: 256,
        way: Callable[[], float] = lambda: WAY,
    ) -> None:
        self.service = service or Service()
        self.in_flight = in_flight
        self.way = way
        clock = asyncio.get_running_loop().time
        self.dispatcher = Dispatcher(AimdRateController(limit, clock), clock)
        self.numbers = itertools.count()
        self.tasks: dict[str, Task] = {}
        self.durable = True
        self.kept: list[OutcomeRow] = []
        self._slots = slots
        self._next_look: asyncio.TimerHandle | None = None

    async def send(self, sizes: Sequence[int]) -> None:
        """Send parts of so many requests each, in as many tasks as there are slots."""
        waiting = deque(enumerate(sizes))

        async def slot() -> None:
            while waiting:
                part, size = waiting.popleft()
                await asyncio.sleep(START)
                await Task(self, part, size).live()

        keeping = asyncio.get_running_loop().create_task(self.keep_receipts())
        await asyncio.gather(*(slot() for _ in range(self._slots)))
        keeping.cancel()
        self.dispatcher.conclude()
        self.keep()

    @property
    def starts(self) -> list[float]:
        """When calls started, of all tasks."""
        return sorted(start for task in self.tasks.values() for start in task.rate_lease.starts)

    async def keep_receipts(self) -> None:
        """Make outcomes durable every second, where they can be."""
        while True:
            await asyncio.sleep(1.0)
            if self.durable:
                self.keep()

    def keep(self) -> None:
        self.kept += self.dispatcher.take()
        self.dispatcher.confirm_durable()

    def come(self, task: Task) -> None:
        self.tasks[task.name] = task
        self.dispatcher.add_attempt(task.name, task.part)

    def hear(self, task: Task, question: Message) -> None:
        task.hear({**self.dispatcher.handle_message(task.name, question), "to": question["number"]})
        self._tell_more()

    def _tell_more(self) -> None:
        for name in self.dispatcher.attempts_to_inform():
            self.tasks[name].hear(self.dispatcher.answer(name))
        if self._next_look is not None:
            self._next_look.cancel()
        if (seconds := self.dispatcher.seconds_to_more()) is not None:
            self._next_look = asyncio.get_running_loop().call_later(seconds, self._tell_more)


def fullest_second(moments: Sequence[float]) -> int:
    """The most calls in any sliding second."""
    ordered = sorted(moments)
    first = most = 0
    for number, moment in enumerate(ordered):
        while ordered[first] <= moment - 1.0 + 1e-6:
            first += 1
        most = max(most, number - first + 1)
    return most


def mean_rate(moments: Sequence[float]) -> float:
    """Calls a second, from the first to the last."""
    return (len(moments) - 1) / (max(moments) - min(moments))


def between(moments: Sequence[float], begin: float, end: float) -> float:
    """Calls a second, from one time to another."""
    return sum(begin <= moment < end for moment in moments) / (end - begin)


def _request(part: int, number: int) -> Request:
    name = hashlib.sha256(f"{part}-{number}".encode()).hexdigest()
    return Request(name, None, str(part), (f"{name}-0",), ("{}",))
