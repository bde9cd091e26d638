"""The client against the emulator: what the service receives, and what the caller learns of whatever happens then."""

import asyncio
import json
import os
import random
import shlex
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import emulator
from delivery.http.client import PutEventsClient, connect
from delivery.http.connections import Timeouts
from delivery.http.endpoint import TrackerEndpoint
from delivery.model import Request, Response
from delivery.responses import UNREACHABLE, ResponseMeaning, interpret_response
from emulator import EmulatorClock, EmulatorSettings, Faults
from tests.delivery.listeners import listening, silence

FULL = (
    '{"eventId":"e-full","eventType":"purchase","eventValue":12.5,"itemId":"i-1","impression":["i-1","i-2"],'
    '"properties":"{\\"numberOfRatings\\":\\"12\\",\\"größe\\":\\"XL ☂\\"}","recommendationId":"rec-1",'
    '"metricAttribution":{"eventAttributionSource":"mail"},"sentAt":1704067200.125}'
)
SMALL = '{"eventId":"e-small","eventType":"view","sentAt":1704067201}'


def request(number: int, events: int = 10, item: str = "i") -> Request:
    ids = tuple(f"e-{number}-{each}" for each in range(events))
    members = [{"eventId": name, "eventType": "view", "itemId": item, "sentAt": 1704067200 + number} for name in ids]
    return Request(f"r-{number}", f"u-{number}", f"s-{number}", ids, tuple(json.dumps(member) for member in members))


def put_all(url: str, requests: list[Request], connections: int = 8, tracking_id: str = "t-1") -> list[Response]:
    """Put requests side by side; the answers are in their order."""

    async def put() -> list[Response]:
        client = connect(TrackerEndpoint(tracking_id, "eu-west-1", url), connections)
        try:
            return await asyncio.gather(*map(client.put, requests))
        finally:
            await client.close()

    return asyncio.run(put())


def put_one(url: str, *events: str, user: str | None = "u-1") -> Response:
    ids = tuple(f"e-{place}" for place in range(len(events)))
    (answer,) = put_all(url, [Request("r-1", user, "s-1", ids, events)])
    return answer


def received(server: emulator.Server) -> Counter[str]:
    return Counter(event["eventId"] for event in server.events())


# What the service receives.


def test_events_arrive_as_they_were_sent() -> None:
    with emulator.running() as server:
        answer = put_one(server.endpoint_url, FULL, SMALL)
        arrived = [{k: v for k, v in event.items() if k != "receivedAt"} for event in server.events()]
    assert (answer.httpStatus, answer.errorCode, answer.errorMessage) == (200, None, None)
    call = {"trackingId": "t-1", "userId": "u-1", "sessionId": "s-1", "requestId": answer.awsRequestId}
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
        assert put_one(server.endpoint_url, SMALL, user=None).httpStatus == 200
        (event,) = server.events()
        assert server.summary()["users"] == 0
    assert "userId" not in event
    assert event["sessionId"] == "s-1"


def test_every_event_of_many_requests_arrives_once() -> None:
    requests = [request(number, 1 + number % 10) for number in range(200)]
    with emulator.running() as server:
        answers = put_all(server.endpoint_url, requests, connections=16)
        summary, arrived = server.summary(), received(server)
    assert arrived == Counter(f"e-{number}-{each}" for number in range(200) for each in range(1 + number % 10))
    assert {answer.httpStatus for answer in answers} == {200}
    assert len({answer.awsRequestId for answer in answers}) == 200
    assert summary["calls"] == 200


def test_a_session_token_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-1")
    with emulator.running(EmulatorSettings(session_token="token-1")) as server:
        assert put_one(server.endpoint_url, SMALL).httpStatus == 200


# What the caller learns.


def test_a_call_is_made_once_whatever_the_environment_says_of_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    with emulator.running(EmulatorSettings(faults=Faults(error_rate=1.0))) as server:
        assert interpret_response(put_one(server.endpoint_url, SMALL)) is ResponseMeaning.FAULT
        assert server.summary()["calls"] == 1


