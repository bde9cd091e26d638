"""A mapping is checked whole: every fault at once, each with its place."""

from __future__ import annotations

import re

import pytest
from pyspark.sql import SparkSession

from jobs.reading.mapping_check import check_mapping, record_schema
from transforms.mapping.expressions import ALLOWED
from transforms.mapping.model import MISSING_WORDS
from transforms.mapping.reader import read_mapping

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
        (('"kind"', '"uuid()"'), "m.toml:7: [event] eventType: must give the same value in every run"),
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
        (('"json"', '"csv"'), "m.toml:4: [source] schema: items is not a plain type"),
        (('"json"', '"json"\npattern = "(?<a>.)"'), "m.toml:4: [source] pattern: has no meaning for json"),
        (('"json"', '"json"\nmissing = "-"'), "m.toml:4: [source] missing: must be an array of strings"),
        (('"json"', '"json"\nmissing = ["-", 0]'), "m.toml:4: [source] missing: must be an array of strings"),
        (('"json"', '"json"\nmissing = ["-", " "]'), "m.toml:4: [source] missing: has an empty string"),
        (('"json"', '"json"\nmising = ["-"]'), "m.toml:4: [source] mising: is not a known key; did you mean missing?"),
    ],
)
def test_each_fault_is_told_once_where_it_is(spark: SparkSession, change: tuple[str, str], line: str) -> None:
    found = [fault.replace("The value of quote ", "quote ") for fault in faults(GOOD.replace(*change, 1), spark)]  # 4.3
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
    [("(?<ip>\\S+", "is not a Java regular expression"), ("^\\S+$", "has no named group")],
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


@pytest.mark.parametrize(
    "expression",
    [
        "hex(aes_encrypt(kind, '0000111122223333'))",
        "base64(aes_encrypt('x', '0000111122223333', 'CBC'))",
        "CAST(rand() AS STRING)",
        "CAST(rand(7) AS STRING)",
        "CAST(uniform(1, 9) AS STRING)",
        "concat(kind, uuid())",
        "shuffle(array(kind))[0]",
        "CAST(now() AS STRING)",
        "CAST(current_timestamp AS STRING)",
        "CAST(CURRENT_DATE AS STRING)",
        "CAST(localtimestamp() AS STRING)",
        "CAST(curdate() AS STRING)",
        "CAST(unix_timestamp() AS STRING)",
        "current_user()",
        "version()",
        "current_database()",
        "input_file_name()",
        "CAST(monotonically_increasing_id() AS STRING)",
        "CAST(spark_partition_id() AS STRING)",
        "java_method('java.util.UUID', 'randomUUID')",
        "reflect('java.lang.System', 'nanoTime')",
        "CAST(TIMESTAMP 'now' AS STRING)",
        "CAST(TIMESTAMP  /* 2024 */ 'now' AS STRING)",
        "CAST(timestamp r'Today' AS STRING)",
        "CAST(TIMESTAMP_NTZ 'yesterday' AS STRING)",
        "CAST(DATE'tomorrow' AS STRING)",
        "CAST(CAST('now' AS TIMESTAMP) AS STRING)",
        "CAST(to_timestamp('now') AS STRING)",
        "CAST(to_date(' Today ') AS STRING)",
        "CAST(date('yesterday') AS STRING)",
        "IF(timestamp_millis(ts) > 'now', 'a', 'b')",
        "CAST(CAST(concat('to', 'day') AS DATE) AS STRING)",
        "CAST((SELECT max(id) FROM range(3)) AS STRING)",
        "IF(EXISTS(SELECT 1), 'a', 'b')",
        "IF(kind IN (SELECT upper('x')), 'a', 'b')",
        "first(kind)",
        "array_join(collect_list(kind), ',')",
        "raise_error(kind)",
    ],
)
def test_what_may_change_from_run_to_run_is_refused(spark: SparkSession, expression: str) -> None:
    found = faults(GOOD.replace('"kind"', f'"""{expression}"""'), spark)
    known = "Cannot resolve" if "uniform" in expression and spark.version.startswith("3.") else "must give|uses "
    assert len(found) == 1 and re.match(rf"m.toml:7: \[event\] eventType: ({known})", found[0]), found


