"""The comparison tells every way in which what arrived can differ from what was written."""

import json
from typing import Any

import pytest

from demo.expected import EventTally, cut_sessions
from demo.funnel import FunnelRow, build_rows, put_rows, received_rows, table
from demo.received import compare
from demo.shop import Hit
from demo.visitors import CLIENTS

START = 1704153600000
MINUTE = 60_000


def hit(event_id: str, at: int, **fields: Any) -> Hit:
    nothing = dict.fromkeys(("visitor", "user", "session", "item", "value", "reco", "campaign"))
    base = {"client": CLIENTS[0], "kind": "view", "shown": (), "properties": {"device": "phone"}}
    return Hit(**{**nothing, **base, "event_id": event_id, "at": START + at, **fields})


TALLY = EventTally()
TALLY.filter()
TALLY.refuse(["itemId_too_long", "eventType_missing"])
for sound in (
    hit("a", 0, visitor="v1", item="7", shown=("7", "8"), reco="r"),
    hit("b", 1 * MINUTE, visitor="v1", user="u1", kind="purchase", item="7", value=12.5, campaign="ads"),
    hit("b", 1 * MINUTE, visitor="v1", user="u1", kind="purchase", item="7", value=12.5, campaign="ads"),
    hit("c", 90 * MINUTE, visitor="v1", user="u1", item="9"),
    hit("d", 0, session="s9", user="u2"),
):
    TALLY.accept(sound)
EXPECTED = TALLY.expected()


def wire(event_id: str, seconds: float, request: str, session: str, **fields: Any) -> dict[str, Any]:
    base = {
        "eventType": "view",
        "sentAt": START / 1000 + seconds,
        "properties": json.dumps({"device": "phone"}),
    }
    return {**base, "eventId": event_id, "requestId": request, "sessionId": session, **fields}


def arrived() -> list[dict[str, Any]]:
    ads = {"eventAttributionSource": "ads"}
    bought = {"eventType": "purchase", "itemId": "7", "eventValue": 12.5, "metricAttribution": ads}
    return [
        wire("a", 0, "r1", "x1", itemId="7", impression=["7", "8"], recommendationId="r"),
        wire("b", 60, "r2", "x1", userId="u1", **bought),
        wire("c", 5400, "r3", "x2", userId="u1", itemId="9"),
        wire("d", 0, "r4", "s9", userId="u2"),
    ]


def test_everything_as_written_is_no_difference() -> None:
    received = compare(EXPECTED, arrived())
    assert received.differences == ()
    assert all(row.agrees for row in received_rows(EXPECTED, received))
    assert (received.events, received.requests, received.sessions, received.users) == (4, 4, 3, 2)


def test_a_missing_event_is_told() -> None:
    received = compare(EXPECTED, arrived()[1:])
    assert received.differences == ("event a never arrived",)
    assert [row.label for row in received_rows(EXPECTED, received) if not row.agrees] == [
        "events",
        "event ids",
        "requests",
    ]


def test_a_doubled_event_is_told() -> None:
    received = compare(EXPECTED, [*arrived(), arrived()[0] | {"requestId": "r5"}])
    assert received.differences == ("event a arrived 2 times",)


def test_an_event_that_nobody_wrote_is_told() -> None:
    received = compare(EXPECTED, [*arrived(), arrived()[0] | {"eventId": "z", "requestId": "r5"}])
    assert received.differences == ("event z was never written",)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"eventType": "click"}, "eventType"),
        ({"itemId": "8"}, "itemId"),
        ({"sentAt": START / 1000 + 0.001}, "sentAt"),
        ({"eventValue": 1.0}, "eventValue"),
        ({"impression": ["8", "7"]}, "impression"),
        ({"properties": "{}"}, "properties"),
        ({"recommendationId": "q"}, "recommendationId"),
        ({"metricAttribution": {"eventAttributionSource": "x"}}, "eventAttributionSource"),
        ({"userId": "u1"}, "userId"),
    ],
)
def test_an_altered_field_is_named_and_not_quoted(changed: dict[str, Any], field: str) -> None:
    first, *others = arrived()
    assert compare(EXPECTED, [first | changed, *others]).differences == (f"event a arrived with another {field}",)


