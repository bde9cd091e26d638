"""What the service received, event by event, beside what the writer of the log knows."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from demo.expected import EVENTS_A_REQUEST, ExpectedCounts
from demo.shop import Hit

Wire = Mapping[str, Any]
"""An event that the service received, with the userId, the sessionId and the id of its request."""


@dataclass(frozen=True, slots=True)
class Received:
    """What arrived.

    Attributes:
        events: how many, repeats included.
        event_ids: different ids among them.
        requests: calls that brought them.
        sessions: different session ids.
        users: different user ids.
        differences: one sentence for each difference, without values.
    """

    events: int
    event_ids: int
    requests: int
    sessions: int
    users: int
    differences: tuple[str, ...]


def compare(expected: ExpectedCounts, wires: Iterable[Wire]) -> Received:
    """Check that every expected event arrived once, as written, in its session, and that nothing else did."""
    comparison = _Comparison(expected)
    differing = [sentence for wire in wires for sentence in comparison.add(wire)]
    arrivals, requests = comparison.arrivals, comparison.requests
    return Received(
        events=arrivals.total(),
        event_ids=len(arrivals),
        requests=len(requests),
        sessions=len(comparison.sessions),
        users=len(comparison.users),
        differences=tuple(chain(differing, _miscounted(expected, arrivals), _overfull(requests))),
    )


class _Comparison:
    def __init__(self, expected: ExpectedCounts) -> None:
        self.arrivals: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.users: set[str] = set()
        self.sessions: set[str] = set()
        self._session_names: dict[str, str] = {}
        self._session_ids: dict[str, str] = {}
        self._expected = expected

    def add(self, wire: Wire) -> Iterator[str]:
        event_id = wire.get("eventId", "without an id")
        self.arrivals[event_id] += 1
        self.requests[wire["requestId"]] += 1
        self.sessions.add(wire["sessionId"])
        if "userId" in wire:
            self.users.add(wire["userId"])
        hit = self._expected.events.get(event_id)
        if hit is None:
            yield f"event {event_id} was never written"
            return
        if fields := _differing(hit, wire):
            yield f"event {event_id} arrived with another {', '.join(fields)}"
        yield from self._misplaced(event_id, wire["sessionId"])

    def _misplaced(self, event_id: str, session_id: str) -> Iterator[str]:
        """Check that received session ids and known sessions correspond one to one."""
        name = self._expected.sessions[event_id]
        if self._session_names.setdefault(session_id, name) != name:
            yield f"event {event_id} arrived in a session that belongs to other events"
        elif self._session_ids.setdefault(name, session_id) != session_id:
            yield f"event {event_id} arrived in another session than the earlier events of its session"


def _miscounted(expected: ExpectedCounts, arrivals: Counter[str]) -> Iterator[str]:
    yield from (f"event {name} never arrived" for name in expected.events if name not in arrivals)
    yield from (f"event {name} arrived {times} times" for name, times in arrivals.items() if times > 1)


def _overfull(requests: Counter[str]) -> Iterator[str]:
    full = EVENTS_A_REQUEST
    return (f"request {name} held {size} events" for name, size in requests.items() if size > full)


def _differing(hit: Hit, wire: Wire) -> list[str]:
    """Name the fields in which an event differs from the written one."""
    written, arrived = _written(hit), _arrived(wire)
    # A derived session is compared by its events, because the writer of the log does not know its id.
    names = written.keys() - (set() if hit.session else {"sessionId"})
    return sorted(name for name in names if written[name] != arrived[name])


def _written(hit: Hit) -> dict[str, object]:
    return {
        "eventType": hit.kind,
        "sentAt": hit.at,
        "userId": hit.user,
        "sessionId": hit.session,
        "itemId": hit.item,
        "eventValue": hit.value,
        "impression": hit.shown,
        "properties": hit.properties,
        "recommendationId": hit.reco,
        "eventAttributionSource": hit.campaign,
    }


def _arrived(wire: Wire) -> dict[str, object]:
    as_sent = ("eventType", "userId", "sessionId", "itemId", "eventValue", "recommendationId")
    return {name: wire.get(name) for name in as_sent} | {
        "sentAt": round(wire["sentAt"] * 1000),
        "impression": tuple(wire.get("impression", ())),
        "properties": json.loads(wire.get("properties", "{}")),
        "eventAttributionSource": wire.get("metricAttribution", {}).get("eventAttributionSource"),
    }
