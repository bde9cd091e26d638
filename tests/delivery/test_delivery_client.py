"""boto3 as a sender uses it, over a socket: what the service receives, and what becomes of whatever it answers."""

import json
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import emulator
from delivery.answers import Meaning, meaning
from delivery.client import Service, connect
from delivery.pacing import Pacer
from delivery.records import Answer, Outcome, Request
from delivery.retry import RetryPolicy
from delivery.sender import Sender, Time
from emulator import Clock, Faults, Settings

FULL = (
    '{"eventId":"e-full","eventType":"purchase","eventValue":12.5,"itemId":"i-1","impression":["i-1","i-2"],'
    '"properties":"{\\"numberOfRatings\\":\\"12\\",\\"größe\\":\\"XL ☂\\"}","recommendationId":"rec-1",'
    '"metricAttribution":{"eventAttributionSource":"mail"},"sentAt":1704067200.125}'
)
SMALL = '{"eventId":"e-small","eventType":"view","sentAt":1704067201}'


class FakeTime:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0.0
        self.time = Time(lambda: datetime.now(UTC), self.monotonic, self.sleep, lambda: 1.0)

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds


def deliver(
    url: str,
    requests: list[Request],
    *,
    in_flight: int = 8,
    attempts: int = 12,
    fake: FakeTime | None = None,
    rate: float = 1e9,
    tracking_id: str = "t-1",
) -> list[Outcome]:
    fake = fake or FakeTime()
    put = connect(Service(tracking_id, "eu-west-1", url), in_flight)
    pacer = Pacer(rate, fake.time.monotonic, fake.time.sleep)
    return list(Sender(put, pacer, RetryPolicy(attempts=attempts), fake.time, in_flight).send(requests))


def request(number: int, events: int = 10, item: Callable[[int], str] = lambda _: "i") -> Request:
    ids = tuple(f"e-{number}-{each}" for each in range(events))
    members = [
        {"eventId": name, "eventType": "view", "itemId": item(each), "sentAt": 1704067200 + number}
        for each, name in enumerate(ids)
    ]
    return Request(f"r-{number}", f"u-{number}", f"s-{number}", ids, tuple(json.dumps(member) for member in members))


def event_ids(outcomes: list[Outcome], status: str) -> list[str]:
    return sorted(event for outcome in outcomes if outcome.status == status for event in outcome.request.eventIds)


def received(server: emulator.Server) -> Counter[str]:
    return Counter(event["eventId"] for event in server.events())


# What the service receives.


def test_events_arrive_as_they_were_sent() -> None:
    with emulator.running() as server:
        sent = Request("r-1", "u-1", "s-1", ("e-full", "e-small"), (FULL, SMALL))
        (outcome,) = deliver(server.endpoint_url, [sent])
        arrived = [{k: v for k, v in event.items() if k != "receivedAt"} for event in server.events()]
    assert (outcome.status, outcome.attempts, outcome.request) == ("delivered", 1, sent)
    assert outcome.answer is not None and outcome.answer.httpStatus == 200
    call = {"trackingId": "t-1", "userId": "u-1", "sessionId": "s-1", "requestId": outcome.answer.awsRequestId}
    assert arrived == [
        {
            "eventId": "e-full",
            "eventType": "purchase",
            "eventValue": 12.5,
            "itemId": "i-1",
            "impression": ["i-1", "i-2"],
            "properties": '{"numberOfRatings":"12","größe":"XL ☂"}',
            "recommendationId": "rec-1",
            "metricAttribution": {"eventAttributionSource": "mail"},
            "sentAt": 1704067200.125,
            **call,
        },
        {"eventId": "e-small", "eventType": "view", "sentAt": 1704067201, **call},
    ]


def test_an_anonymous_request_bears_no_userid() -> None:
    with emulator.running() as server:
        anonymous = Request("r-1", None, "s-1", ("e-small",), (SMALL,))
        (outcome,) = deliver(server.endpoint_url, [anonymous])
        (event,) = server.events()
        assert server.summary()["users"] == 0
    assert outcome.status == "delivered"
    assert "userId" not in event
    assert event["sessionId"] == "s-1"


