"""What files of other types give under a mapping's schema, read once and read again from quarantine."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.errors import ConfigurationError
from jobs.reading.mappings import MappingText, checked_mapping
from jobs.reading.sources import read_again, read_records
from transforms.columns import FAULT, RAW, SOURCE_FILE
from transforms.mapping.model import EventMapping

MISMATCH = "schema_mismatch"
Read = Callable[..., DataFrame]


def mapping_of(spark: SparkSession, schema: str, kind: str = "parquet", item: str = "'i'") -> EventMapping:
    text = f"""
[source]
format = "{kind}"
schema = "{schema}"
[event]
eventType = "'view'"
sentAt    = "timestamp_seconds(1704067200)"
visitorId = "'v'"
itemId    = "{item}"
"""
    return checked_mapping(MappingText("test.toml", text), spark)


@pytest.fixture
def read(spark: SparkSession, tmp_path: Path) -> Read:
    """Read a file of one column `x` under a schema's type; once, and again as quarantine keeps it."""

    def run(values: pa.Array, wanted: str, *, again: bool = False) -> DataFrame:
        pq.write_table(pa.table({"x": values}), tmp_path / "x.parquet")
        mapping = mapping_of(spark, f"x {wanted}")
        records = read_records(spark, [str(tmp_path / "x.parquet")], mapping)
        if not again:
            return records
        columns = {"record": F.col(RAW), "sourceFile": F.col(SOURCE_FILE), "element": F.lit(None).cast("int")}
        columns |= {"attempts": F.lit(1), "rendered": F.lit(True), "stage": F.lit("read"), "header": F.lit(None)}
        return read_again(spark, records.select(*[column.alias(name) for name, column in columns.items()]), mapping)

    return run


