"""What goes through delivery: requests in, outcomes out."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

Status = Literal["delivered", "refused"]
OutcomeRow = dict[str, Any]
"""An outcome as it travels: the columns of a receipt, and errorMessage."""

UNANSWERED: Final = "unanswered"
"""The errorCode of a dead letter that the service never answered, while it answered others."""


@dataclass(frozen=True, slots=True)
class Request:
    """One PutEvents call to be: 1 to 10 events of one userId and sessionId.

    Attributes:
        requestId: the same on every run.
        userId: None for an anonymous visitor.
        sessionId: 1 to 256 characters.
        eventIds: the events' ids, in order.
        events: each event as the JSON of a member of `eventList`, in the same order.
    """

    requestId: str
    userId: str | None
    sessionId: str
    eventIds: tuple[str, ...]
    events: tuple[str, ...]

    def halves(self) -> tuple[Request, Request]:
        """Split a request of several events in two, to find the one that the service refuses."""
        middle = len(self.events) // 2
        return self._part(1, slice(None, middle)), self._part(2, slice(middle, None))

    def single_out(self) -> tuple[Request, list[Request]]:
        """Split a request of several events into one of a single event and parts of the others.

        The id decides which event it is: were it always the first, one that sessions begin with could not be avoided.
        """
        path, single, rest = zlib.crc32(self.requestId.encode()), self, []
        while len(single.events) > 1:
            halves = single.halves()
            single, path = halves[path % 2], path // 2
            rest.append(halves[0] if single is halves[1] else halves[1])
        return single, rest

    def _part(self, number: int, part: slice) -> Request:
        return replace(
            self,
            requestId=f"{self.requestId}.{number}",
            eventIds=self.eventIds[part],
            events=self.events[part],
        )


@dataclass(frozen=True, slots=True)
class Response:
    """What one call came back with.

    Attributes:
        httpStatus: None where the connection failed before an answer.
        errorCode: None on success; else the service's code, or the name of the connection fault.
        errorMessage: the service's words; may quote values, so it goes to tables, never to a log.
        awsRequestId: the service's own id for the call, if it gave one.
    """

    httpStatus: int | None
    errorCode: str | None = None
    errorMessage: str | None = None
    awsRequestId: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended. One that has not ended in a run has none: the next run sends it.

    Attributes:
        request: the request, or the part of it that a split left.
        status: `delivered`, or `refused` for good; unanswered ones are refused, with a code of their own.
        answer: the last call's.
        attempts: calls made, retries included; the calls of a refused whole are its first part's.
        startedAt: of the last call, aware.
        latencyMs: of the last call.
    """

    request: Request
    status: Status
    answer: Response
    attempts: int
    startedAt: datetime
    latencyMs: int