@pytest.mark.parametrize(
    "faults",
    [
        Faults(error_rate=0.4, seed=1),
        Faults(reset_before_rate=0.4, seed=2),
        Faults(reset_after_rate=0.4, seed=3),
        Faults(error_rate=0.2, reset_before_rate=0.2, reset_after_rate=0.2, seed=4),
    ],
)
def test_each_call_has_its_own_fault_and_no_other(faults: Faults) -> None:
    requests = [request(number) for number in range(100)]
    with emulator.running(EmulatorSettings(faults=faults)) as server:
        answers = put_all(server.endpoint_url, requests)
        summary, arrived = server.summary(), received(server)
    struck, met = summary["faults"], Counter(answer.errorCode for answer in answers)
    assert summary["calls"] == 100, "no call is made again here"
    assert met["InternalServerException"] == struck.get("internal-error", 0)
    assert met["ServiceUnavailable"] == struck.get("service-unavailable", 0)
    assert met["ConnectionClosedError"] == struck.get("reset-before", 0) + struck.get("reset-after", 0)
    assert met[None] == 100 - sum(struck.values()) < 90
    assert {interpret_response(answer) for answer in answers} == {ResponseMeaning.DELIVERED, ResponseMeaning.FAULT}
    acknowledged = [each for each, answer in zip(requests, answers, strict=True) if answer.errorCode is None]
    missing = [name for each in acknowledged for name in each.eventIds if arrived[name] != 1]
    assert missing == []
    assert arrived.total() == 10 * (len(acknowledged) + struck.get("reset-after", 0))


def test_a_throttled_call_is_told() -> None:
    with emulator.running(EmulatorSettings(quota=5), EmulatorClock(steady=lambda: 0.0)) as server:
        answers = put_all(server.endpoint_url, [request(number) for number in range(12)])
    assert Counter(map(interpret_response, answers)) == {ResponseMeaning.DELIVERED: 5, ResponseMeaning.THROTTLED: 7}


@pytest.mark.parametrize(
    "event",
    [
        '{"eventId":"bad","eventType":"' + "v" * 257 + '","sentAt":1}',
        '{"eventId":"bad","eventType":"v"}',
        '{"eventId":"bad","eventType":"v","sentAt":1,"properties":{"a":"b"}}',
        '{"eventId":"bad","eventType":"v","sentAt":"x"}',
        '{"eventId":"bad"',
        "null",
        "[]",
    ],
)
def test_an_invalid_event_has_its_call_refused_by_the_service(event: str) -> None:
    with emulator.running() as server:
        answer = put_one(server.endpoint_url, SMALL, event)
        assert received(server) == {}
    assert interpret_response(answer) is ResponseMeaning.REFUSED
    assert answer.httpStatus == 400
    assert answer.errorCode in {"InvalidInputException", "SerializationException"}
    assert answer.errorMessage
    assert answer.awsRequestId


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        (EmulatorSettings(secret_key="another"), "InvalidSignatureException"),
        (EmulatorSettings(access_key="AKIDANOTHER"), "UnrecognizedClientException"),
        (EmulatorSettings(tracking_ids=frozenset({"another"})), "ResourceNotFoundException"),
    ],
)
def test_a_wrong_set_up_is_told(settings: EmulatorSettings, code: str) -> None:
    with emulator.running(settings) as server:
        answer = put_one(server.endpoint_url, SMALL)
        assert received(server) == {}
    assert (answer.errorCode, interpret_response(answer)) == (code, ResponseMeaning.STOP)


def test_a_signature_out_of_time_is_told() -> None:
    with emulator.running(EmulatorSettings(), EmulatorClock(wall=lambda: time.time() + 3_600)) as server:
        answer = put_one(server.endpoint_url, SMALL)
    assert (answer.errorCode, interpret_response(answer)) == ("InvalidSignatureException", ResponseMeaning.STOP)