def plain(value: Any) -> Any:
    if isinstance(value, Row):
        return {name: plain(each) for name, each in value.asDict().items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


NUMBERS = ["1.9", "1e3", "12", " 12 ", "2.0", "99999999999999999999", "NaN"]
TIMES = ["10:15:00", "T10:15", "soon", "2024-01-02 10:15:00"]
SINGLE: list[tuple[list[Any], str, list[Any]]] = [
    ([1.0, math.nan, None, -3.0], "BIGINT", [1, None, None, -3]),
    ([1.9, 1e30, -1e30, 2.0**63, math.inf], "BIGINT", [MISMATCH] * 5),
    ([2**40, 7, -(2**31) - 1, 2**31 - 1], "INT", [MISMATCH, 7, MISMATCH, 2**31 - 1]),
    ([300, -129, 127], "TINYINT", [MISMATCH, MISMATCH, 127]),
    ([2**53 + 1, 2**53], "DOUBLE", [MISMATCH, 2.0**53]),
    ([1e39, 0.5], "FLOAT", [MISMATCH, 0.5]),
    (NUMBERS, "BIGINT", [MISMATCH, MISMATCH, 12, 12, 2, MISMATCH, None]),
    (["cheap", "12.5", "1e999"], "DOUBLE", [MISMATCH, 12.5, MISMATCH]),
    (TIMES, "TIMESTAMP", [MISMATCH, MISMATCH, MISMATCH, TIMES[-1]]),
    (["maybe", "true"], "BOOLEAN", [MISMATCH, True]),
    ([10**12, 5], "DECIMAL(9, 2)", [MISMATCH, "5.00"]),
]


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
@pytest.mark.parametrize(
    ("values", "wanted", "expected"), SINGLE, ids=lambda each: each if isinstance(each, str) else ""
)
def test_a_value_is_kept_or_a_mismatch(
    read: Read, values: pa.Array, wanted: str, expected: list[Any], again: bool
) -> None:
    as_text = wanted.startswith(("TIMESTAMP", "DECIMAL"))
    value = F.col("x").cast("string") if as_text else F.col("x")
    rows = read(pa.array(values), wanted, again=again).select(value.alias("x"), FAULT).collect()
    assert [row[FAULT] or row["x"] for row in rows] == expected


HITS = pa.array([{"sku": "A0", "ref": "R0", "price": "1"}, {"sku": "A1", "ref": None, "price": "cheap"}, None])


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_nested_fields_go_by_name(read: Read, again: bool, caplog: pytest.LogCaptureFixture) -> None:
    wanted = "STRUCT<REF: STRING, reff: STRING, price: STRING, sku: STRING>"
    rows = read(HITS, wanted, again=again).select("x", FAULT).collect()
    assert [plain(row["x"]) for row in rows] == [
        {"REF": "R0", "reff": None, "price": "1", "sku": "A0"},
        {"REF": None, "reff": None, "price": "cheap", "sku": "A1"},
        None,
    ]
    assert [row[FAULT] for row in rows] == [None] * 3 and "fields x.reff of" in caplog.text


def test_fields_that_the_schema_does_not_name_are_left_alone(read: Read) -> None:
    rows = read(pa.array([[{"sku": "A0", "ref": "R0"}], []]), "ARRAY<STRUCT<ref: STRING>>").select("x").collect()
    assert [plain(row["x"]) for row in rows] == [[{"ref": "R0"}], []]


@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
@pytest.mark.parametrize(
    ("values", "wanted", "expected"),
    [
        (HITS, "STRUCT<price: DOUBLE>", [{"price": 1.0}, MISMATCH, None]),
        (pa.array([["1", "x"], ["2", None], None]), "ARRAY<INT>", [MISMATCH, [2, None], None]),
        (pa.array([[{"n": 2**40}], [{"n": 1}]]), "ARRAY<STRUCT<n: INT>>", [MISMATCH, [{"n": 1}]]),
        (
            pa.array([[("a", "x")], [("a", "1")], None], type=pa.map_(pa.string(), pa.string())),
            "MAP<STRING, INT>",
            [MISMATCH, {"a": 1}, None],
        ),
        (
            pa.array([[("1", "a"), ("01", "b")], [("x", "a")], [("7", "a")]], type=pa.map_(pa.string(), pa.string())),
            "MAP<INT, STRING>",
            [MISMATCH, MISMATCH, {7: "a"}],
        ),
    ],
    ids=["struct", "array", "structs in an array", "map", "keys"],
)
def test_a_nested_value_that_does_not_convert_is_a_mismatch(
    read: Read, values: pa.Array, wanted: str, expected: list[Any], again: bool
) -> None:
    rows = read(values, wanted, again=again).select("x", FAULT).collect()
    assert [row[FAULT] or plain(row["x"]) for row in rows] == expected


def test_folders_whose_keys_differ_in_case_are_one_column(spark: SparkSession, tmp_path: Path) -> None:
    for number, folder in enumerate(["HOUR=1", "hour=2", "Hour=a%20b", "hour=50%", "other"]):
        (tmp_path / "in" / folder).mkdir(parents=True)
        pq.write_table(pa.table({"x": [number]}), tmp_path / "in" / folder / "x.parquet")
    records = read_records(spark, [str(tmp_path / "in")], mapping_of(spark, "x BIGINT, hour STRING"))
    assert dict(records.select("x", "hour").collect()) == {0: "1", 1: "2", 2: "a b", 3: "50%", 4: None}


@pytest.mark.parametrize("name", ["a.json.lz4", "b.snappy"])
def test_files_that_spark_would_take_for_empty_are_named(spark: SparkSession, tmp_path: Path, name: str) -> None:
    lines = b'{"x":"1"}\n' * 300
    (tmp_path / name).write_bytes(pa.compress(lines, codec=name.rpartition(".")[2], asbytes=True))
    with pytest.raises(ConfigurationError, match=f"{name}: is not in Hadoop's blocks"):
        read_records(spark, [str(tmp_path)], mapping_of(spark, "x STRING", "json"))


@pytest.mark.parametrize("codec", ["lz4", "snappy"])
def test_files_that_spark_has_packed_so_are_read(spark: SparkSession, tmp_path: Path, codec: str) -> None:
    lines = spark.range(3000).selectExpr("""concat('{"x":"', id, '"}') AS value""")
    try:
        lines.coalesce(1).write.text(str(tmp_path / "packed"), compression=codec)
    except (PySparkException, Py4JJavaError):
        pytest.skip(f"this Hadoop has no {codec} of its own")
    assert next((tmp_path / "packed").glob("part*")).suffix == f".{codec}"
    assert read_records(spark, [str(tmp_path / "packed")], mapping_of(spark, "x STRING", "json")).count() == 3000


def test_a_colon_in_a_local_files_name_is_named(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "T10:00").mkdir()
    (tmp_path / "T10:00" / "a.json").write_text('{"x":"1"}\n')
    assert read_records(spark, [str(tmp_path)], mapping_of(spark, "x STRING", "json")).count() == 1
    (tmp_path / "10:00.json").write_text('{"x":"1"}\n')
    with pytest.raises(ConfigurationError, match=r"10:00\.json: its name holds a colon"):
        read_records(spark, [str(tmp_path)], mapping_of(spark, "x STRING", "json"))


@pytest.mark.parametrize("item", ["to_json(parse_json(x))", "variant_get(parse_json(x), '$.a', 'string')"])
def test_an_expression_that_wants_json_is_not_tried_on_another_text(spark: SparkSession, item: str) -> None:
    if spark.version.startswith("3."):
        pytest.skip("Spark 3 knows no variants")
    assert mapping_of(spark, "x STRING", "json", item).event["itemId"] == item


@pytest.mark.parametrize("item", ["to_json(struct(*))", "concat_ws(',', *)"])
def test_a_star_is_refused(spark: SparkSession, item: str) -> None:
    with pytest.raises(ConfigurationError, match="must name the columns that it uses"):
        mapping_of(spark, "x STRING", "json", item)


def test_numbers_become_the_same_text_on_every_java(read: Read) -> None:
    numbers = [1e23, 4.9e-324, 1e7, 2e-3, 19.9, None]
    texts = ["1" + "0" * 23 + ".0", "4.9E-324", "10000000.0", "0.002", "19.9", None]
    assert [row.x for row in read(pa.array(numbers), "STRING").collect()] == texts
    nested = pa.array([[{"n": number}] for number in numbers])
    assert [row.x[0].n for row in read(nested, "ARRAY<STRUCT<n: STRING>>").collect()] == texts
    assert [row.x for row in read(pa.array([3.4e10], pa.float32()), "STRING").collect()] == ["34000000000.0"]
