"""One attempt at one partition: it gets Arrow batches of requests, and an event loop in its own thread sends them."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import pyarrow as pa

from delivery.control.task_connection import TaskAttempt, TaskConnection
from delivery.control.task_session import TaskSession
from delivery.control.wire import DriverAddress
from delivery.ended_requests import EndedRequestSet
from delivery.http.background import LookupLoop
from delivery.http.client import connect
from delivery.http.endpoint import TrackerEndpoint
from delivery.model import Outcome, OutcomeRow, Request
from delivery.rate.rate_lease import RateLease
from delivery.sender.request_executor import RetryPolicy, WallClock
from delivery.sender.request_queue import RequestBuffer
from delivery.sender.sender import Sender

_MICROSECONDS: Final = 1_000_000
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Continues while the machine is suspended, so a lease ends meanwhile. On macOS the monotonic clock does so."""


@dataclass(frozen=True, slots=True)
class TaskConfig:
    """The configuration of every task of a delivery. It is pickled to the executors, so it has plain values only.

    Attributes:
        service: where requests go.
        address: of the driver.
        max_in_flight: the maximum number of calls in flight in each task.
        retry: when to call again.
    """

    service: TrackerEndpoint
    address: DriverAddress
    max_in_flight: int = 256
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True)
class UnreportedOutcomes:
    """Outcomes that the driver has not confirmed.

    Attributes:
        attempt: the attempt that made them.
        rows: each with its number.
    """

    attempt: str
    rows: tuple[tuple[int, OutcomeRow], ...] = ()


def deliver(task_config: TaskConfig, part: int, pieces: Iterable[list[Request]]) -> UnreportedOutcomes:
    """Send the requests of a part; return when they have ended, or when the delivery must end.

    Args:
        task_config: of the delivery.
        part: the number of the part.
        pieces: its requests, some at a time, always in the same order.

    Raises:
        DriverNotReachedError: the driver was never reached, and nothing was sent.
    """
    attempt = TaskAttempt(uuid.uuid4().hex, part)
    started: Future[RequestBuffer] = Future()
    with ThreadPoolExecutor(1, thread_name_prefix="put-events") as pool:
        work = pool.submit(_run, task_config, attempt, started)
        ready: list[Future[Any]] = [started, work]
        wait(ready, return_when=FIRST_COMPLETED)
        if not started.done():
            work.result()  # it could not even start
        buffer = started.result()
        try:
            _read(pieces, buffer)
            return UnreportedOutcomes(attempt.name, tuple(work.result()))
        except BaseException:
            buffer.fail()  # leaving the pool waits for its thread, which must not continue to send
            raise


def _run(task_config: TaskConfig, attempt: TaskAttempt, started: Future[RequestBuffer]) -> list[tuple[int, OutcomeRow]]:
    with asyncio.Runner(loop_factory=LookupLoop) as runner:
        return runner.run(send_part(task_config, attempt, started))


def _read(pieces: Iterable[list[Request]], buffer: RequestBuffer) -> None:
    for piece in pieces:
        if not buffer.put(piece):
            return
    buffer.close()


async def send_part(
    task_config: TaskConfig, attempt: TaskAttempt, started: Future[RequestBuffer]
) -> list[tuple[int, OutcomeRow]]:
    """Send the requests of a part, in the running event loop, until they have ended or the delivery must end.

    Args:
        task_config: of the delivery.
        attempt: this attempt at the part.
        started: is given the buffer that takes the requests.

    Returns:
        The outcomes that the driver has not confirmed, with their numbers.
    """
    loop = asyncio.get_running_loop()
    service = connect(task_config.service, task_config.max_in_flight)
    rate_lease = RateLease(uptime_seconds)
    clock = WallClock(lambda: datetime.now(UTC), loop.time)
    sender = Sender(service, rate_lease, task_config.retry, clock, task_config.max_in_flight)
    buffer = RequestBuffer(lambda: _soon(loop, sender.pump))
    task_session = TaskSession(rate_lease, sender, uptime_seconds)
    line = TaskConnection(task_config.address, attempt, task_session, uptime_seconds)
    sender.on_news = line.ask
    started.set_result(buffer)
    sending = loop.create_task(sender.send(buffer, lambda outcome: task_session.report(row(outcome))))
    holding = loop.create_task(line.hold())
    try:
        await asyncio.wait([sending, holding], return_when=asyncio.FIRST_COMPLETED)
        if not sending.done():
            sending.cancel()
            await asyncio.wait([sending])
            holding.result()  # it raises: the connection ends before the sending only if it never existed
        line.leave(complete=not rate_lease.stopped)
        await holding
        sending.result()
    finally:
        await service.close()
    return list(task_session.unacknowledged())