def test_a_session_of_the_clients_own_keeps_its_name() -> None:
    *others, last = arrived()
    differences = compare(EXPECTED, [*others, last | {"sessionId": "s8"}]).differences
    assert differences == ("event d arrived with another sessionId",)


def move_c(session: str) -> list[dict[str, Any]]:
    return [event | ({"sessionId": session} if event["eventId"] == "c" else {}) for event in arrived()]


def test_a_session_that_swallowed_the_next_is_told() -> None:
    told = "event c arrived in a session that belongs to other events"
    assert compare(EXPECTED, move_c("x1")).differences == (told,)


def test_a_session_cut_in_two_is_told() -> None:
    first, second, *others = arrived()
    told = "event b arrived in another session than the earlier events of its session"
    assert compare(EXPECTED, [first, second | {"sessionId": "x3"}, *others]).differences == (told,)


def test_a_request_of_eleven_events_is_told() -> None:
    tally = EventTally()
    for n in range(11):
        tally.accept(hit(f"e{n}", n * 1000, visitor="v1"))
    wires = [wire(f"e{n}", n, "r1", "x1") for n in range(11)]
    assert compare(tally.expected(), wires).differences == ("request r1 held 11 events",)


def test_sessions_are_cut_by_strictly_more_than_thirty_minutes() -> None:
    limit = 30 * MINUTE
    events = {
        "a": hit("a", 0, visitor="v"),
        "b": hit("b", limit, visitor="v", user="u"),
        "c": hit("c", 2 * limit + 1, visitor="v", user="u"),
        "d": hit("d", 0, user="u"),
        "e": hit("e", limit, visitor="v", session="own"),
    }
    sessions = cut_sessions(events)
    assert sessions["a"] == sessions["b"]
    assert sessions["e"] == "own"
    assert len(set(sessions.values())) == 4


BUILT = {
    "read": 7,
    "filtered": 1,
    "candidates": 6,
    "quarantined": 1,
    "duplicates": 1,
    "events": 4,
    "requests": 4,
}
BUILT |= {"sessions": 3, "users": 2}
REASONS = {"itemId_too_long": 1, "eventType_missing": 1}
PUT = {"events": 4, "requests": 4, "alreadyDelivered": 0, "delivered": 4, "deadLettered": 0, "pending": 0}


def test_summaries_as_expected_agree() -> None:
    rows = build_rows(EXPECTED, {**BUILT, "reasons": REASONS}) + put_rows(EXPECTED, PUT)
    assert [row for row in rows if not row.agrees] == []


@pytest.mark.parametrize("name", BUILT)
def test_each_count_of_build_events_is_checked(name: str) -> None:
    rows = build_rows(EXPECTED, {**BUILT, "reasons": REASONS, name: 99})
    assert [row.label for row in rows if not row.agrees] == [name]


@pytest.mark.parametrize("name", PUT)
def test_each_count_of_put_events_is_checked(name: str) -> None:
    without = {key: count for key, count in PUT.items() if key != name}
    assert [row.label for row in put_rows(EXPECTED, without) if not row.agrees] == [name]


def test_a_reason_too_many_and_one_too_few_are_told() -> None:
    rows = build_rows(EXPECTED, {**BUILT, "reasons": {"itemId_too_long": 1, "odd": 2}})
    assert {row.label.strip() for row in rows if not row.agrees} == {"odd", "eventType_missing"}


def test_table_is_aligned_and_marks_differences() -> None:
    rows = [FunnelRow("build_events", "read", 1234567, 1234567), FunnelRow("build_events", "users", None, 3)]
    assert list(table(rows)) == [
        "                                           counted    expected",
        "  build_events",
        "    read                                 1,234,567   1,234,567  ✓",
        "    users                                  missing           3  ✗ differs",
    ]
