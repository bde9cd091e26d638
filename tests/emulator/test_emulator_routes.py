"""What the emulator tells of what it received."""

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from botocore.exceptions import ClientError

import emulator
from emulator import EmulatorClock, EmulatorSettings


@pytest.fixture
def served(connect: Any, call: Any) -> Iterator[emulator.Server]:
    """A server that has accepted four calls and refused one, a second apart by its own clock."""
    # Signatures must be of the present, so the clock starts there.
    moments = itertools.count(time.time())
    with emulator.running(clock=EmulatorClock(wall=lambda: next(moments))) as server:
        client = connect(server)
        client.put_events(**call(eventId="a", properties='{"k": "\u00e9"}'))
        client.put_events(**call(eventId="b"))
        client.put_events(**(call(eventId="a") | {"userId": "u-2", "sessionId": "s-2"}))
        anonymous = call(eventId="a") | {"trackingId": "t-2", "sessionId": "s-3"}
        del anonymous["userId"]
        anonymous["eventList"] += call()["eventList"]
        client.put_events(**anonymous)
        with pytest.raises(ClientError):
            client.put_events(**call(itemId="x" * 257))
        yield server


def fetch(server: emulator.Server, path: str) -> bytes:
    with urlopen(server.endpoint_url + path) as answer:
        assert answer.headers["x-amzn-RequestId"]
        text: bytes = answer.read()
        return text


def test_the_summary(served: emulator.Server) -> None:
    summary = served.summary()
    first, last = summary.pop("firstCallAt"), summary.pop("lastCallAt")
    assert last - first == pytest.approx(4.0)
    seconds = {str(int(first) + number): 1 for number in range(5)}
    assert (summary.pop("perSecond"), summary.pop("arrivalsPerSecond")) == (seconds, seconds)
    assert 1 <= summary.pop("maxCallsInASecond") == summary.pop("maxArrivalsInASecond") <= 5
    assert summary == {
        "calls": 5,
        "accepted": 4,
        "throttled": 0,
        "refused": {"InvalidInputException": 1},
        "faults": {},
        "badRequests": {},
        "otherCalls": 0,
        "events": 5,
        "distinctEventIds": 3,
        "duplicateEventIds": 1,
        "users": 2,
        "sessions": 3,
        "trackingIds": {"t-1": 3, "t-2": 2},
    }


def test_every_call_has_arrived_whatever_becomes_of_it(connect: Any, call: Any, outcome: Any) -> None:
    moments = iter([0.0, 0.25, 0.5, 0.75, 1.0, 1.25])
    with emulator.running(EmulatorSettings(quota=2), EmulatorClock(steady=lambda: next(moments))) as server:
        stranger, client = connect(server, aws_access_key_id="AKIDSTRANGER"), connect(server)
        senders = [stranger, client, client, client, client, client]
        outcomes = [outcome(sender, call()) for sender in senders]
        summary = server.summary()
    throttled = "400 ThrottlingException"
    assert outcomes == ["403 UnrecognizedClientException", "ok", "ok", throttled, throttled, "ok"]
    assert (summary["maxCallsInASecond"], summary["maxArrivalsInASecond"]) == (2, 4)
    assert (sum(summary["perSecond"].values()), sum(summary["arrivalsPerSecond"].values())) == (3, 6)


def test_the_summary_over_http_is_the_same(served: emulator.Server) -> None:
    assert json.loads(fetch(served, "/_emulator/summary")) == served.summary()


def test_a_summary_goes_on_from_the_last(server: emulator.Server, client: Any, call: Any) -> None:
    for count in range(1, 50):
        client.put_events(**call(eventId="same"))
        if count % 7 == 0:
            summary = server.summary()
            assert (summary["events"], summary["duplicateEventIds"]) == (count, count - 1)


def test_the_events(served: emulator.Server) -> None:
    events = list(served.events())
    assert [event.get("eventId") for event in events] == ["a", "b", "a", "a", None]
    assert [event.get("userId") for event in events] == ["u-1", "u-1", "u-2", None, None]
    assert "userId" not in events[3]
    first = events[0]
    assert first.pop("receivedAt") == served.summary()["firstCallAt"]
    assert first.pop("requestId") != events[1]["requestId"]
    assert first == {
        "eventId": "a",
        "eventType": "view",
        "sentAt": 1704067200,
        "properties": '{"k": "\u00e9"}',
        "trackingId": "t-1",
        "userId": "u-1",
        "sessionId": "s-1",
    }


def test_the_events_over_http_are_the_same(served: emulator.Server) -> None:
    lines = fetch(served, "/_emulator/events").splitlines()
    assert [json.loads(line) for line in lines] == list(served.events())


def test_the_events_of_one_tracking_id(served: emulator.Server) -> None:
    lines = fetch(served, "/_emulator/events?trackingId=t-2").splitlines()
    assert [json.loads(line)["trackingId"] for line in lines] == ["t-2", "t-2"]
    assert len(list(served.events("t-2"))) == 2
    assert fetch(served, "/_emulator/events?trackingId=none") == b""


def test_an_empty_server(server: emulator.Server) -> None:
    summary = server.summary()
    assert (summary["calls"], summary["firstCallAt"], summary["events"]) == (0, None, 0)
    assert fetch(server, "/_emulator/events") == b""


@pytest.mark.parametrize("over_http", [True, False])
def test_reset_forgets_everything(server: emulator.Server, client: Any, call: Any, over_http: bool) -> None:
    empty = server.summary()
    client.put_events(**call(eventId="a"))
    assert server.summary() != empty
    if over_http:
        urlopen(Request(server.endpoint_url + "/_emulator/reset", method="POST")).close()
    else:
        server.reset()
    assert server.summary() == empty
    client.put_events(**call(eventId="a"))
    assert server.summary()["duplicateEventIds"] == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/events"), ("POST", "/users"), ("GET", "/"), ("DELETE", "/_emulator/summary")],
)
def test_there_is_nothing_else(server: emulator.Server, method: str, path: str) -> None:
    with pytest.raises(HTTPError) as caught:
        urlopen(Request(server.endpoint_url + path, method=method))
    with caught.value as answer:
        assert (answer.status, answer.headers["x-amzn-ErrorType"]) == (404, "UnknownOperationException")
    summary = server.summary()
    assert (summary["calls"], summary["badRequests"]) == (0, {"UnknownOperationException": 1})
