"""Candidates: honest identifiers, properties, and the derived eventId, reckoned here in plain Python."""

from __future__ import annotations

import hashlib

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from jobs.spark_internals.catalyst import CatalystExpressions
from transforms.candidates import map_candidates, pack_candidates
from transforms.mapping.model import EventMapping
from transforms.mapping.reader import read_mapping

COLUMNS = (
    "id STRING, user STRING, kind STRING, ts BIGINT, item STRING, value DOUBLE, shown ARRAY<STRING>, device STRING"
)
FORM = f"""
[source]
format = "json"
schema = "{COLUMNS}"
[event]
eventType = "kind"
sentAt = "timestamp_millis(ts)"
visitorId = "id"
userId = "user"
itemId = "item"
eventValue = "value"
impression = "shown"
[event.properties]
zone = "device"
device = "device"
rank = "CAST(value AS INT)"
"""


def mapping(text: str = FORM) -> EventMapping:
    read, faults = read_mapping(text)
    assert read is not None and faults == []
    return read


def candidate(spark: SparkSession, text: str = FORM, **values: object) -> Row:
    defaults: dict[str, object] = {"id": "v1", "user": None, "kind": "view", "ts": 1704067200123, "item": "7"}
    given = {**defaults, "value": None, "shown": None, "device": None, **values}
    own = {"_raw": "{}", "_source_file": "f", "_fault": None, "_filtered": False, "_first": True}
    schema = f"{COLUMNS}, _raw STRING, _source_file STRING, _fault STRING, _filtered BOOLEAN, _first BOOLEAN"
    mapped = map_candidates(
        spark.createDataFrame([{**given, **own}], schema), mapping(text), CatalystExpressions(spark)
    )
    judged = mapped.withColumns({"_broken": F.lit(0), "_fate": F.lit("valid")})
    return pack_candidates(judged, mapping(text)).select("*", "_event.*").collect()[0]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


NOTHING = ["", " ", "null", "NULL", "undefined", "None", "nan", " NaN ", "-", " - ", "(not set)", "(Not Set)", "(none)"]
NOTHING += ["[object Object]", "[OBJECT object]", r"\N", r"\n", f"{'0' * 8}-0000-0000-0000-{'0' * 12}", "0" * 32]


@pytest.mark.parametrize("nothing", [*NOTHING, None])
def test_values_that_only_look_present_are_missing(spark: SparkSession, nothing: str | None) -> None:
    row = candidate(spark, user=nothing, item=nothing, kind=nothing, shown=["a", nothing], device=nothing)
    assert (row.userId, row.itemId, row.eventType, row.impression) == (None, None, None, ["a", None])
    assert (row.properties or {}).get("device") == nothing  # a property's value is the shop's own affair


@pytest.mark.parametrize(
    "something", ["--", "(not sets)", "object Object", "N", "0", "00000000-0000-0000-0000-000000000001"]
)
def test_values_that_are_nearly_nothing_stay(spark: SparkSession, something: str) -> None:
    row = candidate(spark, user=something, kind=something)
    assert (row.userId, row.eventType) == (something, something)


@pytest.mark.parametrize(
    ("value", "stays"),
    [
        ("n/a", False),
        ("N/A", False),
        ("NÉANT", False),
        ("nullo", True),
        ("null", True),
        ("-", True),
        ("", False),
        (" ", False),
    ],
)
def test_a_mapping_says_itself_what_is_missing(spark: SparkSession, value: str, stays: bool) -> None:
    text = FORM.replace('format = "json"', 'format = "json"\nmissing = ["n/a", "néant"]')
    row = candidate(spark, text, user=value, kind=value)
    assert (row.userId, row.eventType) == ((value, value) if stays else (None, None))


def test_with_an_empty_list_only_what_is_empty_is_missing(spark: SparkSession) -> None:
    text = FORM.replace('format = "json"', 'format = "json"\nmissing = []')
    assert (candidate(spark, text, user="null").userId, candidate(spark, text, user="").userId) == ("null", None)


def test_identifiers_that_are_present_are_not_touched(spark: SparkSession) -> None:
    row = candidate(spark, id=" v 1 ", user="nullable", item="0")
    assert (row.visitorId, row.userId, row.itemId) == (" v 1 ", "nullable", "0")


def test_a_null_value_drops_its_property_and_no_value_the_properties(spark: SparkSession) -> None:
    assert candidate(spark).properties is None
    assert candidate(spark, device="ios").properties == {"device": "ios", "zone": "ios"}
    assert candidate(spark, value=3.0).properties == {"rank": "3"}


def test_an_empty_impression_is_none(spark: SparkSession) -> None:
    assert candidate(spark, shown=[]).impression is None


def test_the_derived_event_id_is_the_documented_one(spark: SparkSession) -> None:
    assert candidate(spark).eventId == sha256("visitorId=2:v1;eventType=4:view;sentAt=16:1704067200123000;itemId=1:7")
    full = candidate(spark, user="ü😀", value=12.5, shown=["a", "b"], device="i/os")
    assert full.eventId == sha256(
        "visitorId=2:v1;userId=2:ü😀;eventType=4:view;sentAt=16:1704067200123000;itemId=1:7;eventValue=4:12.5;"
        'impression=9:["a","b"];properties=43:{"device":"i/os","rank":"12","zone":"i/os"}'
    )


def test_values_that_run_into_each_other_make_other_ids(spark: SparkSession) -> None:
    one = candidate(spark, id="v;userId=1:u", user=None)
    other = candidate(spark, id="v", user="u")
    assert one.eventId != other.eventId


def test_a_given_event_id_stays_and_a_missing_one_is_derived(spark: SparkSession) -> None:
    text = FORM.replace('itemId = "item"', 'eventId = "item"')
    derived = sha256("visitorId=2:v1;eventType=4:view;sentAt=16:1704067200123000")
    assert candidate(spark, text, item="e-1").eventId == "e-1"
    assert candidate(spark, text, item="null").eventId == derived
