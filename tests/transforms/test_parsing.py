"""Raw text to columns: what is malformed, what does not fit the schema, and that nothing is lost unseen."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.spark_internals.context import count_pattern_groups
from transforms.mapping.model import Source
from transforms.mapping.named_groups import named_groups
from transforms.parsing import (
    LinePattern,
    csv_fault,
    find_matching_pattern,
    json_fault,
    parse_csv,
    parse_json,
    parse_text,
    record_columns,
    text_fault,
)

JSON = Source("json", "id STRING, n BIGINT, price DOUBLE, tags ARRAY<STRUCT<k: BIGINT>>")
CSV = Source("csv", "id STRING, n BIGINT, price DOUBLE")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"id":"a","n":1}', None),
        ('  {"id":"a"}  ', None),
        ("{}", None),
        ('{"other":[1,{"x":2}]}', None),
        ('{"id":"a","n":"1"}', "schema_mismatch"),
        ('{"id":"a","price":"dear"}', "schema_mismatch"),
        ('{"id":"a","n":9223372036854775808}', "schema_mismatch"),
        ('{"tags":[{"k":1},{"k":"x"}]}', "schema_mismatch"),
        ('{"id":"a"', "malformed_record"),
        ('{"id":"a",}', "malformed_record"),
        ("[]", "malformed_record"),
        ('[{"id":"a"}]', "malformed_record"),
        ("null", "malformed_record"),
        ("5", "malformed_record"),
        ("no json at all", "malformed_record"),
        ('{"id":"a"} and more', "malformed_record"),
        ('{"id":"a"}{"id":"b"}', "malformed_record"),
        ('{"id":"a"},{"id":"b"}', "malformed_record"),
        ('{"id":"a"},"x":{"id":"b"}', "malformed_record"),
        ("[" * 5000, "malformed_record"),
        ('{"id":"a"}]}{"id":"b"}', "malformed_record"),
        ('{"id":"a"}],"record":[{"id":"b"}', "malformed_record"),
        ('{"id":"a"}],"x":[{}', "malformed_record"),
        ('{"id":"a"}}\n{"id":"b"}', "malformed_record"),
        ('{"id":"a"},{"record":true}', "malformed_record"),
        ('{"id":"a"},5', "malformed_record"),
        ('{"id":"a"}]', "malformed_record"),
        ("", "malformed_record"),
    ],
)
def test_json_texts(spark: SparkSession, text: str, fault: str | None) -> None:
    schema = spark.createDataFrame([], JSON.schema or "").schema
    texts = spark.createDataFrame([(text,)], "raw STRING")
    parsed = texts.select("raw", parse_json(F.col("raw"), schema, JSON).alias("p"))
    assert parsed.select(json_fault(F.col("raw"), F.col("p"))).collect()[0][0] == fault


@pytest.mark.parametrize(
    ("line", "options", "fault"),
    [
        ("a,1,2.5", {}, None),
        (",,", {}, None),
        ('"a,b",1,2.5', {}, None),
        ("a\t1\t2.5", {"sep": "\t"}, None),
        ("a,1", {}, "malformed_record"),
        ("a,1,2.5,more", {}, "malformed_record"),
        ('"a,1,2.5', {}, "malformed_record"),
        ("a,one,2.5", {}, "schema_mismatch"),
        ("a,-,2.5", {"nullValue": "-"}, None),
    ],
)
def test_csv_lines(spark: SparkSession, line: str, options: dict[str, str], fault: str | None) -> None:
    source = Source("csv", CSV.schema, options)
    schema = spark.createDataFrame([], CSV.schema or "").schema
    lines = spark.createDataFrame([(line,)], "raw STRING")
    parsed = lines.select("raw", parse_csv(F.col("raw"), schema, source).alias("p"))
    assert parsed.select(csv_fault(F.col("raw"), F.col("p._corrupt_record"), schema, source)).collect()[0][0] == fault


def test_column_names_of_any_kind_survive(spark: SparkSession) -> None:
    source = Source("csv", "`user-item affinity` DOUBLE, `a``b` STRING, `select` STRING")
    schema = spark.createDataFrame([], source.schema or "").schema
    lines = spark.createDataFrame([("0.5,x,y",)], "raw STRING")
    parsed = lines.select(parse_csv(F.col("raw"), schema, source).alias("p"))
    row = parsed.select(*record_columns(F.col("p"), schema, source)).collect()[0]
    assert row.asDict() == {"user-item affinity": 0.5, "a`b": "x", "select": "y"}


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        (r"(?<a>x)(y)(?<b>z)", {"a": 1, "b": 3}),
        (r"\((?<a>x)\)[(?<no>](?:y)(?=z)(?<!w)(?<b>z)", {"a": 1, "b": 2}),
        (r"\Q(?<no>x)\E(?<a>.)", {"a": 1}),
        (r"[]()(?<no>](?<a>.)", {"a": 1}),
        (r"[^](](?<a>[a-z&&[^b(]]+)(?<b>.)", {"a": 1, "b": 2}),
        (r"(?<outer>(?<inner>a)|b)", {"outer": 1, "inner": 2}),
    ],
)
def test_named_groups_are_numbered_as_java_numbers_them(
    spark: SparkSession, pattern: str, groups: dict[str, int]
) -> None:
    assert named_groups(pattern, count_pattern_groups(spark, pattern)) == groups


def test_the_first_pattern_that_matches_cuts_the_line(spark: SparkSession) -> None:
    patterns = [
        LinePattern(r"^(?<who>\w+) (?<kind>\w+)(?: (?<more>\w+))?$", {"who": 1, "kind": 2, "more": 3}),
        LinePattern(r"^(?<kind>\w+)$", {"kind": 1}),
        LinePattern(r"^(?<kind>.)(?<rest>.*)$", {"kind": 1, "rest": 2}),
    ]
    lines = spark.createDataFrame([("ann buys",), ("ann buys cups",), ("pause",), ("!?",), ("",)], "raw STRING")
    raw, matching = F.col("raw"), F.col("matching")
    tried = lines.select(raw, find_matching_pattern(raw, patterns).alias("matching"))
    read = tried.select(*parse_text(raw, matching, patterns), text_fault(matching).alias("fault"))
    assert read.columns == ["who", "kind", "more", "rest", "fault"]
    assert [tuple(row) for row in read.collect()] == [
        ("ann", "buys", "", None, None),
        ("ann", "buys", "cups", None, None),
        (None, "pause", None, None, None),
        (None, "!", None, "?", None),
        (None, None, None, None, "malformed_record"),
    ]
