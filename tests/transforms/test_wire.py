"""The JSON that Spark makes is what boto3 would send."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from transforms.schemas import EVENTS
from transforms.wire import event_json, write_plain_number

EXTREMES = [
    *(0.0, -0.0, 1.0, 1e7, 9999999.999, 0.001, 0.00099999, 1e-5, -1.5e-5, 123456789.125, 1e16, 1e22, 2.5e21, 5e-324),
    *(1.7976931348623157e308, 2.2250738585072014e-308, 2**53 + 1.0, 1 / 3, 1e23, 12345678.9, -9.007199254740993e15),
]
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
TIMES = st.integers(0, 4_000_000_000_000).map(lambda n: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=n))
EVENT = st.fixed_dictionaries(
    {"eventType": TEXT, "eventId": TEXT, "sentAt": TIMES},
    optional={
        "eventValue": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(EXTREMES),
        "itemId": TEXT,
        "impression": st.lists(TEXT, min_size=1, max_size=3),
        "properties": st.dictionaries(TEXT, TEXT, min_size=1, max_size=3),
        "recommendationId": TEXT,
        "eventAttributionSource": TEXT,
    },
)


class Sent(Exception):  # noqa: N818 - it ends a call, it is no error
    """Carries a request's body out of boto3 before it reaches the network."""


@pytest.fixture(scope="module")
def body() -> Any:
    client = boto3.client("personalize-events", region_name="eu-west-1")

    def catch(params: dict[str, Any], **_: object) -> None:
        raise Sent(params["body"])

    client.meta.events.register("before-call.personalize-events.PutEvents", catch)

    def sent(event: dict[str, Any]) -> Any:
        with pytest.raises(Sent) as caught:
            client.put_events(trackingId="t", sessionId="s", eventList=[event])
        (member,) = json.loads(caught.value.args[0])["eventList"]
        return member

    return sent


def arguments(event: dict[str, Any]) -> dict[str, Any]:
    call = dict(event)
    if "properties" in call:
        call["properties"] = json.dumps(call["properties"])
    if source := call.pop("eventAttributionSource", None):
        call["metricAttribution"] = {"eventAttributionSource": source}
    return call


def with_properties(member: dict[str, Any]) -> dict[str, Any]:
    return {**member, **({"properties": json.loads(member["properties"])} if "properties" in member else {})}


# What fails is plain to see in the assertion; to find a smaller case takes many Spark jobs.
@settings(max_examples=6, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(events=st.lists(EVENT, min_size=40, max_size=80))
def test_an_event_is_as_boto3_would_send_it(spark: SparkSession, body: Any, events: list[dict[str, Any]]) -> None:
    rows = [{name: event.get(name) for name in EVENTS.names} for event in events]
    frame = spark.createDataFrame(rows, EVENTS).coalesce(1)
    texts = [row[0] for row in frame.select(event_json({name: F.col(name) for name in EVENTS.names})).collect()]
    for event, text in zip(events, texts, strict=True):
        assert with_properties(json.loads(text)) == with_properties(body(arguments(event)))


def test_numbers_are_plain_and_keep_every_bit(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(value,) for value in EXTREMES], "n DOUBLE").coalesce(1)
    texts = [row[0] for row in frame.select(write_plain_number(F.col("n"))).collect()]
    assert not [text for text in texts if "e" in text.lower()]
    found = [(json.loads(text), math.copysign(1, float(text))) for text in texts]
    assert found == [(value, math.copysign(1, value)) for value in EXTREMES]


def test_a_time_goes_out_in_seconds_with_milliseconds_at_the_most(spark: SparkSession) -> None:
    event = {"eventId": "e", "eventType": "t", "sentAt": datetime(2024, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)}
    frame = spark.createDataFrame([{name: event.get(name) for name in EVENTS.names}], EVENTS)
    (row,) = frame.select(event_json({name: F.col(name) for name in EVENTS.names})).collect()
    assert row[0] == '{"eventId":"e","eventType":"t","sentAt":1704067200.123}'
