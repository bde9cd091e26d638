"""Requests and outcomes: the data of a delivery."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

Status = Literal["delivered", "refused"]
OutcomeRow = dict[str, Any]
"""An outcome in messages: the columns of a receipt, and errorMessage."""

UNANSWERED: Final = "unanswered"
"""The errorCode of an event that the service never answered, while it answered others."""


@dataclass(frozen=True, slots=True)
class Request:
    """The content of one PutEvents call: 1 to 10 events of one userId and sessionId.

    Attributes:
        requestId: the same in every run.
        userId: None for an anonymous visitor.
        sessionId: 1 to 256 characters.
        eventIds: the ids of the events, in order.
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

        The id decides which event it is. If it were always the first, it would always be one that begins sessions.
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
    """The answer of one call.

    Attributes:
        httpStatus: None if the connection failed before an answer.
        errorCode: None on success; otherwise the service's code, or the name of the connection fault.
        errorMessage: the service's message; it may quote values, so it goes to tables, never to a log.
        awsRequestId: the service's own id for the call, if it gave one.
    """

    httpStatus: int | None
    errorCode: str | None = None
    errorMessage: str | None = None
    awsRequestId: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended. A request that has not ended in a run has no outcome, and the next run sends it.

    Attributes:
        request: the request, or a part of it after a split.
        status: `delivered`, or `refused` for good; unanswered ones are refused, with their own code.
        answer: of the last call.
        attempts: calls made, retries included; the calls before a split count for the first part.
        startedAt: of the last call, with its time zone.
        latencyMs: of the last call.
    """

    request: Request
    status: Status
    answer: Response
    attempts: int
    startedAt: datetime
    latencyMs: int
