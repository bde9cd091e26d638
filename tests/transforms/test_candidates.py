"""Candidates: honest identifiers, properties, and the derived eventId, reckoned here in plain Python."""

from __future__ import annotations

import hashlib
import math
import random
import struct
from decimal import Decimal

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
    return pack_candidates(judged, mapping(text), CatalystExpressions(spark)).select("*", "_event.*").collect()[0]


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


AWKWARD = [1e23, 2e23, 2e-3, 1e-3, 4.9e-324, 1e-323, 1e7, 9999999.5, 8.41e21, 0.1 + 0.2, -1.5e-5, -0.0]
"""Doubles that Java before 19 writes otherwise than later ones, or that lie where Java changes its notation."""


def java_text(number: float) -> str:
    """The shortest decimal of at least two digits, as Java from 19 on writes it; its digits are Python's."""
    shortest = repr(number) if sum(map(str.isdigit, repr(number).split("e")[0])) > 1 else f"{number:.1e}"
    sign, digits, exponent = Decimal(shortest).normalize().as_tuple()
    assert isinstance(exponent, int)
    text, point = "".join(map(str, digits)), len(digits) + exponent
    if number == 0:
        plain = "0.0"
    elif 1e-3 <= abs(number) < 1e7:
        padded = text.rjust(len(text) - min(point - 1, 0), "0").ljust(point, "0")
        at = max(point, 1)
        plain = f"{padded[:at]}.{padded[at:] or '0'}"
    else:
        plain = f"{text[0]}.{text[1:] or '0'}E{point - 1}"
    return f"-{plain}" if sign else plain


def test_an_id_and_a_property_do_not_depend_on_how_java_writes_doubles(spark: SparkSession) -> None:
    dice = random.Random(19)
    thrown = [struct.unpack("<d", dice.randbytes(8))[0] for _ in range(2000)]
    numbers = [*AWKWARD, *filter(math.isfinite, thrown)]
    text = FORM.replace('"CAST(value AS INT)"', '"value"')
    own = {"_raw": "{}", "_source_file": "f", "_fault": None, "_filtered": False, "_first": True}
    given = {"id": "v1", "user": None, "kind": "view", "ts": 1704067200123, "item": "7", "shown": None, "device": None}
    schema = f"{COLUMNS}, _raw STRING, _source_file STRING, _fault STRING, _filtered BOOLEAN, _first BOOLEAN"
    rows = spark.createDataFrame([{**given, **own, "value": number} for number in numbers], schema)
    expressions = CatalystExpressions(spark)
    mapped = map_candidates(rows, mapping(text), expressions)
    judged = mapped.withColumns({"_broken": F.lit(0), "_fate": F.lit("valid")})
    packed = pack_candidates(judged, mapping(text), expressions).select(
        "eventId", "_event.eventValue", "_event.properties"
    )
    found = {row["eventValue"].hex(): (row["eventId"], row["properties"]["rank"]) for row in packed.collect()}
    expected = {}
    for number in numbers:
        value = java_text(number)
        properties = f'{{"rank":"{value}"}}'
        fields = {"visitorId": "v1", "eventType": "view", "sentAt": "1704067200123000", "itemId": "7"}
        fields |= {"eventValue": value, "properties": properties}
        content = ";".join(f"{name}={len(field)}:{field}" for name, field in fields.items())
        expected[number.hex()] = (sha256(content), value)
    assert found == expected


def test_the_reckoning_of_javas_texts_is_what_java_19_documents() -> None:
    texts = ["1.0E23", "2.0E23", "0.002", "0.001", "4.9E-324", "9.9E-324", "1.0E7", "9999999.5", "8.41E21"]
    texts += ["0.30000000000000004", "-1.5E-5", "-0.0"]
    assert [java_text(number) for number in AWKWARD] == texts
