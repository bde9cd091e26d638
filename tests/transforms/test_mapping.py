"""A mapping is checked whole: every fault at once, each with its place."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from transforms.mapping_check import check_mapping, record_schema
from transforms.mapping_reader import read_mapping

SOURCE = """format = "json"
schema = "id STRING, ts BIGINT, kind STRING, items ARRAY<STRUCT<aid: BIGINT>>\""""
CSV = """format = "csv"
schema = "id STRING, ts BIGINT, kind STRING\""""
GOOD = """
[source]
format = "json"
schema = "id STRING, ts BIGINT, kind STRING, items ARRAY<STRUCT<aid: BIGINT>>"

[event]
eventType = "kind"
sentAt    = "timestamp_millis(ts)"
visitorId = "id"
"""


def faults(text: str, spark: SparkSession) -> list[str]:
    mapping, found = read_mapping(text)
    found = [*found, *(check_mapping(mapping, spark) if mapping else [])]
    return [fault.describe("m.toml") for fault in sorted(found)]


def test_a_good_mapping_has_no_fault(spark: SparkSession) -> None:
    assert faults(GOOD, spark) == []


def test_six_different_faults_are_told_at_once_each_with_its_place(spark: SparkSession) -> None:
    text = """[source]
format = "json"
schema = "id STRING, ts BIGINT, kind STRING"
colour = "red"

[event]
eventType = "kind +"
sentAt    = "ts"
itemId    = "nosuch"
visitorId = "id"

[event.properties]
userId = "id"
Device = "id"
"""
    lines = faults(text, spark)
    assert [line.split(": ")[:2] for line in lines] == [
        ["m.toml:4", "[source] colour"],
        ["m.toml:7", "[event] eventType"],
        ["m.toml:8", "[event] sentAt"],
        ["m.toml:9", "[event] itemId"],
        ["m.toml:13", "[event.properties] userId"],
        ["m.toml:14", "[event.properties] Device"],
    ]
    assert "must be TIMESTAMP" in lines[2] and "`nosuch`" in lines[3]
    assert not any("\n" in line or "SQLSTATE" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("[source]", "[sauce]"), "m.toml:2: sauce: is not a known key; did you mean source?"),
        (('format = "json"', 'format = "jsonl"'), "m.toml:3: [source] format: is 'jsonl': it must be one of"),
        (("ts BIGINT", "ts BIGNT"), "m.toml:4: [source] schema: Unsupported data type"),
        (("ts BIGINT", "ID BIGINT"), "m.toml:4: [source] schema: names the column id twice"),
        (("ts BIGINT", "_raw BIGINT"), "m.toml:4: [source] schema: may not name a column _raw"),
        (('visitorId = "id"', ""), "m.toml:6: [event]: one of userId, visitorId, sessionId is needed"),
        (('eventType = "kind"', ""), "m.toml:6: [event]: eventType is missing"),
        (('visitorId = "id"', "visitorId = 7"), "m.toml:9: [event] visitorId: must be a string that is not empty"),
        (('"kind"', '"upper(kindd)"'), "m.toml:7: [event] eventType: A column"),
        (('"kind"', '"nosuchfunction(kind)"'), "m.toml:7: [event] eventType: Cannot resolve"),
        (('"kind"', '"max(kind)"'), "m.toml:7: [event] eventType: must give one value for each record"),
        (('"kind"', '"explode(array(kind))"'), "m.toml:7: [event] eventType: must give one value for each record"),
        (('"kind"', '"lag(kind) over (order by ts)"'), "m.toml:7: [event] eventType: must give one value"),
        (('"kind"', '"uuid()"'), "m.toml:7: [event] eventType: must give the same value on every run"),
        (("timestamp_millis(ts)", "current_timestamp()"), "m.toml:8: [event] sentAt: must give the same value"),
        (('"id"\n', '"id"\nimpression = "kind"\n'), "m.toml:10: [event] impression: is STRING, must be ARRAY<STRING>"),
        (('"id"\n', '"id"\neventValue = "kind"\n'), "m.toml:10: [event] eventValue: is STRING, must be a number"),
        (('"id"\n', '"id"\n[event.properties]\nx = "items"\n'), "m.toml:11: [event.properties] x: is ARRAY"),
        (("[event]", '[record]\nwhere = "ts"\n[event]'), "m.toml:7: [record] where: is BIGINT, must be BOOLEAN"),
        (("[event]", '[record]\nexplode = "ts"\n[event]'), "m.toml:7: [record] explode: is BIGINT, must be an ARRAY"),
        (('"json"', '"json"\noptions = { mode = "FAILFAST" }'), "m.toml:4: [source] options: mode is set by the job"),
        (("timestamp_millis(ts)", "to_timestamp(kind, 'YYYY-MM-dd')"), "m.toml:8: [event] sentAt: Fail to recognize"),
        (("timestamp_millis(ts)", "to_timestamp(kind, 'bogus{')"), "m.toml:8: [event] sentAt: "),
        (("timestamp_millis(ts)", "to_utc_timestamp(kind, 'Europe/Berlon')"), "m.toml:8: [event] sentAt: "),
        (('"kind"', "\"regexp_extract(kind, '(', 1)\""), "m.toml:7: [event] eventType: "),
        (("kind STRING", "kind STRING, _fault STRING"), "m.toml:4: [source] schema: may not name a column _fault"),
        ((SOURCE, CSV + '\noptions = { quote = "xx" }'), "m.toml:5: [source] options: quote cannot be more than one"),
        ((SOURCE, CSV + '\noptions = { header = "yes" }'), "m.toml:5: [source] options: header must be"),
        (('"json"', '"csv"'), "m.toml:4: [source] schema: items is no plain type"),
        (('"json"', '"json"\npattern = "(?<a>.)"'), "m.toml:4: [source] pattern: has no meaning for json"),
    ],
)
def test_each_fault_is_told_once_where_it_is(spark: SparkSession, change: tuple[str, str], line: str) -> None:
    found = faults(GOOD.replace(*change, 1), spark)
    if "[sauce]" in change[1]:
        assert line in found
    else:
        assert len(found) == 1 and found[0].startswith(line), found