def test_every_event_of_many_requests_arrives_once() -> None:
    requests = [request(number, 1 + number % 10) for number in range(60)]
    with emulator.running() as server:
        outcomes = deliver(server.endpoint_url, requests, in_flight=16)
        summary, arrived = server.summary(), received(server)
    sent = [f"e-{number}-{each}" for number in range(60) for each in range(1 + number % 10)]
    assert arrived == Counter(sent)
    assert event_ids(outcomes, "delivered") == sorted(sent)
    assert {outcome.attempts for outcome in outcomes} == {1}
    assert summary["calls"] == 60


# What boto3 is told.


def test_boto3_retries_nothing_itself_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    with emulator.running(Settings(faults=Faults(error_rate=1.0))) as server:
        put = connect(Service("t-1", "eu-west-1", server.endpoint_url), 1)
        assert meaning(put(request(1))) is Meaning.FAULT
        assert server.summary()["calls"] == 1


def test_every_request_in_flight_has_a_connection_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), emulator.running(Settings(latency_ms=20)) as server:
        outcomes = deliver(server.endpoint_url, [request(number, 1) for number in range(32)], in_flight=16)
    assert len(event_ids(outcomes, "delivered")) == 32
    assert "pool is full" not in caplog.text


# Throttling and faults that pass.


def test_a_small_quota_is_survived() -> None:
    fake = FakeTime()
    clock = Clock(steady=fake.monotonic)
    with emulator.running(Settings(quota=5), clock) as server:
        outcomes = deliver(server.endpoint_url, [request(number) for number in range(30)], in_flight=8, fake=fake)
        summary, arrived = server.summary(), received(server)
    assert arrived == Counter(f"e-{number}-{each}" for number in range(30) for each in range(10))
    assert len(event_ids(outcomes, "delivered")) == 300
    assert summary["throttled"] > 0
    assert sum(outcome.throttled for outcome in outcomes) == summary["throttled"]
    assert sum(outcome.attempts for outcome in outcomes) == summary["calls"]


def test_a_sender_paced_at_the_quota_is_never_throttled() -> None:
    fake = FakeTime()
    clock = Clock(steady=fake.monotonic)
    with emulator.running(Settings(quota=16), clock) as server:
        requests = [request(number, 1) for number in range(100)]
        outcomes = deliver(server.endpoint_url, requests, in_flight=1, fake=fake, rate=16)
        summary = server.summary()
    assert len(event_ids(outcomes, "delivered")) == 100
    assert (summary["throttled"], summary["maxCallsInASecond"]) == (0, 16)


@pytest.mark.parametrize(
    "faults",
    [
        Faults(error_rate=0.4, seed=1),
        Faults(reset_before_rate=0.4, seed=2),
        Faults(reset_after_rate=0.4, seed=3),
        Faults(error_rate=0.2, reset_before_rate=0.1, reset_after_rate=0.1, seed=4),
    ],
)
def test_passing_faults_lose_nothing(faults: Faults) -> None:
    with emulator.running(Settings(faults=faults)) as server:
        outcomes = deliver(server.endpoint_url, [request(number) for number in range(50)], attempts=60)
        summary, arrived = server.summary(), received(server)
    sent = {f"e-{number}-{each}" for number in range(50) for each in range(10)}
    assert set(arrived) == sent
    assert event_ids(outcomes, "delivered") == sorted(sent)
    assert sum(summary["faults"].values()) > 5
    assert sum(outcome.attempts for outcome in outcomes) == summary["calls"] == 50 + sum(summary["faults"].values())
    # Sent twice are those alone whose answer was lost, under the same eventId.
    assert arrived.total() - len(arrived) == 10 * summary["faults"].get("reset-after", 0)


