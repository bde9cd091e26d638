"""Columns of CSV files go by the names in their headers, file by file, also when a record is taken up again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError
from jobs.reading.mappings import MappingText, checked_mapping
from jobs.reading.sources import read_records

MAPPING = """
[source]
format   = "csv"
schema   = "who STRING, kind STRING, at BIGINT, price STRING"
options  = {{ header = "true"{options} }}
optional = {optional}

[event]
eventType = "kind"
sentAt    = "timestamp_seconds(at)"
visitorId = "who"
itemId    = "price"
"""

Rows = list[tuple[str | None, ...]]
Read = Callable[..., Rows]


@pytest.fixture
def read(spark: SparkSession, tmp_path: Path) -> Read:
    """Read the files of a folder: the columns of the schema and the fault of each record."""

    def run(files: dict[str, str], options: str = "", optional: str = "[]", encoding: str = "utf-8") -> Rows:
        for name, text in files.items():
            (tmp_path / name).write_text(text, encoding)
        text = MAPPING.format(options=options, optional=optional)
        mapping = checked_mapping(MappingText("test.toml", text), spark)
        records = read_records(spark, [str(tmp_path)], mapping)
        lines = records if "_header_line" not in records.columns else records.where("NOT _header_line")
        rows = lines.selectExpr("who", "kind", "CAST(at AS STRING) AS at", "price", "_fault").collect()
        return sorted((tuple(row) for row in rows), key=str)

    return run


WAYS = pytest.mark.parametrize(
    ("options", "encoding"),
    [("", "utf-8"), (', multiLine = "true"', "utf-8"), (', encoding = "UTF-16LE"', "utf-16-le")],
    ids=["lines", "folded", "wide"],
)


@WAYS
def test_columns_are_found_wherever_a_file_has_them(read: Read, options: str, encoding: str) -> None:
    files = {
        "a.csv": "who,kind,at,price\nv1,view,1,10\n",
        "moved.csv": "price,AT,Kind,who\n20,2,buy,v2\n",
        "more.csv": "device,who,kind,note,at,price\nphone,v3,view,x,3,30\n",
        "fewer.csv": "at,who,kind\n4,v4,view\n",
        "empty.csv": "",
    }
    assert read(files, options, encoding=encoding) == [
        ("v1", "view", "1", "10", None),
        ("v2", "buy", "2", "20", None),
        ("v3", "view", "3", "30", None),
        ("v4", "view", "4", None, None),
    ]


@WAYS
def test_a_record_is_as_wide_as_its_files_header(read: Read, options: str, encoding: str) -> None:
    files = {
        "a.csv": "who,kind,at,price\nv1,view,1\nv2,view,x,1\n",
        "b.csv": "at,who,kind\n3,v3,view\n4,v4,view,9\n",
    }
    rows = read(files, options, encoding=encoding)
    assert [row[-1] for row in rows if row[0] == "v3"] == [None]
    assert sorted(str(row[-1]) for row in rows) == ["None", "malformed_record", "malformed_record", "schema_mismatch"]


def test_a_column_that_no_file_has_is_an_error_unless_it_is_optional(read: Read) -> None:
    files = {"a.csv": "who,kind,at\nv1,view,1\n", "b.csv": "at,who,kind,prices\n2,v2,view,9\n"}
    with pytest.raises(ConfigurationError) as ended:
        read(files)
    assert ended.value.lines == (
        "--input: no header has the column price of the mapping's schema: did you mean prices?",
    )
    assert read(files, optional='["price"]') == [("v1", "view", "1", None, None), ("v2", "view", "2", None, None)]


@pytest.mark.parametrize(
    ("header", "schema", "expected"),
    [
        ("who,kind,at,who", "who STRING, kind STRING, at BIGINT, who_2 STRING", "x"),
        ("Who,kind,at,WHO", "who_2 STRING, at BIGINT, kind STRING, who STRING", "x"),
        ("who,kind,at,who", "who STRING, kind STRING, at BIGINT, other STRING", "x"),
        ("who,kind,at,", "who STRING, kind STRING, at BIGINT, other STRING", "x"),
        ("who,kind,at,who", "who STRING, kind STRING, at BIGINT", "v1"),
    ],
)
def test_names_that_a_header_has_twice_or_not_at_all(
    spark: SparkSession, tmp_path: Path, header: str, schema: str, expected: str
) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\nv1,view,7,x\n")
    names = [column.split()[0] for column in schema.split(", ")]
    chosen = next((name for name in names if name in ("who_2", "other")), "who")
    text = (
        f'[source]\nformat = "csv"\nschema = "{schema}"\noptions = {{ header = "true" }}\n'
        '[event]\neventType = "kind"\nsentAt = "timestamp_seconds(at)"\nvisitorId = "who"\n'
    )
    mapping = checked_mapping(MappingText("test.toml", text), spark)
    records = read_records(spark, [str(tmp_path)], mapping).where("NOT _header_line")
    assert [tuple(row) for row in records.select("who", "at", chosen).collect()] == [("v1", 7, expected)]


def test_refused_lines_are_taken_up_again_by_the_header_of_their_file(
    spark: SparkSession, build: Any, retry: Any, lake: Path, tmp_path: Path
) -> None:
    mapping = MAPPING.format(options="", optional='["price"]')
    mapping = mapping.replace("at BIGINT", "at STRING").replace("timestamp_seconds(at)", "to_timestamp(at)")
    (tmp_path / "m.toml").write_text(mapping)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.csv").write_text("who,kind,at,price\nv1,view,2024-01-02,10\nv2,view,02.01.2024,20\n")
    (tmp_path / "log" / "b.csv").write_text("at,price,who,device,kind\n02.01.2024,30,v3,phone,buy\n")
    first = build(tmp_path / "log", mapping=tmp_path / "m.toml")
    assert (first.summary["events"], first.summary["reasons"]) == (1, {"sentAt_missing": 2})
    (tmp_path / "m.toml").write_text(
        mapping.replace("to_timestamp(at)", "COALESCE(to_timestamp(at), to_timestamp(at, 'dd.MM.yyyy'))")
    )
    again = retry(tmp_path / "m.toml")
    assert (again.code, again.summary["events"], again.summary["quarantined"]) == (0, 2, 0)
    events = spark.read.parquet(str(lake / "events")).collect()
    assert sorted((row["visitorId"], row["eventType"], row["itemId"]) for row in events) == [
        ("v1", "view", "10"),
        ("v2", "view", "20"),
        ("v3", "buy", "30"),
    ]