def test_missing_credentials_are_told_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with emulator.running() as server:
        answers = put_all(server.endpoint_url, [request(number) for number in range(20)])
        assert server.summary()["calls"] == 0
    assert set(answers) == {Response(None, "NoCredentialsError", "Unable to locate credentials")}
    assert interpret_response(answers[0]) is ResponseMeaning.STOP


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:9"])  # nobody listens on `discard`
def test_a_service_that_is_not_there_is_told(url: str) -> None:
    answer = put_one(url, SMALL)
    assert answer.httpStatus is None
    assert answer.errorCode in UNREACHABLE


# Calls side by side.


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a call with its own sessionId, some time later, or cut it off."""
    dice = random.Random(writer.get_extra_info("peername")[1])
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
        session = json.loads(await reader.readexactly(length))["sessionId"]
        await asyncio.sleep(dice.random() / 200)
        chance = dice.random()
        if chance < 0.1:
            return
        writer.write(f"HTTP/1.1 200 OK\r\nx-amzn-RequestId: {session}\r\nContent-Length: 4\r\n\r\n".encode())
        await asyncio.sleep(dice.random() / 500)
        writer.write(b"abcd")
        if chance < 0.2:
            return


def test_no_call_has_anothers_answer_though_connections_break_and_callers_give_up() -> None:
    async def live() -> None:
        async with listening(echo) as server:
            client = connect(TrackerEndpoint("t-1", "eu-west-1", f"http://127.0.0.1:{server.port}"), 10)
            calls = [asyncio.create_task(client.put(request(number))) for number in range(400)]
            dice = random.Random(7)
            while not all(call.done() for call in calls):
                dice.choice(calls).cancel()
                await asyncio.sleep(0.002)
            await client.close()
            answers = [None if call.cancelled() else call.result() for call in calls]
        told = [None if answer is None else answer.errorCode or answer.awsRequestId for answer in answers]
        assert set(told) <= {None, "ConnectionClosedError", *(f"s-{number}" for number in range(400))}
        own = [each for number, each in enumerate(told) if each == f"s-{number}"]
        assert len(own) == sum(each not in (None, "ConnectionClosedError") for each in told)
        assert {None, "ConnectionClosedError"} < set(told)
        assert len(own) > 100

    asyncio.run(live())


def test_closing_ends_calls_at_once() -> None:
    async def live() -> None:
        async with listening(silence) as server:
            client = connect(TrackerEndpoint("t-1", "eu-west-1", f"http://127.0.0.1:{server.port}"), 4)
            calls = [asyncio.create_task(client.put(request(number))) for number in range(9)]
            while server.connections < 4:
                await asyncio.sleep(0)
            client.abort()
            assert {answer.errorCode for answer in await asyncio.gather(*calls)} == {"ConnectionClosedError"}
            assert (await client.put(request(1))).errorCode == "ConnectionClosedError"
            await client.close()
            assert server.connections == 4

    asyncio.run(live())


# Keys that end.


class Keys:
    """Keys that a command of the user's gives, and how often it was asked."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file, self._log = folder / "keys.json", folder / "asked"
        self._log.touch()
        command = f"echo >> {shlex.quote(str(self._log))}; cat {shlex.quote(str(self._file))}"
        (folder / "config").write_text(f"[profile ours]\ncredential_process = sh -c {shlex.quote(command)}\n")
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
        monkeypatch.setenv("AWS_PROFILE", "ours")

    def set(self, token: str) -> None:
        keys = {"AccessKeyId": "AKIDEMULATOR", "SecretAccessKey": "emulator-secret", "SessionToken": token}
        self._file.write_text(json.dumps({"Version": 1, "Expiration": "2199-01-01T00:00:00Z", **keys}))

    @property
    def asked(self) -> int:
        return len(self._log.read_text())


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    made = Keys(tmp_path, monkeypatch)
    made.set("token-1")
    return made


