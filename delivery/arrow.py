"""The door to Spark: Arrow batches of requests in, Arrow batches of outcomes out, for `DataFrame.mapInArrow`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from delivery.client import Service, connect
from delivery.pacing import Pacer
from delivery.records import Outcome, Request
from delivery.retry import RetryPolicy
from delivery.sender import Sender, Time

OUTCOMES: Final = pa.schema(
    [
        ("requestId", pa.string()),
        ("userId", pa.string()),
        ("sessionId", pa.string()),
        ("eventIds", pa.list_(pa.string())),
        ("status", pa.string()),
        ("httpStatus", pa.int32()),
        ("errorCode", pa.string()),
        ("attempts", pa.int32()),
        ("awsRequestId", pa.string()),
        ("startedAt", pa.timestamp("us", tz="UTC")),
        ("latencyMs", pa.int64()),
        ("errorMessage", pa.string()),
        ("throttled", pa.int32()),
        ("retried", pa.int32()),
    ]
)
"""The columns of an outcome: a receipt's, in its order, and what dead letters and counters need besides."""

_ROWS_A_BATCH = 1_000


@dataclass(frozen=True, slots=True)
class TaskDelivery:
    """Sends the requests of one Spark task. Pickled to the executors: it holds plain values only.

    Attributes:
        service: where requests go.
        rate: calls a second of this task: its share of the delivery's.
        in_flight: requests under way at once, at the most.
        retry: when to call again.
    """

    service: Service
    rate: float
    in_flight: int = 16
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Send what the batches hold (requestId, userId, sessionId, eventIds, events); give those of OUTCOMES."""
        clock = Time(lambda: datetime.now(UTC), time.monotonic, time.sleep)
        clock.sleep(clock.chance() / self.rate)  # tasks that start together must not call together
        pacer = Pacer(self.rate, clock.monotonic, clock.sleep)
        sender = Sender(connect(self.service, self.in_flight), pacer, self.retry, clock, self.in_flight)
        outcomes = sender.send(request for batch in batches for request in requests(batch))
        while rows := [row(outcome) for outcome in islice(outcomes, _ROWS_A_BATCH)]:
            yield pa.RecordBatch.from_pylist(rows, schema=OUTCOMES)


def requests(batch: pa.RecordBatch) -> Iterator[Request]:
    """Read a batch's rows as requests."""
    for values in batch.to_pylist():
        yield Request(
            values["requestId"],
            values["userId"],
            values["sessionId"],
            tuple(values["eventIds"]),
            tuple(values["events"]),
        )


def row(outcome: Outcome) -> dict[str, Any]:
    """Write an outcome as a row of OUTCOMES."""
    request, answer = outcome.request, outcome.answer
    return {
        "requestId": request.requestId,
        "userId": request.userId,
        "sessionId": request.sessionId,
        "eventIds": list(request.eventIds),
        "status": outcome.status,
        "httpStatus": answer and answer.httpStatus,
        "errorCode": answer and answer.errorCode,
        "errorMessage": answer and answer.errorMessage,
        "attempts": outcome.attempts,
        "throttled": outcome.throttled,
        "retried": outcome.retried,
        "awsRequestId": answer and answer.awsRequestId,
        "startedAt": outcome.startedAt,
        "latencyMs": outcome.latencyMs,
    }
