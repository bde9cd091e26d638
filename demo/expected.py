"""The results that the writer of the log expects: computed in plain Python, from the documentation alone."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

from demo.day import SESSION_GAP
from demo.shop import Hit

EVENTS_A_REQUEST = 10


@dataclass(frozen=True, slots=True)
class ExpectedCounts:
    """The expected results of a log.

    Attributes:
        read: lines.
        filtered: lines that are not interactions.
        quarantined: records refused.
        reasons: how many of these have each reason code; one record can have several.
        duplicates: records that repeat an event.
        events: the hits, by event id.
        sessions: the session of each event, by event id: the client's own id, or our name for a derived one.
    """

    read: int
    filtered: int
    quarantined: int
    reasons: Mapping[str, int]
    duplicates: int
    events: Mapping[str, Hit]
    sessions: Mapping[str, str]

    @property
    def candidates(self) -> int:
        """Records that are neither filtered nor blank."""
        return self.read - self.filtered

    @property
    def users(self) -> int:
        """Accounts with at least one event."""
        return len({hit.user for hit in self.events.values()} - {None})

    @property
    def requests(self) -> int:
        """The fewest calls for the events: each has one user, one session and at most ten events."""
        groups = Counter((hit.user, self.sessions[event_id]) for event_id, hit in self.events.items())
        return sum(-(-size // EVENTS_A_REQUEST) for size in groups.values())


class EventTally:
    """Counts the lines of a log while they are written."""

    def __init__(self) -> None:
        """Start with nothing written."""
        self._filtered = 0
        self._quarantined = 0
        self._duplicates = 0
        self._reasons: Counter[str] = Counter()
        self._events: dict[str, Hit] = {}

    def filter(self) -> None:
        """Count a line that is not an interaction."""
        self._filtered += 1

    def refuse(self, reasons: Iterable[str]) -> None:
        """Count a record that is refused for `reasons`."""
        self._quarantined += 1
        self._reasons.update(reasons)

    def accept(self, hit: Hit) -> None:
        """Count a valid record: an event, or a duplicate of one."""
        event_id = hit.event_id or derived_id(hit)
        self._duplicates += event_id in self._events
        self._events[event_id] = hit

    def expected(self) -> ExpectedCounts:
        """Return the expected results of the counted lines."""
        return ExpectedCounts(
            read=self._filtered + self._quarantined + self._duplicates + len(self._events),
            filtered=self._filtered,
            quarantined=self._quarantined,
            reasons=self._reasons,
            duplicates=self._duplicates,
            events=self._events,
            sessions=cut_sessions(self._events),
        )


def cut_sessions(events: Mapping[str, Hit]) -> dict[str, str]:
    """Name the session of each event: the client's own, or cut at long pauses, by visitor or else by user."""
    own = {event_id: hit.session for event_id, hit in events.items() if hit.session}
    others = ((event_id, hit) for event_id, hit in events.items() if not hit.session)
    timeline = sorted((hit.visitor or hit.user or "", hit.at, event_id) for event_id, hit in others)
    cut: dict[str, str] = {}
    for before, (who, at, event_id) in pairwise([("", 0, ""), *timeline]):
        goes_on = before[0] == who and at - before[1] <= SESSION_GAP
        cut[event_id] = cut[before[2]] if goes_on else f"{who} from {at}"
    return own | cut


def derived_id(hit: Hit) -> str:
    """Derive the id of an event that has none: SHA-256 over its parts, each with its name and length."""
    parts = {
        "visitorId": hit.visitor,
        "userId": hit.user,
        "sessionId": hit.session,
        "eventType": hit.kind,
        "sentAt": str(hit.at * 1000),
        "itemId": hit.item,
        "eventValue": str(hit.value) if hit.value else None,
        "impression": _compact(hit.shown) if hit.shown else None,
        "properties": _compact(hit.properties) if hit.properties else None,
        "recommendationId": hit.reco,
        "eventAttributionSource": hit.campaign,
    }
    text = ";".join(f"{name}={len(value)}:{value}" for name, value in parts.items() if value)
    return sha256(text.encode()).hexdigest()


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
