"""`[record]`: what is filtered, what is exploded, what cannot be, and that every record is counted once."""

from __future__ import annotations

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.spark_internals.catalyst import CatalystExpressions
from transforms.mapping.reader import read_mapping
from transforms.records import select_records

SCHEMA = "id STRING, n INT, items ARRAY<STRING>, _raw STRING, _source_file STRING, _fault STRING"
FORM = """
[source]
format = "json"
schema = "id STRING, n INT, items ARRAY<STRING>"
[record]
{record}
[event]
eventType = "'view'"
sentAt = "to_timestamp(id)"
visitorId = "id"
"""
ROWS = [
    ("kept", 1, ["x", "y"], "{}", "f", None),
    ("filtered", 0, ["x"], "{}", "f", None),
    ("unknown", None, ["x"], "{}", "f", None),
    ("blank", None, None, "  ", "f", "malformed_record"),
    ("broken", None, None, "{", "f", "malformed_record"),
    ("none", 1, None, "{}", "f", None),
    ("empty", 1, [], "{}", "f", None),
    ("hole", 1, [None], "{}", "f", None),
]


def test_where_filters_what_is_not_true_but_no_broken_record(spark: SparkSession) -> None:
    mapping, _ = read_mapping(FORM.format(record='where = "n > 0"'))
    assert mapping is not None
    actual = select_records(spark.createDataFrame(ROWS, SCHEMA), mapping, CatalystExpressions(spark)).select(
        "id", "_filtered", "_first"
    )
    expected = spark.createDataFrame(
        [
            ("kept", False, True),
            ("filtered", True, True),
            ("unknown", True, True),
            ("blank", True, True),
            ("broken", False, True),
            ("none", False, True),
            ("empty", False, True),
            ("hole", False, True),
        ],
        "id STRING, _filtered BOOLEAN, _first BOOLEAN",
    )
    assert_df_equality(actual, expected, ignore_nullable=True)


def test_explode_keeps_a_row_for_every_record(spark: SparkSession) -> None:
    mapping, _ = read_mapping(FORM.format(record='where = "n > 0"\nexplode = "items"'))
    assert mapping is not None
    actual = select_records(spark.createDataFrame(ROWS, SCHEMA), mapping, CatalystExpressions(spark))
    expected = spark.createDataFrame(
        [
            ("kept", "x", None, False, True),
            ("kept", "y", None, False, False),
            ("filtered", None, None, True, True),
            ("unknown", None, None, True, True),
            ("blank", None, "malformed_record", True, True),
            ("broken", None, "malformed_record", False, True),
            ("none", None, "explode_null", False, True),
            ("empty", None, None, True, True),
            ("hole", None, None, False, True),
        ],
        "id STRING, element STRING, _fault STRING, _filtered BOOLEAN, _first BOOLEAN",
    )
    assert_df_equality(
        actual.select(*expected.columns).orderBy(F.monotonically_increasing_id()), expected, ignore_nullable=True
    )


@pytest.mark.parametrize("name", ["user.id", "a`b", "product id", "$insert.id", "items.sku"])
def test_any_name_of_a_column_may_stand_beside_an_explode(spark: SparkSession, name: str) -> None:
    mapping, _ = read_mapping(FORM.format(record='explode = "items"'))
    assert mapping is not None
    columns = "n STRING, items ARRAY<STRING>, _raw STRING, _source_file STRING, _fault STRING"
    records = spark.createDataFrame([("v1", ["x", "y"], "{}", "f", None)], columns).withColumnRenamed("n", name)
    actual = select_records(records, mapping, CatalystExpressions(spark))
    assert [(row[name], row["element"]) for row in actual.collect()] == [("v1", "x"), ("v1", "y")]
