"""The paths: the operation itself, and the queries about the emulator."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import parse_qs

from emulator.call_log import Accepted, CallCounts, read_events
from emulator.messages import HttpReply, HttpRequest, Refusal, refuse
from emulator.service import PutEventsService
from emulator.settings import read_changes, tell_changeable

# Accepted requests handled before the event loop serves the sockets again: 1 to 2 ms of work.
_SLICE = 20


class Routes:
    """All paths: `POST /events`, and summary, events, reset and settings under `/_emulator/`."""

    def __init__(self, service: PutEventsService) -> None:
        """Serve `service`."""
        self._service = service
        self._tally = CallCounts()
        self._routes = {
            (b"POST", b"/events"): service.put_events,
            (b"GET", b"/_emulator/summary"): self._get_summary,
            (b"GET", b"/_emulator/events"): self._get_events,
            (b"POST", b"/_emulator/reset"): self._post_reset,
            (b"POST", b"/_emulator/settings"): self._post_settings,
        }

    def respond(self, request: HttpRequest) -> HttpReply:
        """Return the reply to a request, UnknownOperationException if it names no operation."""
        route = self._routes.get((request.method, request.path))
        if route is None:
            return self.refuse(Refusal("UnknownOperationException", "There is no such operation."))
        return route(request)

    def refuse(self, refusal: Refusal) -> HttpReply:
        """Return the reply to a request that is not a call, and count it."""
        self._service.book.bad_requests[refusal.code] += 1
        return refuse(refusal)

    def reset(self) -> None:
        """Forget everything received."""
        self._service.reset()
        self._tally = CallCounts()

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change settings, by their names in Settings.

        Raises:
            ValueError: if Settings refuse the value; then nothing changes.
        """
        self._service.change(**changes)

    def accepted(self) -> list[Accepted]:
        """Return the requests accepted up to now."""
        return list(self._service.book.accepted)

    async def summary(self) -> dict[str, Any]:
        """Return the content of `/_emulator/summary`; other calls continue while it is counted.

        calls = accepted + throttled + refused + faults before accepting. Of the other faults, a
        reset-after, hang-after or slow-body is also an accepted call, and a poison a refused one. badRequests are
        not calls: another path or method, not HTTP, too large, incomplete, or a client without room.

        users and sessions are distinct ids. duplicateEventIds counts the copies after the first of an
        eventId within a trackingId. perSecond counts admitted calls by Unix second, maxCallsInASecond those
        of the fullest sliding second. arrivalsPerSecond and maxArrivalsInASecond do so for all calls, throttled or
        refused ones included. Only otherCalls is about the other client: its calls between the
        first and the last of this client's calls that the quota checked.
        """
        book, window, tally = self._service.book, self._service.window, self._tally
        while tally.catch_up(book.accepted, _SLICE):
            await asyncio.sleep(0)
        return {
            "calls": book.calls,
            "accepted": len(book.accepted),
            "throttled": book.throttled,
            "refused": dict(book.refused),
            "faults": dict(book.faults),
            "badRequests": dict(book.bad_requests),
            **tally.counts(),
            "perSecond": {str(second): calls for second, calls in book.admitted_per_second.items()},
            "maxCallsInASecond": window.peak,
            "arrivalsPerSecond": {str(second): calls for second, calls in book.arrivals_per_second.items()},
            "maxArrivalsInASecond": book.arrivals.peak,
            "otherCalls": window.other_calls,
            "firstCallAt": book.first_call_at,
            "lastCallAt": book.last_call_at,
        }

    def _get_summary(self, _: HttpRequest) -> HttpReply:
        return HttpReply(body=self._summary_text())

    def _get_events(self, request: HttpRequest) -> HttpReply:
        tracking_id = parse_qs(request.query.decode("latin-1")).get("trackingId", [None])[0]
        return HttpReply(body=_event_lines(self.accepted(), tracking_id))

    def _post_reset(self, _: HttpRequest) -> HttpReply:
        self.reset()
        return HttpReply()

    def _post_settings(self, request: HttpRequest) -> HttpReply:
        try:
            self.change(read_changes(request.body))
        except ValueError as error:
            return self.refuse(Refusal("BadRequestException", str(error)))
        return HttpReply(body=json.dumps(tell_changeable(self._service.settings)).encode() + b"\n")

    async def _summary_text(self) -> AsyncIterator[bytes]:
        yield json.dumps(await self.summary()).encode() + b"\n"


async def _event_lines(accepted: list[Accepted], tracking_id: str | None) -> AsyncIterator[bytes]:
    """Yield the events as NDJSON, a slice of requests at a time."""
    rest: Iterator[Accepted] = iter(accepted)
    while part := list(islice(rest, _SLICE)):
        yield b"".join(json.dumps(event).encode() + b"\n" for event in read_events(part, tracking_id))
        await asyncio.sleep(0)
