"""What the emulator has received: counters, and every accepted request."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from emulator.faults import InjectedFault
from emulator.quota import SlidingSecond

# Time of receipt (Unix seconds), request id, body. A plain tuple: the garbage collector stops tracking it, so
# millions of them cost nothing. A body is parsed only when a client asks for the events.
Accepted = tuple[float, str, bytes]


class CallLog:
    """Every request since the start or the last reset.

    Each call counts in exactly one of `accepted`, `throttled`, `refused` and the faults before accepting
    (an error, RESET_BEFORE or HANG_BEFORE); `calls` is their sum. A request that got an error and is not a call
    counts in `bad_requests`.
    """

    def __init__(self) -> None:
        """Start with nothing received."""
        self.accepted: list[Accepted] = []
        self.calls = 0
        self.throttled = 0
        self.refused: Counter[str] = Counter()
        self.bad_requests: Counter[str] = Counter()
        self.faults: Counter[InjectedFault] = Counter()
        self.arrivals = SlidingSecond()
        self.arrivals_per_second: Counter[int] = Counter()
        self.admitted_per_second: Counter[int] = Counter()
        self.first_call_at: float | None = None
        self.last_call_at: float | None = None

    def arrive(self, now: float, steady: float) -> None:
        """Count a call with any result; `now` is Unix time, `steady` never goes back, both in seconds."""
        self.calls += 1
        self.arrivals.add(steady)
        self.arrivals_per_second[int(now)] += 1
        if self.first_call_at is None:
            self.first_call_at = now
        self.last_call_at = now


def read_events(accepted: Iterable[Accepted], tracking_id: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield accepted events, unchanged, in order of arrival.

    Added to each are the request's trackingId, userId (if it had one) and sessionId, receivedAt (Unix time
    in seconds) and requestId. With `tracking_id`, only the events sent to it.
    """
    for received_at, request_id, body in accepted:
        request = json.loads(body)
        if tracking_id is not None and request["trackingId"] != tracking_id:
            continue
        about = {name: request[name] for name in ("trackingId", "userId", "sessionId") if request.get(name)}
        for event in request["eventList"]:
            yield {**event, **about, "receivedAt": received_at, "requestId": request_id}


class CallCounts:
    """Counts over the accepted requests of a log, updated piece by piece."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._counted = 0
        self._event_ids: dict[str, set[str]] = {}
        self._events: Counter[str] = Counter()
        self._duplicates = 0
        self._users: set[str] = set()
        self._sessions: set[str] = set()

    def catch_up(self, accepted: list[Accepted], limit: int) -> bool:
        """Count at most `limit` requests not counted yet; return whether any are left."""
        for _, _, body in itertools.islice(accepted, self._counted, self._counted + limit):
            self._count(json.loads(body))
            self._counted += 1
        return self._counted < len(accepted)

    def counts(self) -> dict[str, Any]:
        """Return the part of the summary that comes from the events."""
        return {
            "events": self._events.total(),
            "distinctEventIds": sum(map(len, self._event_ids.values())),
            "duplicateEventIds": self._duplicates,
            "users": len(self._users),
            "sessions": len(self._sessions),
            "trackingIds": dict(self._events),
        }

    def _count(self, request: dict[str, Any]) -> None:
        tracking_id = request["trackingId"]
        self._events[tracking_id] += len(request["eventList"])
        self._sessions.add(request["sessionId"])
        if request.get("userId"):
            self._users.add(request["userId"])
        known = self._event_ids.setdefault(tracking_id, set())
        for event in request["eventList"]:
            self._count_id(known, event.get("eventId"))

    def _count_id(self, known: set[str], event_id: str | None) -> None:
        if event_id is None:
            return
        if event_id in known:
            self._duplicates += 1
        known.add(event_id)
