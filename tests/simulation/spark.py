"""Spark, as far as a delivery sees it: slots that run attempts at parts, retries, speculation, executors that die."""

from __future__ import annotations

import itertools
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from delivery import task
from delivery.control.task_connection import TaskAttempt
from delivery.model import OutcomeRow, Request
from delivery.sender.request_queue import RequestBuffer
from delivery.task import TaskConfig
from tests.simulation.network import Network
from tests.simulation.service import Client, Service
from tests.simulation.world import Process, World

_START: Final = 0.15
"""Seconds that a slot takes to start a task."""
_FAILURES: Final = 4
"""Of a part's attempts, before Spark gives the job up."""
_PIECE: Final = 50

Left = tuple[str, int, OutcomeRow]


class JobFailedError(Exception):
    """A part has failed too often."""


@dataclass(slots=True, eq=False)
class Running:
    """An attempt at a part.

    Attributes:
        part: its number.
        process: in which it runs.
        slot: that it takes.
        ended: it has, in whatever way.
    """

    part: int
    process: Process
    slot: int
    ended: bool = False


@dataclass(slots=True, eq=False)
class Job:
    """The Spark job of one sending.

    Attributes:
        result: what Spark gives the driver.
        running: attempts, zombies of a dead driver too.
        on_end: is told of an attempt that was killed, before it is.
    """

    world: World
    network: Network
    service: Service
    chance: random.Random
    number: int
    """Of the driver's run."""
    parts: Sequence[Sequence[Request]]
    hosts: Sequence[tuple[str, float]]
    """Of the slots, and by how much the clock of each is wrong."""
    fed_at_once: bool
    names: Iterator[int]
    task_config: Callable[[Client], TaskConfig]
    on_start: Callable[[Running], None]
    on_kill: Callable[[Running], None]
    result: Future[list[Left]] = field(default_factory=Future)
    running: list[Running] = field(default_factory=list)
    _waiting: deque[int] = field(default_factory=deque)
    _free: list[int] = field(default_factory=list)
    _failures: dict[int, int] = field(default_factory=dict)
    _left: dict[int, list[Left]] = field(default_factory=dict)
    _over: bool = False

    def run(self) -> Future[list[Left]]:
        """Start as many attempts as there are slots."""
        self._waiting.extend(number for number, part in enumerate(self.parts) if part)
        self._free.extend(range(len(self.hosts)))
        self._fill()
        return self.result

    def kill(self, one: Running, *, silently: bool = False) -> None:
        """Kill an attempt's process, or take its machine off; Spark notices, and tries again."""
        if one.ended or not one.process.alive:
            return
        self.on_kill(one)
        self.world.kill(one.process)
        self.network.die(one.process, silently=silently)
        self.world.after(self.chance.uniform(0.05, 1.0), self.world.outside, self._ended, one, None)

    def speculate(self, number: int) -> None:
        """Start a second attempt at a part that runs."""
        once = [one for one in self.running if sum(other.part == one.part for other in self.running) == 1]
        if once and not self._over:
            self._launch(once[number % len(once)].part, number % len(self.hosts), takes_slot=False)

    def abandon(self) -> None:
        """The driver has died: executors end by themselves, sooner or later."""
        self._over = True
        for one in self.running:
            self.world.after(self.chance.choice((0.0, 0.3, 2.0, 10.0)), self.world.outside, self._bury, one)

    def cancel(self) -> None:
        """Give the job up: Spark kills its tasks."""
        self._fail(JobFailedError("cancelled"))

    def _fill(self) -> None:
        while self._waiting and self._free and not self._over:
            self._launch(self._waiting.popleft(), self._free.pop(0))

    def _launch(self, part: int, slot: int, *, takes_slot: bool = True) -> None:
        host, wrong = self.hosts[slot]
        process = Process(f"run {self.number}, part {part}, attempt {next(self.names)}", host, wrong)
        one = Running(part, process, slot if takes_slot else -1)
        self.running.append(one)
        self.world.after(_START, self.world.outside, self._begin, one)

    def _begin(self, one: Running) -> None:
        if self._over or not one.process.alive:
            self._ended(one, None)
            return
        self.on_start(one)
        attempt = self.world.start(one.process, self._attempt(one))
        attempt.add_done_callback(lambda done: self.world.soon(self.world.outside, self._ended, one, done))

    async def _attempt(self, one: Running) -> list[Left]:
        started: Future[RequestBuffer] = Future()
        started.add_done_callback(lambda buffer: self._buffer(buffer.result(), one.part))
        name = one.process.name
        client = Client(self.service, one.process, self.number)
        return [
            (name, *left)
            for left in await task.send_part(self.task_config(client), TaskAttempt(name, one.part), started)
        ]

    def _buffer(self, buffer: RequestBuffer, part: int) -> None:
        """Give an attempt its rows, at once or as a slow input brings them."""
        requests = list(self.parts[part])
        if self.fed_at_once:
            buffer.put(requests)
            buffer.close()
            return
        pieces = [requests[start : start + _PIECE] for start in range(0, len(requests), _PIECE)]
        for number, piece in enumerate(pieces):
            self.world.call_later(0.2 * number, buffer.put, piece)
        self.world.call_later(0.2 * len(pieces), buffer.close)

    def _ended(self, one: Running, attempt: Any) -> None:
        # Asked for also where nobody needs it: asyncio complains of an exception that nobody has seen.
        succeeded = attempt is not None and not attempt.cancelled() and attempt.exception() is None
        if one.ended:
            return
        one.ended = True
        self.running.remove(one)
        if one.slot >= 0:
            self._free.append(one.slot)
        if self._over:
            return
        if succeeded:
            self._succeed(one, attempt.result())
        elif one.part not in self._left:
            self._failures[one.part] = self._failures.get(one.part, 0) + 1
            if self._failures[one.part] >= _FAILURES:
                self._fail(JobFailedError(f"part {one.part} has failed {_FAILURES} times"))
            elif all(other.part != one.part for other in self.running):
                self._waiting.append(one.part)
        self._fill()

    def _succeed(self, one: Running, left: list[Left]) -> None:
        if one.part not in self._left:
            self._left[one.part] = left
            for other in [other for other in self.running if other.part == one.part]:
                self.world.after(0.2, self.world.outside, self._bury, other)
        if len(self._left) == sum(bool(part) for part in self.parts):
            self._over = True
            self.result.set_result(list(itertools.chain.from_iterable(self._left.values())))

    def _fail(self, error: Exception) -> None:
        if not self._over:
            self._over = True
            for one in list(self.running):
                self.world.after(self.chance.uniform(0.0, 2.5), self.world.outside, self._bury, one)
            self.result.set_exception(error)

    def _bury(self, one: Running) -> None:
        if not one.ended and one.process.alive:
            self.on_kill(one)
            self.world.kill(one.process)
            self.network.die(one.process)
            self._ended(one, None)
