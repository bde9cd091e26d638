"""Numbers that are declared STRING keep the text that the log has, wherever they stand in a record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from transforms.json_texts import mark_numbers, split_objects, unmarked
from transforms.mapping.model import Source
from transforms.parsing import json_fault, parse_json, parse_json_again, record_columns

SCHEMA = (
    "id STRING, price DOUBLE, at BIGINT, tags ARRAY<STRING>, "
    "user STRUCT<name: STRING, age: INT>, hits ARRAY<STRUCT<sku: STRING, n: DOUBLE>>, more MAP<STRING, STRING>"
)


def read(spark: SparkSession, *texts: str) -> list[tuple[Any, ...]]:
    schema = spark.createDataFrame([], SCHEMA).schema
    source = Source("json", SCHEMA)
    lines = spark.createDataFrame([(text,) for text in texts], "raw STRING")
    raw, record = F.col("raw"), F.col("parsed")
    parsed = lines.select("raw", parse_json(raw, schema, source).alias("parsed"))
    again = parse_json_again(raw, record, schema, source)
    assert again is not None
    twice = parsed.select("raw", "parsed", again.alias("again"))
    columns = record_columns(record, schema, source, F.col("again"))
    return [tuple(row) for row in twice.select(*columns, json_fault(raw, record)).collect()]


@pytest.mark.parametrize(
    "number", ["12345678.0", "9007199254740992.0", "1.5e3", "1.50", "-0.10", "1E+2", "0.00001", "1e400", "12.0E-3"]
)
def test_a_number_is_read_as_it_is_written(spark: SparkSession, number: str) -> None:
    text = (
        f'{{"id": {number}, "price": 2.50, "at": 7, "tags": [{number}, "1.50", null], "user": {{"name": {number}, '
        f'"age": 3}}, "hits": [{{"sku": {number}, "n": 1.0}}, {{"sku": "x\\"1.5"}}], "more": {{"a": {number}}}}}'
    )
    row = read(spark, text)[0]
    assert row[:4] == (number, 2.5, 7, [number, "1.50", None])
    assert (tuple(row[4]), [tuple(hit) for hit in row[5]]) == ((number, 3), [(number, 1.0), ('x"1.5', None)])
    assert (row[6], row[7]) == ({"a": number}, None)


def test_a_nested_value_keeps_its_numbers(spark: SparkSession) -> None:
    row = read(spark, '{"id": {"a": 1.50, "b": [2.0, "2.0"], "c": "1.5e3"}, "tags": [[1.0]]}')[0]
    assert (row[0], row[3]) == ('{"a":1.50,"b":[2.0,"2.0"],"c":"1.5e3"}', ["[1.0]"])


def test_what_is_malformed_or_of_another_type_stays_so(spark: SparkSession) -> None:
    rows = read(spark, '{"id": 1.50, "at": 1.50}', '{"id": 1.50', "{'id': 1.50, 'tags': ['it 1.5']}", '{"id": 1.50}{}')
    assert [(row[0], row[-1]) for row in rows] == [
        ("1.50", "schema_mismatch"),
        (None, "malformed_record"),
        ("1.50", None),
        (None, "malformed_record"),
    ]
    assert rows[2][3] == ["it 1.5"]


class Number(str):
    """A number by its text."""


numbers = st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True).map(Number)
texts = st.text(alphabet=st.sampled_from("ab1.-eE\"'\\{}[]:, é\n"), max_size=12)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.one_of(numbers, texts), min_size=30, max_size=60))
def test_every_text_and_number_comes_back(spark: SparkSession, values: list[str]) -> None:
    written = [value if isinstance(value, Number) else json.dumps(value) for value in values]
    frame = spark.createDataFrame(
        [(place, f'{{"a": {text}}}') for place, text in enumerate(written)], "n INT, t STRING"
    )
    parsed = F.from_json(mark_numbers(F.col("t")), "a STRING")["a"]
    assert [row[0] for row in frame.orderBy("n").select(unmarked(parsed)).collect()] == [str(value) for value in values]


def test_a_long_text_needs_no_deep_stack(spark: SparkSession) -> None:
    record = '{"a": "' + "x'" * 400_000 + '", "b": [' + ", ".join(["1.50"] * 50_000) + "]}"
    frame = spark.createDataFrame([(record * 2,)], "t STRING")
    parts = frame.select(F.explode(split_objects(F.col("t"))).alias("t"))
    parsed = F.from_json(mark_numbers(F.col("t")), "b ARRAY<STRING>")["b"]
    assert [set(row[0]) for row in parts.select(F.transform(parsed, unmarked)).collect()] == [{"1.50"}] * 2
