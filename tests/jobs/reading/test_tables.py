"""Rows of tables that the session knows by name; formats whose packages Spark lacks are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

MAPPING = """
[source]
format = "{format}"
schema = "who STRING, kind STRING, at TIMESTAMP, item STRING, price DOUBLE"
[record]
where = "kind <> 'ping'"
[event]
eventType  = "kind"
sentAt     = "at"
visitorId  = "who"
itemId     = "item"
eventValue = "price"
[event.properties]
shop = "get_json_object(_raw, '$.shop')"
"""

ROWS = """
    SELECT * FROM VALUES
        (17L, 'view', TIMESTAMP '2024-01-02 09:15:00', 12345678D, '1.5', 'a'),
        (18L, 'buy',  TIMESTAMP '2024-01-02 09:16:00', 2.5D,      'x',   'b'),
        (18L, 'ping', TIMESTAMP '2024-01-02 09:16:00', NULL,      NULL,  'b')
    AS clicks(who, kind, at, item, price, shop)
"""


@pytest.fixture
def mapping(tmp_path: Path) -> Any:
    def write(form: str) -> Path:
        (tmp_path / "m.toml").write_text(MAPPING.format(format=form))
        return tmp_path / "m.toml"

    return write


def test_rows_of_a_table_are_records(spark: SparkSession, build: Any, lake: Path, mapping: Any) -> None:
    spark.sql(ROWS).createOrReplaceTempView("clicks")
    ended = build("clicks", mapping=mapping("table"))
    assert (ended.code, ended.summary["read"], ended.summary["filtered"]) == (0, 3, 1)
    assert ended.summary["reasons"] == {"schema_mismatch": 1}
    event = spark.read.parquet(str(lake / "events")).collect()[0]
    assert (event["visitorId"], event["itemId"], event["eventValue"]) == ("17", "12345678.0", 1.5)
    assert (event["sourceFile"], event["properties"]) == ("clicks", {"shop": "a"})


def test_an_input_may_choose_rows(spark: SparkSession, build: Any, lake: Path, mapping: Any, tmp_path: Path) -> None:
    spark.sql(ROWS).write.partitionBy("shop").parquet(str(tmp_path / "table"))
    spark.read.parquet(str(tmp_path / "table")).createOrReplaceTempView("clicks_by_shop")
    ended = build("clicks_by_shop WHERE shop = 'a'", mapping=mapping("table"))
    assert (ended.code, ended.summary["read"], ended.summary["events"]) == (0, 1, 1)
    (tmp_path / "table" / "shop=b" / "part-0.parquet").write_bytes(b"no Parquet")
    assert build("clicks_by_shop where shop = 'a'", mapping=mapping("table")).code == 0, "other partitions are not read"
    ended = build("clicks_by_shop where shpo = 'a'", mapping=mapping("table"))
    assert ended.code == 2 and "--input clicks_by_shop where shpo = 'a': " in ended.said[0]


def test_a_table_that_is_not_there_is_named(spark: SparkSession, build: Any, mapping: Any) -> None:
    ended = build("no.such_table", "nor_this", mapping=mapping("table"))
    assert ended.code == 2 and [line.partition(" cannot")[0] for line in ended.said] == [
        "--input no.such_table:",
        "--input nor_this:",
    ]


@pytest.mark.parametrize(
    ("form", "package"), [("avro", "spark-avro"), ("delta", "delta-spark"), ("iceberg", "iceberg-spark-runtime")]
)
def test_a_package_that_spark_lacks_is_named(
    spark: SparkSession, build: Any, mapping: Any, tmp_path: Path, form: str, package: str
) -> None:
    (tmp_path / "log.avro").write_bytes(b"Obj\x01")
    ended = build(tmp_path / "log.avro", mapping=mapping(form))
    assert ended.code == 2 and package in ended.said[0] and f'format = "{form}"' in ended.said[0]
