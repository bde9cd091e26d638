"""Who may call: session tokens that expire, and rights that are missing."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

import emulator
from emulator import EmulatorClock, EmulatorSettings

EXPIRED = "403 ExpiredTokenException"
UNKNOWN = "403 UnrecognizedClientException"


class Later:
    """A wall clock that tests put forward. Signatures must be of the present, so it starts there."""

    seconds = 0.0

    def wall(self) -> float:
        return time.time() + self.seconds


@pytest.fixture
def later() -> Later:
    return Later()


@pytest.fixture
def server(later: Later) -> Iterator[emulator.Server]:
    with emulator.running(EmulatorSettings(token_lifetime=300), EmulatorClock(wall=later.wall)) as running_server:
        yield running_server


@pytest.fixture
def send(server: emulator.Server, connect: Any, call: Any, outcome: Any) -> Callable[..., str]:
    """Return a function that makes a call with a session token, and says what the client saw."""

    def put(token: str | None, **client: Any) -> str:
        said: str = outcome(connect(server, aws_session_token=token, **client), call())
        return said

    return put


def test_a_token_expires_so_long_after_its_first_use(send: Any, later: Later) -> None:
    assert send("one") == "ok"
    later.seconds = 290
    assert send("one") == "ok"
    later.seconds = 310
    assert [send("one"), send("one")] == [EXPIRED, EXPIRED]


def test_another_token_is_taken_anew(send: Any, later: Later) -> None:
    assert send("one") == "ok"
    later.seconds = 310
    assert [send("one"), send("two")] == [EXPIRED, "ok"]
    later.seconds = 600
    assert [send("one"), send("two")] == [EXPIRED, "ok"]


def test_a_token_must_be_there_and_the_keys_must_be_ours(send: Any) -> None:
    assert send(None) == UNKNOWN
    assert send("one", aws_access_key_id="AKIDSTRANGER") == UNKNOWN
    assert send("one", aws_secret_access_key="wrong") == "403 InvalidSignatureException"


def test_a_stranger_does_not_start_a_lifetime(send: Any, later: Later) -> None:
    send("one", aws_secret_access_key="wrong")
    later.seconds = 310
    assert send("one") == "ok"


def test_what_an_expired_token_is_told(server: emulator.Server, connect: Any, call: Any, later: Later) -> None:
    client = connect(server, aws_session_token="one")
    client.put_events(**call())
    later.seconds = 310
    with pytest.raises(ClientError) as caught:
        client.put_events(**call())
    assert caught.value.response["Error"]["Message"] == "The security token included in the request is expired"
    summary = server.summary()
    assert (summary["accepted"], summary["refused"]) == (1, {"ExpiredTokenException": 1})


def test_a_reset_forgets_tokens(server: emulator.Server, send: Any, later: Later) -> None:
    send("one")
    later.seconds = 310
    server.reset()
    assert send("one") == "ok"


@pytest.mark.parametrize("lifetime", [0.0, -1.0, float("inf"), float("nan")])
def test_a_lifetime_that_cannot_be(lifetime: float) -> None:
    with pytest.raises(ValueError, match="more than 0 s"):
        EmulatorSettings(token_lifetime=lifetime)


def test_a_token_of_its_own_and_a_lifetime_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        EmulatorSettings(session_token="one", token_lifetime=60)


def test_rights_that_are_missing(connect: Any, call: Any) -> None:
    with emulator.running(EmulatorSettings(deny=True)) as server:
        with pytest.raises(ClientError) as caught:
            connect(server).put_events(**call())
        summary = server.summary()
    said = caught.value.response
    assert (said["ResponseMetadata"]["HTTPStatusCode"], said["Error"]["Code"]) == (403, "AccessDeniedException")
    assert " is not authorized to perform: personalize:PutEvents on resource: " in said["Error"]["Message"]
    assert said["Error"]["Message"].startswith("User: arn:aws:sts::")
    assert (summary["accepted"], summary["refused"]) == (0, {"AccessDeniedException": 1})


def test_rights_come_after_the_signature_and_before_the_quota(connect: Any, call: Any, outcome: Any) -> None:
    with emulator.running(EmulatorSettings(deny=True, quota=1), EmulatorClock(steady=lambda: 0.0)) as server:
        assert outcome(connect(server, aws_access_key_id="AKIDSTRANGER"), call()) == UNKNOWN
        client = connect(server)
        assert [outcome(client, call()) for _ in range(3)] == ["403 AccessDeniedException"] * 3
        assert (server.summary()["throttled"], server.summary()["perSecond"]) == (0, {})
