"""PutEvents through stock boto3 over a real socket: accepting, refusing, throttling, waiting."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

import emulator
from emulator import EmulatorClock, EmulatorSettings


def refused_code(client: Any, call: dict[str, Any]) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        client.put_events(**call)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_a_good_call_is_accepted(client: Any, call: Any, server: emulator.Server) -> None:
    full = call(
        eventId="e-1",
        eventValue=4.5,
        itemId="\U0001f600" * 256,
        impression=["a"] * 25,
        properties='{"numberOfRatings": "12"}',
        recommendationId="r" * 40,
        metricAttribution={"eventAttributionSource": "mail"},
    )
    metadata = client.put_events(**full)["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == 200
    assert metadata["HTTPHeaders"]["content-length"] == "0"
    [event] = server.events()
    assert event["requestId"] == metadata["RequestId"]
    assert event["itemId"] == "\U0001f600" * 256


def test_boto3_raises_the_modelled_exception_with_the_message(client: Any, call: Any) -> None:
    with pytest.raises(client.exceptions.InvalidInputException) as caught:
        client.put_events(**call(itemId="x" * 257, recommendationId="x" * 41))
    assert caught.value.response["Error"]["Message"].startswith("2 validation errors detected: ")
    assert caught.value.response["ResponseMetadata"]["RequestId"]


def test_a_value_that_is_not_finite(client: Any, call: Any) -> None:
    # Newer boto3 writes it as the string "NaN", which is refused; older as a bare NaN, which is no JSON.
    status, code = refused_code(client, call(eventValue=float("nan")))
    assert (status, code in {"InvalidInputException", "SerializationException"}) == (400, True)


def test_a_refused_call_keeps_nothing_of_its_neighbours(client: Any, call: Any, server: emulator.Server) -> None:
    both = call() | {"eventList": call()["eventList"] + call(itemId="x" * 257)["eventList"]}
    assert refused_code(client, both) == (400, "InvalidInputException")
    assert server.summary()["events"] == 0


def test_a_tracking_id_that_is_not_there(connect: Any, call: Any) -> None:
    with emulator.running(EmulatorSettings(tracking_ids=frozenset({"t-1", "t-2"}))) as server:
        client = connect(server)
        client.put_events(**call())
        client.put_events(**(call() | {"trackingId": "t-2"}))
        assert refused_code(client, call() | {"trackingId": "t-3"}) == (404, "ResourceNotFoundException")
        assert server.summary()["refused"] == {"ResourceNotFoundException": 1}


def test_the_quota_on_a_clock_of_the_tests(connect: Any, call: Any) -> None:
    now = 100.0
    with emulator.running(EmulatorSettings(quota=2), EmulatorClock(steady=lambda: now)) as server:
        client = connect(server)
        client.put_events(**call())
        client.put_events(**call())
        assert refused_code(client, call()) == (400, "ThrottlingException")
        now = 100.999
        assert refused_code(client, call()) == (400, "ThrottlingException")
        now = 101.0
        client.put_events(**call())
        summary = server.summary()
    assert [summary[name] for name in ("calls", "accepted", "throttled", "maxCallsInASecond")] == [5, 3, 2, 2]
    assert sum(summary["perSecond"].values()) == 3


def test_throttling_comes_before_judging_and_after_the_signature(connect: Any, call: Any) -> None:
    with emulator.running(EmulatorSettings(quota=1), EmulatorClock(steady=lambda: 0.0)) as server:
        bad = call(itemId="x" * 257)
        stranger = connect(server, aws_access_key_id="AKIDSTRANGER")
        assert refused_code(stranger, bad) == (403, "UnrecognizedClientException")
        assert refused_code(connect(server), bad) == (400, "InvalidInputException")
        assert refused_code(connect(server), bad) == (400, "ThrottlingException")


def test_two_servers_do_not_share_anything(connect: Any, call: Any) -> None:
    with emulator.running() as one, emulator.running() as other:
        connect(one).put_events(**call())
        assert (one.summary()["calls"], other.summary()["calls"]) == (1, 0)
