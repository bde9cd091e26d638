"""The verdict agrees with the service's judgement over the wire: what is valid is accepted, what is not is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import emulator
from delivery.http.client import connect
from delivery.http.endpoint import TrackerEndpoint
from delivery.model import Request, Response
from emulator import EmulatorSettings
from expectations.rules import RuleContext
from expectations.verdict import BROKEN, judge_candidates, reasons
from jobs.spark_internals.catalyst import CatalystExpressions
from transforms.candidates import map_candidates
from transforms.mapping.reader import read_mapping
from transforms.schemas import EVENTS
from transforms.wire import event_json

Put = Callable[[Request], Response]
NOW = datetime(2024, 1, 2, tzinfo=UTC)
TEXTS = ["userId", "visitorId", "sessionId", "eventId", "eventType", "itemId", "recommendationId"]
TEXTS += ["eventAttributionSource", "shown", "device"]
COLUMNS = [*TEXTS, "value", "at"]
SCHEMA = ", ".join(f"{name} STRING" for name in TEXTS) + ", value DOUBLE, at BIGINT"
MAPPING = (
    f'[source]\nformat = "json"\nschema = "{SCHEMA}"\n[event]\n'
    + "".join(f'{name} = "{name}"\n' for name in TEXTS if name not in ("shown", "device"))
    + 'sentAt = "timestamp_micros(at)"\neventValue = "value"\n'
    + 'impression = "IF(shown IS NULL, NULL, array(shown, itemId))"\n'
    + '[event.properties]\ndevice = "device"\n'
)
GOOD = {"userId": "u", "visitorId": "v", "sessionId": "s", "eventType": "view", "at": 1704067200123456}
# Reasons of our own, whatever the service says: it takes some of these, and uses them not at all or wrongly.
OURS = {"identity_missing", "sentAt_in_future", "sentAt_before_1970", "impression_member_missing", "event_too_large"}


@pytest.fixture(scope="module")
def put() -> Iterator[Put]:
    with emulator.running(EmulatorSettings()) as server, asyncio.Runner() as runner:
        client = connect(TrackerEndpoint("t", "eu-west-1", server.endpoint_url), 1)

        async def call(request: Request) -> Response:
            return await client.put(request)

        yield lambda request: runner.run(call(request))
        runner.run(client.close())


def judged(spark: SparkSession, records: list[dict[str, Any]]) -> list[tuple[Request, list[str]]]:
    """Map and judge records; each with the request that it makes alone."""
    mapping, faults = read_mapping(MAPPING)
    assert mapping is not None and faults == []
    own = {"_raw": "{}", "_source_file": "f", "_fault": None, "_filtered": False, "_first": True}
    schema = f"{SCHEMA}, _raw STRING, _source_file STRING, _fault STRING, _filtered BOOLEAN, _first BOOLEAN"
    rows = [{**dict.fromkeys(COLUMNS), **GOOD, **record, **own} for record in records]
    candidates = map_candidates(spark.createDataFrame(rows, schema), mapping, CatalystExpressions(spark))
    verdicts = judge_candidates(candidates, RuleContext(NOW + timedelta(days=1)))
    named = {"eventId": F.coalesce("eventId", F.lit("0" * 64))}  # where none is given, one of this length is derived
    wire = event_json({name: F.col(name) for name in EVENTS.names} | named)
    found = verdicts.select(
        "userId", "sessionId", wire.alias("event"), reasons(F.col(BROKEN))["code"].alias("codes")
    ).collect()
    return [(Request("r", row.userId, row.sessionId or "s", ("e",), (row.event,)), row["codes"]) for row in found]


def disagreements(spark: SparkSession, put: Put, records: list[dict[str, Any]]) -> list[tuple[str, list[str], str]]:
    found = []
    for request, codes in judged(spark, records):
        accepted = put(request).errorCode is None
        if (not codes and not accepted) or (set(codes) - OURS and accepted):
            found.append((request.events[0][:80], codes, "accepted" if accepted else "refused"))
    return found


def test_every_naughty_string_in_every_field(spark: SparkSession, put: Put, samples: Path) -> None:
    naughty = json.loads((samples / "nasty" / "blns.json").read_text("utf-8"))
    assert len(naughty) == 515
    records = [{name: text} for name in TEXTS for text in naughty]
    assert disagreements(spark, put, records) == []


LENGTHS = [0, 1, 39, 40, 41, 255, 256, 257, 1000, 1009, 1010, 1011, 1024, 1025]
LETTERS = st.one_of(st.sampled_from('a é\U0001f6d2"\\/\n\x01\x7f'), st.characters(exclude_categories=["Cs"]))
TEXT = st.builds(lambda letter, length: letter * length, LETTERS, st.sampled_from(LENGTHS)) | st.text(
    LETTERS, max_size=9
)
RECORD = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.none() | TEXT for name in TEXTS},
        "value": st.floats() | st.none(),
        "at": st.none() | st.integers(0, 2**50) | st.integers(-(2**60), 2**60),
    },
)


# No shrinking: one run of 100 records takes a Spark job and 100 calls, and the failing event is shown as it is.
@settings(max_examples=6, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
@given(records=st.lists(RECORD, min_size=100, max_size=100))
def test_generated_candidates(spark: SparkSession, put: Put, records: list[dict[str, Any]]) -> None:
    assert disagreements(spark, put, records) == []
