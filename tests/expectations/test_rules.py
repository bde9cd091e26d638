"""Each rule at its limit, one below and one above, in characters outside the BMP too."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from expectations.rules import RULES, RuleContext
from expectations.verdict import BROKEN, judge_candidates, reasons, stage
from transforms import limits
from transforms.schemas import EVENTS

LATEST = datetime(2024, 1, 2, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "userId": "u",
    "visitorId": "v",
    "sessionId": "s",
    "eventId": "e",
    "eventType": "view",
    "eventValue": 1.5,
    "itemId": "i",
    "impression": ["i", "j"],
    "properties": {"device": "ios"},
    "recommendationId": "r",
    "eventAttributionSource": "web",
    "sentAt": datetime(2024, 1, 1, tzinfo=UTC),
    "sourceFile": "f",
}
EMOJI = "\U0001f6d2"  # one character, two UTF-16 units, four bytes


def verdicts(spark: SparkSession, *changes: dict[str, Any]) -> list[tuple[str, list[str]]]:
    own = {"_raw": "{}", "_fault": None, "_filtered": False, "_first": True, "_content_id": "c"}
    schema = EVENTS.simpleString()[len("struct<") : -1]
    columns = f"{schema}, _raw STRING, _fault STRING, _filtered BOOLEAN, _first BOOLEAN, _content_id STRING, n INT"
    rows = [{**GOOD, **own, **change, "n": n} for n, change in enumerate(changes)]
    judged = judge_candidates(spark.createDataFrame(rows, columns), RuleContext(LATEST)).orderBy("n")
    told = judged.select("_fate", reasons(F.col(BROKEN))["code"].alias("codes")).collect()
    return [(row["_fate"], row["codes"]) for row in told]


def properties_of(length: int) -> dict[str, str]:
    """Properties whose JSON text, as Python writes it, is of exactly this length."""
    empty = len(json.dumps({"k": ""}, separators=(",", ":")))
    return {"k": EMOJI * (length - empty)}


def test_a_good_event_is_valid_and_so_is_the_least_one(spark: SparkSession) -> None:
    least = {name: None for name in GOOD if name not in ("visitorId", "eventId", "eventType", "sentAt")}
    assert verdicts(spark, {}, least) == [("valid", []), ("valid", [])]


@pytest.mark.parametrize(
    ("code", "kept", "broken"),
    [
        (f"{field}_too_long", {field: letter * limit}, {field: letter * (limit + 1)})
        for field, limit, letter in [
            ("eventType", 256, EMOJI),
            ("userId", 256, EMOJI),
            ("sessionId", 256, EMOJI),
            ("eventId", 256, EMOJI),
            ("itemId", 256, EMOJI),
            ("recommendationId", 40, EMOJI),
            ("eventAttributionSource", 1024, "x"),
        ]
    ]
    + [
        (
            "identity_missing",
            {"visitorId": None, "userId": None},
            {"visitorId": None, "userId": None, "sessionId": None},
        ),
        ("eventType_missing", {"eventType": "x"}, {"eventType": ""}),
        ("eventType_missing", {"eventType": EMOJI}, {"eventType": None}),
        ("sentAt_missing", {}, {"sentAt": None}),
        (
            "sentAt_before_1970",
            {"sentAt": datetime(1970, 1, 1, tzinfo=UTC)},
            {"sentAt": datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)},
        ),
        ("sentAt_in_future", {"sentAt": LATEST}, {"sentAt": LATEST + timedelta(microseconds=1)}),
        ("eventValue_not_finite", {"eventValue": -1.7e308}, {"eventValue": float("nan")}),
        ("eventValue_not_finite", {"eventValue": 0.0}, {"eventValue": float("inf")}),
        ("eventValue_not_finite", {"eventValue": 5e-324}, {"eventValue": float("-inf")}),
        ("impression_too_many", {"impression": ["i"] * 25}, {"impression": ["i"] * 26}),
        ("impression_member_missing", {"impression": ["i"]}, {"impression": ["i", None]}),
        ("impression_member_too_long", {"impression": [EMOJI * 256]}, {"impression": ["i", EMOJI * 257]}),
        ("properties_too_long", {"properties": properties_of(1024)}, {"properties": properties_of(1025)}),
        ("eventAttributionSource_invalid", {"eventAttributionSource": " ~!"}, {"eventAttributionSource": "é"}),
        ("eventAttributionSource_invalid", {"eventAttributionSource": "a b"}, {"eventAttributionSource": "a\n"}),
        ("eventAttributionSource_invalid", {"eventAttributionSource": "!"}, {"eventAttributionSource": "a\x7f"}),
    ],
)
def test_a_rule_at_its_limit_and_beyond(
    spark: SparkSession, code: str, kept: dict[str, Any], broken: dict[str, Any]
) -> None:
    assert verdicts(spark, kept, broken) == [("valid", []), ("quarantined", [code])]


def test_an_event_of_ten_kilobytes_is_kept_and_one_byte_more_is_not(spark: SparkSession) -> None:
    bare = {"eventId": "e", "eventType": "view", "eventValue": 1.5, "itemId": "i", "sentAt": 1704067200.000}
    text = json.dumps({**bare, "impression": [""] * 12}, separators=(",", ":"))
    spare = 10_240 - (len(text) + len("00"))  # Python writes 1704067200.0, the wire .000
    full = [EMOJI * 220] * 11  # 11 * 220 * 4 bytes
    last = spare - 11 * 880
    nothing = {"properties": None, "recommendationId": None, "eventAttributionSource": None}
    kept = {**nothing, "impression": [*full, _of_bytes(last)]}
    broken = {**nothing, "impression": [*full, _of_bytes(last + 1)]}
    assert verdicts(spark, kept, broken) == [("valid", []), ("quarantined", ["event_too_large"])]


def _of_bytes(size: int) -> str:
    return EMOJI * (size // 4) + "x" * (size % 4)


def test_every_reason_that_applies_is_told_with_its_field_and_no_value(spark: SparkSession) -> None:
    secret = "secret" * 99
    own = {"_raw": "{}", "_fault": None, "_filtered": False, "_first": True, "_content_id": "c"}
    schema = EVENTS.simpleString()[len("struct<") : -1]
    columns = f"{schema}, _raw STRING, _fault STRING, _filtered BOOLEAN, _first BOOLEAN, _content_id STRING"
    row = {**GOOD, **own, "itemId": secret, "eventType": None, "sentAt": None}
    judged = judge_candidates(spark.createDataFrame([row], columns), RuleContext(LATEST))
    words = {"reasons": reasons(F.col(BROKEN)), "stage": stage(F.col(BROKEN))}
    told = judged.withColumns(words).collect()[0]
    assert [(reason.code, reason.field) for reason in told.reasons] == [
        ("eventType_missing", "eventType"),
        ("sentAt_missing", "sentAt"),
        ("itemId_too_long", "itemId"),
    ]
    assert told.stage == "validate" and told._raw == "{}"
    assert not any("secret" in reason.message for reason in told.reasons)


def test_our_limits_are_those_of_the_service_model() -> None:
    model = boto3.client("personalize-events", region_name="us-east-1").meta.service_model
    call = model.operation_model("PutEvents").input_shape.members
    event = call["eventList"].member.members
    identifiers = [call["trackingId"], call["userId"], call["sessionId"], event["eventId"], event["eventType"]]
    identifiers += [event["itemId"], event["impression"].member]
    assert {shape.metadata["max"] for shape in identifiers} == {limits.IDENTIFIER_LENGTH}
    assert call["eventList"].metadata["max"] == limits.EVENTS_PER_REQUEST
    assert event["impression"].metadata["max"] == limits.IMPRESSION_ITEMS
    assert event["properties"].metadata["max"] == limits.PROPERTIES_LENGTH
    assert event["recommendationId"].metadata["max"] == limits.RECOMMENDATION_ID_LENGTH
    source = event["metricAttribution"].members["eventAttributionSource"]
    assert source.metadata["max"] == limits.ATTRIBUTION_SOURCE_LENGTH
    assert source.metadata["pattern"] == r"^[\x20-\x7E]*[\x21-\x7E]+[\x20-\x7E]*$"  # ours is it without backtracking


def test_codes_are_unique() -> None:
    codes = [rule.code for rule in RULES]
    assert len(codes) == len(set(codes)) == 22


@pytest.mark.parametrize("size", [360_000_000, 715_827_900, 2_000_000_000])
def test_bounds_hold_for_texts_of_any_size(spark: SparkSession, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Six times the bytes of such a text is no INT; and no JSON is made of it, which no text could hold."""
    made = []
    rules = "expectations.rules"
    monkeypatch.setattr(f"{rules}.F.octet_length", lambda _: F.lit(size))
    monkeypatch.setattr(f"{rules}.event_json", lambda _: made.append(1) or F.raise_error(F.lit("made")))
    monkeypatch.setattr(f"{rules}.properties_json", lambda _: made.append(1) or F.raise_error(F.lit("made")))
    codes = verdicts(spark, {})[0][1]
    assert {"event_too_large", "properties_too_long"} <= set(codes) and made