def test_poison_stands_alone_amid_faults() -> None:
    def item(number: int) -> Callable[[int], str]:
        return lambda each: "bad" if each == number else "good"

    requests = [request(number, 10, item(number)) for number in range(20)]  # from 10 on there is none
    faults = Faults(error_rate=0.1, reset_before_rate=0.1, poison_items=frozenset({"bad"}), seed=5)
    with emulator.running(Settings(faults=faults)) as server:
        outcomes = deliver(server.endpoint_url, requests, attempts=60)
        summary, arrived = server.summary(), received(server)
    poison = [f"e-{number}-{number}" for number in range(10)]
    good = {f"e-{number}-{each}" for number in range(20) for each in range(10)} - set(poison)
    assert event_ids(outcomes, "refused") == poison
    assert arrived == Counter(good)
    assert event_ids(outcomes, "delivered") == sorted(good)
    assert sum(outcome.attempts for outcome in outcomes) == summary["calls"]
    why = {outcome.answer.errorCode for outcome in outcomes if outcome.status == "refused" and outcome.answer}
    assert why == {"InvalidInputException"}


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (
            '{"eventId":"bad","eventType":"' + "v" * 257 + '","sentAt":1}',
            "InvalidInputException",
        ),  # told by the service
        ('{"eventId":"bad","eventType":"v"}', "ParamValidationError"),  # by botocore, without a call
        ('{"eventId":"bad","eventType":"v","sentAt":1,"properties":{"a":"b"}}', "ParamValidationError"),
    ],
)
def test_an_invalid_event_is_refused_alone(event: str, code: str) -> None:
    good = SMALL
    with emulator.running() as server:
        mixed = Request("r", "u", "s", ("e-small", "bad"), (good, event))
        delivered, refused = sorted(deliver(server.endpoint_url, [mixed]), key=lambda outcome: outcome.status)
        assert received(server) == {"e-small": 1}
    assert (delivered.status, delivered.request.eventIds) == ("delivered", ("e-small",))
    assert (refused.status, refused.request.eventIds) == ("refused", ("bad",))
    assert refused.answer is not None and (refused.answer.httpStatus, refused.answer.errorCode) == (400, code)
    assert refused.answer.errorMessage


# What no retry can mend.


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (Settings(secret_key="another"), "InvalidSignatureException"),
        (Settings(access_key="AKIDANOTHER"), "UnrecognizedClientException"),
        (Settings(tracking_ids=frozenset({"another"})), "ResourceNotFoundException"),
    ],
)
def test_a_wrong_set_up_stops_within_the_calls_in_flight(settings: Settings, code: str) -> None:
    with emulator.running(settings) as server:
        outcomes = deliver(server.endpoint_url, [request(number) for number in range(50)], in_flight=4)
        calls = server.summary()["calls"]
        assert received(server) == {}
    assert len(event_ids(outcomes, "pending")) == 500
    assert 1 <= calls <= 4
    assert {outcome.answer.errorCode for outcome in outcomes if outcome.answer} == {code}


def test_missing_credentials_stop_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with emulator.running() as server:
        outcomes = deliver(server.endpoint_url, [request(number) for number in range(20)], in_flight=1)
        assert server.summary()["calls"] == 0
    first, *rest = outcomes
    assert first.answer == Answer(None, "NoCredentialsError", "Unable to locate credentials")
    assert meaning(first.answer) is Meaning.STOP
    assert [outcome.attempts for outcome in rest] == [0] * 19
    assert len(event_ids(outcomes, "pending")) == 200


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_a_refused_connection_is_tried_again_and_then_left_pending(closed_port: int) -> None:
    outcomes = deliver(f"http://127.0.0.1:{closed_port}", [request(1), request(2)], in_flight=1, attempts=4)
    assert [(outcome.status, outcome.attempts) for outcome in outcomes] == [("pending", 4), ("pending", 0)]
    answer = outcomes[0].answer
    assert answer is not None and (answer.httpStatus, answer.errorCode) == (None, "EndpointConnectionError")


# Whatever comes back, `put` does not raise.


