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


TEXT = r"""
[source]
format = "text"
patterns = ['^(?<who>\S+) (?<kind>[a-z]+) (?<ts>\d+)$', '^(?<ts>\d+) (?<note>.*)$']

[event]
eventType = "kind"
sentAt    = "timestamp_millis(CAST(ts AS BIGINT))"
visitorId = "who"
itemId    = "note"
"""


def test_patterns_give_the_groups_of_all_of_them(spark: SparkSession) -> None:
    assert faults(TEXT, spark) == []
    found, _ = read_mapping(TEXT)
    assert found is not None
    assert record_schema(found, spark).simpleString() == "struct<who:string,kind:string,ts:string,note:string>"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            ("patterns = [", "pattern = '(?<ts>.)'\npatterns = ["),
            "m.toml:5: [source] patterns: cannot stand beside pattern",
        ),
        (("(?<note>.*)$'", "(?<note>.*)$', 7"), "m.toml:4: [source] patterns: must be an array of strings"),
        (("(?<note>.*)$'", "(?<note>.*)$', ''"), "m.toml:4: [source] patterns: must be an array of strings"),
        (
            (r", '^(?<ts>\d+) (?<note>.*)$'", ", '(?<note>'"),
            "m.toml:4: [source] patterns: number 2 is not a Java regular",
        ),
        (("(?<note>.*)$'", "(?<note>.*)$', 'x'"), "m.toml:4: [source] patterns: number 3 has no named group"),
        (("(?<note>", "(?<WHO>x)(?<note>"), "m.toml:4: [source] patterns: names the column who twice"),
        (
            ('"text"', '"json"\nschema = "who STRING, kind STRING, ts STRING, note STRING"'),
            "m.toml:5: [source] patterns: has no meaning for json",
        ),
    ],
)
def test_each_fault_of_patterns_is_told_once(spark: SparkSession, change: tuple[str, str], line: str) -> None:
    text = TEXT.replace(*change, 1)
    assert text != TEXT
    found = faults(text, spark)
    assert len(found) == 1 and found[0].startswith(line), found


BASE = {
    "shop": GOOD
    + """
[record]
where = "kind <> 'ping'"

[event.properties]
first = "items[0].aid"
""",
    "shop_two": """
extends = "shop"
[event]
itemId = "id"
""",
    "round": 'extends = "about"\n',
    "about": 'extends = "round"\n',
    "lines": TEXT,
}


def extended(text: str, spark: SparkSession) -> list[str]:
    mapping, found = read_mapping(text, BASE)
    found = [*found, *(check_mapping(mapping, spark) if mapping else [])]
    return [fault.describe("m.toml") for fault in sorted(found)]


def test_a_mapping_gives_only_what_differs_from_the_one_it_extends(spark: SparkSession) -> None:
    text = """
extends = "shop_two"
[source]
options = { encoding = "windows-1252" }
[record]
where = "kind = 'buy'"
[event]
visitorId = "NULL"
userId = "id"
[event.properties]
second = "items[1].aid"
"""
    found, none = read_mapping(text, BASE)
    assert none == [] and extended(text, spark) == []
    whole, _ = read_mapping(GOOD)
    assert found is not None and whole is not None
    assert (found.source.format, found.source.schema) == ("json", whole.source.schema)
    assert (found.source.options, found.where, found.explode) == ({"encoding": "windows-1252"}, "kind = 'buy'", None)
    assert found.event == {
        "eventType": "kind",
        "sentAt": "timestamp_millis(ts)",
        "userId": "id",
        "visitorId": "NULL",
        "itemId": "id",
    }
    assert found.properties == {"first": "items[0].aid", "second": "items[1].aid"}


@pytest.mark.parametrize(
    ("own", "source"),
    [
        ("format = 'parquet'", ("parquet", "id STRING", {}, None, ())),
        ("format = 'text'", ("text", None, {}, None, ())),
        ("options = { b = '2' }", ("json", "id STRING", {"a": "1", "b": "2"}, None, ())),
    ],
)
def test_another_format_takes_over_what_still_has_a_meaning(own: str, source: tuple[object, ...]) -> None:
    shop = "[source]\nformat = 'json'\nschema = 'id STRING'\noptions = { a = '1' }\n[event]\neventType = 'id'"
    found, _ = read_mapping(f"extends = 'shop'\n[source]\n{own}", {"shop": shop})
    assert found is not None
    its = found.source
    assert (its.format, its.schema, its.options, its.pattern, its.patterns) == source


def test_a_pattern_replaces_the_patterns_of_what_is_extended() -> None:
    found, none = read_mapping("extends = 'lines'\n[source]\npattern = '(?<who>.)'", BASE)
    assert none == []
    assert found is not None and found.source.line_patterns == ("(?<who>.)",)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("extends = 'shap'", ["m.toml:1: extends: is 'shap': it must be the name of a mapping that ships"]),
        ("extends = 7", ["m.toml:1: extends: is 7: it must be the name of a mapping"]),
        (
            "\nextends = 'nosuch'\n[evant]\n[event]\nsentAt = 7",
            [
                "m.toml:2: extends: is 'nosuch'",
                "m.toml:3: evant: is not a known",
                "m.toml:5: [event] sentAt: must be a string",
            ],
        ),
        ("extends = 'round'", ["m.toml:1: extends: is 'round': it must be the name"]),
        ("extends = 'shop'\n[event]\nitemId = 'ts'", ["m.toml:3: [event] itemId: is BIGINT, must be STRING"]),
        (
            "# mine\nextends = 'shop'\n[source]\nschema = 'id STRING, ts STRING'",
            [
                "m.toml:2: extends: [event.properties] first: A column",
                "m.toml:2: extends: [event] eventType: A column",
                "m.toml:2: extends: [event] sentAt: ",
                "m.toml:2: extends: [record] where: A column",
            ],
        ),
    ],
)
def test_faults_of_what_is_extended_are_told_at_a_line_of_the_own_file(
    spark: SparkSession, text: str, lines: list[str]
) -> None:
    found = extended(text, spark)
    assert len(found) == len(lines), found
    assert all(line.startswith(start) for line, start in zip(found, lines, strict=True)), found


def test_a_name_that_does_not_ship_is_answered_with_the_nearest(spark: SparkSession) -> None:
    (found,) = extended("extends = 'shap'", spark)
    assert found.endswith("; did you mean shop?")
