"""The counts of the jobs and the service as a table, beside the expected ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from demo.expected import ExpectedCounts
from demo.received import Received

_Summary = Mapping[str, Any]
"""The run summary that a job prints."""


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """One count.

    Attributes:
        place: who counted.
        label: what was counted.
        counted: how many; None if it was not reported.
        expected: how many there must be.
    """

    place: str
    label: str
    counted: int | None
    expected: int

    @property
    def agrees(self) -> bool:
        """Whether the count is as expected."""
        return self.counted == self.expected


def build_rows(expected: ExpectedCounts, summary: _Summary) -> list[FunnelRow]:
    """Check the summary of build_events."""
    wanted = {
        "read": expected.read,
        "filtered": expected.filtered,
        "candidates": expected.candidates,
        "quarantined": expected.quarantined,
        "duplicates": expected.duplicates,
        "events": len(expected.events),
        "sessions": len(set(expected.sessions.values())),
        "users": expected.users,
        "requests": expected.requests,
    }
    rows = [FunnelRow("build_events", name, summary.get(name), count) for name, count in wanted.items()]
    after_quarantined = 1 + list(wanted).index("quarantined")
    return rows[:after_quarantined] + _reason_rows(expected, summary) + rows[after_quarantined:]


def put_rows(expected: ExpectedCounts, summary: _Summary) -> list[FunnelRow]:
    """Check the summary of put_events."""
    events = len(expected.events)
    wanted = {"events": events, "alreadyDelivered": 0, "delivered": events, "deadLettered": 0, "pending": 0}
    wanted["requests"] = expected.requests
    return [FunnelRow("put_events", name, summary.get(name), count) for name, count in wanted.items()]


def received_rows(expected: ExpectedCounts, received: Received) -> list[FunnelRow]:
    """Check the numbers that the service received."""
    events = len(expected.events)
    counts = (
        ("events", received.events, events),
        ("event ids", received.event_ids, events),
        ("sessions", received.sessions, len(set(expected.sessions.values()))),
        ("users", received.users, expected.users),
        ("requests", received.requests, expected.requests),
    )
    return [FunnelRow("received", label, counted, wanted) for label, counted, wanted in counts]


def table(rows: Sequence[FunnelRow]) -> Iterable[str]:
    """Format the rows, aligned, under one heading for each place."""
    yield f"{'':38}{'counted':>12}{'expected':>12}"
    place = ""
    for row in rows:
        if row.place != place:
            place = row.place
            yield f"  {place}"
        counted = "missing" if row.counted is None else f"{row.counted:,}"
        yield f"    {row.label:<34}{counted:>12}{row.expected:>12,}  {'✓' if row.agrees else '✗ differs'}"


def _reason_rows(expected: ExpectedCounts, summary: _Summary) -> list[FunnelRow]:
    """One row for each reason, the most frequent first; a record may have several."""
    counted: Mapping[str, int] = summary.get("reasons", {})
    wanted = {**dict.fromkeys(counted, 0), **expected.reasons}
    ranked = sorted(wanted.items(), key=lambda reason: (-reason[1], reason[0]))
    return [FunnelRow("build_events", f"  {code}", counted.get(code, 0), count) for code, count in ranked]
