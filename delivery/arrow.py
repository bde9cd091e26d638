"""The door to Spark: Arrow batches of requests in, Arrow batches of what the driver does not know out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import pyarrow as pa

from delivery.channel.parts import Done
from delivery.records import Request
from delivery.task import Left, Terms, deliver

LEFT: Final = pa.schema([("attempt", pa.string()), ("number", pa.int64()), ("outcome", pa.string())])
"""What a task gives back: outcomes, as JSON, that the channel did not bring to the driver. Usually none."""
_PIECE: Final = 50
"""Rows that are read at once: the event loop waits for the interpreter so long."""


@dataclass(frozen=True, slots=True)
class TaskDelivery:
    """Sends the requests of one Spark task, for `DataFrame.mapInArrow`.

    Attributes:
        terms: of the delivery.
    """

    terms: Terms

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Send what the batches hold: part (one and the same), requestId, userId, sessionId, eventIds, events, ended.

        Raises:
            DriverNotReachedError: the driver was never reached; nothing was sent.
        """
        filled = (batch for batch in batches if batch.num_rows)
        first = next(filled, None)
        if first is not None:
            part = first.column("part")[0].as_py()
            yield from left(deliver(self.terms, part, pieces(chain([first], filled))))


def pieces(batches: Iterable[pa.RecordBatch]) -> Iterator[list[Request]]:
    """Read batches' rows as requests, some at a time; of one that was split before, the parts that have not ended."""
    for batch in batches:
        for start in range(0, batch.num_rows, _PIECE):
            yield [request for row in batch.slice(start, _PIECE).to_pylist() for request in _requests(row)]


def left(what: Left) -> Iterator[pa.RecordBatch]:
    """Write what the driver does not know as rows of LEFT."""
    rows = [{"attempt": what.attempt, "number": number, "outcome": json.dumps(row)} for number, row in what.rows]
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=LEFT)


def _requests(row: dict[str, Any]) -> list[Request]:
    ended = row.pop("ended", None)
    request = Request(row["requestId"], row["userId"], row["sessionId"], tuple(row["eventIds"]), tuple(row["events"]))
    return list(remaining(request, Done(ended))) if ended else [request]


def remaining(request: Request, done: Done) -> Iterator[Request]:
    """Give a request, or the parts of it that have not ended."""
    if done.has_part_of(request.requestId):
        for half in request.halves():
            yield from remaining(half, done)
    elif not done.has(request.requestId):
        yield request