@pytest.fixture
def stranger() -> Iterator[Callable[[bytes], str]]:
    """Return a function from the bytes that a server sends back, before it hangs up, to its URL."""
    listeners = []

    def serve(listener: socket.socket, reply: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            request = b""
            while b"eventList" not in request:
                request += connection.recv(65536)
            connection.sendall(reply)

    def build(reply: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=serve, args=(listener, reply), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield build
    for listener in listeners:
        listener.close()


def http(status: int, body: bytes = b"<html>no</html>", *headers: bytes) -> bytes:
    head = [b"HTTP/1.1 %d X" % status, b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return b"\r\n".join([*head, b"", body])


@pytest.mark.parametrize(
    ("reply", "status", "expected"),
    [
        pytest.param(b"", None, Meaning.FAULT, id="hung up"),
        pytest.param(b"\0\1 this is not HTTP\r\n\r\n", None, Meaning.FAULT, id="not HTTP"),
        pytest.param(b"HTTP/1.1 2", None, Meaning.FAULT, id="half a status"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", None, Meaning.FAULT, id="broken chunk"
        ),
        pytest.param(http(500, b""), 500, Meaning.FAULT, id="500 without a body"),
        pytest.param(http(502), 502, Meaning.FAULT, id="a load balancer's 502"),
        pytest.param(http(429), 429, Meaning.THROTTLED, id="429 in HTML"),
        pytest.param(http(302, b"", b"Location: http://127.0.0.1:9/login"), 302, Meaning.STOP, id="redirect"),
        pytest.param(http(403), 403, Meaning.STOP, id="a proxy's 403"),
        pytest.param(http(405), 405, Meaning.STOP, id="a web server's 405"),
        pytest.param(http(407), 407, Meaning.STOP, id="a proxy's 407"),
        pytest.param(http(400, b"[1]"), None, Meaning.FAULT, id="a list"),
        pytest.param(http(400, b'"text"'), None, Meaning.FAULT, id="a string"),
        pytest.param(http(503, b"null"), None, Meaning.FAULT, id="null"),
        pytest.param(http(400, b"\xff\xfe"), None, Meaning.FAULT, id="not UTF-8"),
        pytest.param(http(400, b"{}"), 400, Meaning.STOP, id="an object without a code"),
        pytest.param(http(400), 400, Meaning.STOP, id="a proxy's 400"),
        pytest.param(http(200), 200, Meaning.STOP, id="another server's 200"),
    ],
)
def test_put_never_raises(
    stranger: Callable[[bytes], str], reply: bytes, status: int | None, expected: Meaning
) -> None:
    answer = connect(Service("t-1", "eu-west-1", stranger(reply)), 1)(request(1))
    assert (answer.httpStatus, meaning(answer)) == (status, expected)


@pytest.mark.parametrize("members", ["{}", "null", "[]", '{"eventType":"v","sentAt":1e12}', '{"sentAt":"x"}'])
def test_put_does_not_raise_for_an_event_that_botocore_refuses(closed_port: int, members: str) -> None:
    put = connect(Service("t-1", "eu-west-1", f"http://127.0.0.1:{closed_port}"), 1)
    assert meaning(put(Request("r", None, "s", ("e",), (members,)))) is Meaning.REFUSED


def test_an_event_that_is_no_json_is_a_mistake_of_ours_and_surfaces_without_its_text() -> None:
    secret = Request("r", None, "s", ("e",), ('{"userId": u-secret}',))
    with pytest.raises(ValueError, match="Expecting value") as raised:
        deliver("http://127.0.0.1:9", [secret])
    assert "secret" not in str(raised.value)


def test_calls_are_thread_safe() -> None:
    with emulator.running(Settings(latency_ms=5)) as server:
        put = connect(Service("t-1", "eu-west-1", server.endpoint_url), 8)
        answers: list[Any] = []
        threads = [threading.Thread(target=lambda n=n: answers.append(put(request(n)))) for n in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert {answer.errorCode for answer in answers} == {None}
        assert len({answer.awsRequestId for answer in answers}) == 24
        assert server.summary()["distinctEventIds"] == 240


def test_a_session_token_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-1")
    with emulator.running(Settings(session_token="token-1")) as server:
        (outcome,) = deliver(server.endpoint_url, [request(1)])
    assert outcome.status == "delivered"


def test_a_signature_out_of_time_stops() -> None:
    clock = Clock(wall=lambda: time.time() + 3_600)
    with emulator.running(Settings(), clock) as server:
        outcomes = deliver(server.endpoint_url, [request(number) for number in range(9)], in_flight=2)
        assert server.summary()["calls"] <= 2
    assert len(event_ids(outcomes, "pending")) == 90