@pytest.fixture
def later() -> Callable[[float], EmulatorClock]:
    """Return a function that sets the emulator's clock forward."""
    ahead = 0.0

    def set_forward(seconds: float) -> EmulatorClock:
        nonlocal ahead
        ahead += seconds
        return EmulatorClock(wall=lambda: time.time() + ahead)

    return set_forward


def test_calls_that_start_together_look_for_credentials_once(keys: Keys) -> None:
    with emulator.running(EmulatorSettings(session_token="token-1")) as server:
        answers = put_all(server.endpoint_url, [request(number) for number in range(20)])
    assert {answer.httpStatus for answer in answers} == {200}
    assert keys.asked == 1


def test_credentials_that_nobody_gives_are_waited_for_no_longer_than_one_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "keys.json"
    os.mkfifo(fifo)  # whoever reads it waits until somebody writes
    Keys(tmp_path, monkeypatch)

    async def live() -> Response:
        client = PutEventsClient(
            TrackerEndpoint("t-1", "eu-west-1", "http://127.0.0.1:9"), 1, Timeouts(credentials=0.3), time.time
        )
        try:
            await client.open()
            return await client.put(request(1))
        finally:
            await client.close()

    try:
        answer = asyncio.run(live())
    finally:
        fifo.open("r+b", buffering=0).write(b"{}\n")
    assert answer == Response(None, "TimeoutError", "boto3 did not find the endpoint and credentials within 0.3 s")
    assert interpret_response(answer) is ResponseMeaning.FAULT


def test_keys_that_have_ended_are_renewed(keys: Keys, later: Callable[[float], EmulatorClock]) -> None:
    async def live(url: str) -> None:
        client = connect(TrackerEndpoint("t-1", "eu-west-1", url), 4)
        assert interpret_response(await client.put(request(1))) is ResponseMeaning.DELIVERED
        later(301)
        assert interpret_response(await client.put(request(2))) is ResponseMeaning.EXPIRED
        assert await client.renew() is False, "there are no others yet"
        assert interpret_response(await client.put(request(2))) is ResponseMeaning.EXPIRED
        keys.set("token-2")
        asked = keys.asked
        assert await asyncio.gather(client.renew(), client.renew()) == [True, True]
        assert await client.renew() is True, "nobody has been refused since"
        assert keys.asked == asked + 1
        assert interpret_response(await client.put(request(2))) is ResponseMeaning.DELIVERED
        await client.close()

    with emulator.running(EmulatorSettings(token_lifetime=300), later(0)) as server:
        asyncio.run(live(server.endpoint_url))
        assert received(server) == Counter(f"e-{number}-{each}" for number in (1, 2) for each in range(10))


def test_the_clock_of_signatures_may_be_another() -> None:
    async def live(url: str) -> Response:
        client = PutEventsClient(TrackerEndpoint("t-1", "eu-west-1", url), 1, Timeouts(), lambda: 1_704_067_200.0)
        try:
            return await client.put(request(1))
        finally:
            await client.close()

    with emulator.running(EmulatorSettings(), EmulatorClock(wall=lambda: 1_704_067_200.0 + 800)) as server:
        assert asyncio.run(live(server.endpoint_url)).httpStatus == 200


# Connections ahead of calls.


def test_a_client_opens_a_connection_ahead_of_a_call_and_says_what_it_met() -> None:
    async def scenario(url: str) -> tuple[list[object], Response]:
        client = connect(TrackerEndpoint("t-1", "eu-west-1", url), 8)
        try:
            seen: list[object] = [client.ready, await client.connect(), client.ready]
            coming = client.put(request(1))
            seen.append(client.ready)
            answer = await coming
            return [*seen, client.ready], answer
        finally:
            await client.close()

    with emulator.running() as server:
        seen, answer = asyncio.run(scenario(server.endpoint_url))
    assert (seen, answer.httpStatus) == ([False, None, True, False, True], 200)
    seen, answer = asyncio.run(scenario("http://127.0.0.1:9"))
    assert seen[1] == answer and interpret_response(answer) is ResponseMeaning.UNREACHABLE
    assert not seen[2]