def test_a_faulty_schema_hides_no_fault_of_grammar_and_invents_none(spark: SparkSession) -> None:
    lines = faults(GOOD.replace("ts BIGINT", "ts BIGNT").replace('"kind"', '"kind +"'), spark)
    assert [line.split(": ")[1] for line in lines] == ["[source] schema", "[event] eventType"]


def test_a_faulty_explode_is_not_told_again_for_each_use_of_its_element(spark: SparkSession) -> None:
    text = GOOD.replace("[event]", '[record]\nexplode = "nosuch"\n[event]') + 'itemId = "element.aid"\n'
    assert [line.split(": ")[1] for line in faults(text, spark)] == ["[record] explode"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("(?<ip>\\S+", "is no Java regular expression"), ("^\\S+$", "has no named group")],
)
def test_a_pattern_is_checked(spark: SparkSession, pattern: str, words: str) -> None:
    text = f"""[source]
format = "text"
pattern = '{pattern}'
[event]
eventType = "'view'"
sentAt = "to_timestamp(_raw)"
visitorId = "_raw"
"""
    found = faults(text, spark)
    assert len(found) == 1 and found[0].startswith(f"m.toml:3: [source] pattern: {words}")


def test_what_is_no_toml_says_where() -> None:
    mapping, found = read_mapping('[source]\nformat = "json\n')
    assert mapping is None
    assert [fault.line for fault in found] == [2]


@pytest.mark.parametrize("ddl", ["a STRING, b INT", "struct<a: STRING, b: INT>"])
def test_schema_may_be_written_as_columns_or_as_a_struct(spark: SparkSession, ddl: str) -> None:
    found, _ = read_mapping(f'[source]\nformat = "json"\nschema = "{ddl}"\n[event]\neventType = "a"\n')
    assert found is not None
    assert record_schema(found, spark).simpleString() == "struct<a:string,b:int>"