def row(outcome: Outcome) -> OutcomeRow:
    """Write an outcome for a message: the columns of a receipt, startedAt as Unix microseconds, and errorMessage."""
    request, answer = outcome.request, outcome.answer
    return {
        "requestId": request.requestId,
        "userId": request.userId,
        "sessionId": request.sessionId,
        "eventIds": request.eventIds,
        "status": outcome.status,
        "httpStatus": answer.httpStatus,
        "errorCode": answer.errorCode,
        "errorMessage": answer.errorMessage,
        "attempts": outcome.attempts,
        "awsRequestId": answer.awsRequestId,
        "startedAt": round(outcome.startedAt.timestamp() * _MICROSECONDS),
        "latencyMs": outcome.latencyMs,
    }


def uptime_seconds() -> float:
    """Return the time that leases are counted by."""
    return time.clock_gettime(_CLOCK)


def _soon(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    """Call a function in a loop, from another thread; a loop that has ended needs nothing."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(work)


UNREPORTED_SCHEMA: Final = pa.schema([("attempt", pa.string()), ("number", pa.int64()), ("outcome", pa.string())])
"""The output of a task: outcomes, as JSON, that the channel did not bring to the driver. Usually none."""
_PIECE: Final = 50
"""Rows that are read at once: meanwhile the event loop waits for the interpreter."""


@dataclass(frozen=True, slots=True)
class TaskDelivery:
    """Sends the requests of one Spark task, for `DataFrame.mapInArrow`.

    Attributes:
        task_config: of the delivery.
    """

    task_config: TaskConfig

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Send the requests of the batches.

        Their columns are part (always the same), requestId, userId, sessionId, eventIds, events, ended.

        Raises:
            DriverNotReachedError: the driver was never reached, and nothing was sent.
        """
        filled = (batch for batch in batches if batch.num_rows)
        first = next(filled, None)
        if first is not None:
            part = first.column("part")[0].as_py()
            yield from unreported_outcomes(deliver(self.task_config, part, pieces(chain([first], filled))))


def pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[list[Request]]:
    """Read the rows of batches as requests, some at a time; of a split request, the parts that have not ended."""
    for batch in batches:
        for start in range(0, batch.num_rows, _PIECE):
            yield [request for row in batch.slice(start, _PIECE).to_pylist() for request in _requests(row)]


def unreported_outcomes(what: UnreportedOutcomes) -> Iterator[pa.RecordBatch]:
    """Write outcomes that the driver does not have as rows of `UNREPORTED_SCHEMA`."""
    rows = [{"attempt": what.attempt, "number": number, "outcome": json.dumps(row)} for number, row in what.rows]
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=UNREPORTED_SCHEMA)


def _requests(row: dict[str, Any]) -> list[Request]:
    ended = row.pop("ended", None)
    request = Request(row["requestId"], row["userId"], row["sessionId"], tuple(row["eventIds"]), tuple(row["events"]))
    return list(unfinished_parts(request, EndedRequestSet(ended))) if ended else [request]


def unfinished_parts(request: Request, done: EndedRequestSet) -> Iterator[Request]:
    """Return a request, or its parts that have not ended."""
    if done.has_part_of(request.requestId):
        for half in request.halves():
            yield from unfinished_parts(half, done)
    elif not done.has(request.requestId):
        yield request