def test_a_function_that_somebody_added_to_the_session_is_refused_with_what_to_do(spark: SparkSession) -> None:
    spark.udf.register("own_split", lambda text: text)
    try:
        found = faults(GOOD.replace('"kind"', '"upper(OWN_split(kind))"'), spark)
    finally:
        spark.sql("DROP TEMPORARY FUNCTION own_split")
    assert found == [
        (
            "m.toml:7: [event] eventType: uses own_split, which may not give the same value in every run: use "
            "the functions that docs/mapping.md lists, or put the value into the log"
        )
    ]


@pytest.mark.parametrize(
    "expression",
    [
        "split(kind, '[.]')[0] || '-' || CAST(ts AS STRING)",
        "CASE WHEN kind RLIKE 'a' THEN 'b' WHEN ts IN (1, 2) THEN 'c' ELSE trim(BOTH 'x' FROM kind) END",
        "IF(kind IS NOT NULL AND NOT ts BETWEEN 1 AND 3, substring(kind FROM 2), hex(position('a' IN kind)))",
        "date_format(timestamp_millis(ts) + INTERVAL 1 DAY, 'yyyy-MM-dd')",
        "CAST(timestampdiff(HOUR, TIMESTAMP '2024-01-02 00:00:00', timestamp_millis(ts)) AS STRING)",
        "CAST(dateadd(DAY, 1, DATE '2024-01-02') AS STRING)",
        "CAST(extract(YEAR FROM timestamp_millis(ts)) AS STRING)",
        "array_join(transform(filter(items, x -> x.aid > 0), (x, i) -> CAST(x.aid + i AS STRING)), ',')",
        "CAST(aggregate(items, 0L, (sum, x) -> sum + x.aid) AS STRING)",
        "to_json(named_struct('a', kind, 'b', map('c', ts), 'd', array()))",
        "from_json(kind, 'a STRING').a",
        "get_json_object(kind, '$.a')",
        "regexp_extract(kind, '([a-z]+)', 1)",
        "CAST(items[0].aid AS STRING)",
        "sha2(concat_ws('|', kind, CAST(ts AS STRING)), 256)",
        "CAST(pi() * e() AS STRING)",
        "CAST(try_cast(kind AS INT) AS STRING)",
        "IF(kind LIKE ANY ('a%', 'b%') OR kind ILIKE 'C%', overlay(kind PLACING 'x' FROM 1), kind)",
        "nullif(kind, '') -- a comment",
        "_raw",
        "'now'",
        "IF(to_date(kind) = DATE '2024-01-02', 'today', kind)",
        "CAST(ceil(ts / 1000.5) AS STRING)",
        "CAST(to_timestamp('2024-01-02 03:04:05') AS STRING)",
    ],
)
def test_what_hangs_on_the_record_alone_may_be_written(spark: SparkSession, expression: str) -> None:
    assert faults(GOOD.replace('"kind"', f'"""{expression}"""'), spark) == []


def test_every_function_that_may_be_used_gives_a_value_of_its_arguments_alone(spark: SparkSession) -> None:
    """By Spark's word: none of the list is an aggregate, a window, a generator, or changes within a run."""
    rows = spark.sql("SHOW SYSTEM FUNCTIONS").collect()
    known = {
        row[0]: spark.sql(f"DESCRIBE FUNCTION EXTENDED `{row[0]}`").collect()[1][0] for row in rows if row[0] in ALLOWED
    }
    assert len(known) > 250
    assert not [name for name, its in known.items() if ".expressions.aggregate." in its]
    assert not ALLOWED & {
        "rand",
        "uuid",
        "now",
        "explode",
        "lag",
        "aes_encrypt",
        "current_date",
        "java_method",
        "version",
    }


def test_a_setting_cannot_be_read_by_an_expression(spark: SparkSession) -> None:
    text = GOOD.replace('"kind"', "\"'${spark.app.name}'\"")
    assert faults(text, spark) == []
    found, _ = read_mapping(text)
    assert found is not None
    assert spark.range(1).selectExpr(found.event["eventType"]).collect()[0][0] == "${spark.app.name}"


def test_a_mapping_lists_its_own_missing_words() -> None:
    default, _ = read_mapping(GOOD)
    own, _ = read_mapping(GOOD.replace('"json"', '"json"\nmissing = ["n/a", " - ", "n/a"]', 1))
    none, _ = read_mapping(GOOD.replace('"json"', '"json"\nmissing = []', 1))
    assert default is not None and default.source.missing == MISSING_WORDS
    assert own is not None and own.source.missing == ("n/a", "-")
    assert none is not None and none.source.missing == ()
