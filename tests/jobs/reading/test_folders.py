"""Columns that the folders above files hold, in every format, however `--input` names the files."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.errors import ConfigurationError
from jobs.reading.mappings import MappingText, checked_mapping
from jobs.reading.sources import read_again, read_records
from transforms.columns import FAULT, RAW, SOURCE_FILE
from transforms.mapping.model import EventMapping

FORMATS = ("json", "csv", "text", "parquet", "orc", "json array", "multi-line csv")
DAYS = {"dt=2024-01-02/hour=03": "a", "dt=2024-01-03/hour=__HIVE_DEFAULT_PARTITION__": "b", "elsewhere": "c"}
PARTITIONS = 'partitions = "dt DATE, hour INT"'


def mapping_of(spark: SparkSession, kind: str, more: str = PARTITIONS, schema: str = "who STRING") -> EventMapping:
    form = {"json array": "json", "multi-line csv": "csv"}.get(kind, kind)
    columns = "pattern = '^(?<who>\\S+)$'" if kind == "text" else f'schema = "{schema}"'
    text = f"""
[source]
format = "{form}"
{columns}
{"options = { multiLine = 'true' }" if form != kind else ""}
{more}
[event]
eventType = "'view'"
sentAt    = "to_timestamp('2024-01-02')"
visitorId = "who"
"""
    return checked_mapping(MappingText("test.toml", text), spark)


def write(spark: SparkSession, root: Path, kind: str, folder: str, who: str) -> None:
    if kind in ("parquet", "orc"):
        spark.createDataFrame([(who,)], "who STRING").coalesce(1).write.format(kind).save(str(root / folder))
        return
    (root / folder).mkdir(parents=True)
    text = {"json": f'{{"who":"{who}"}}\n', "json array": f'[{{"who":"{who}"}}]'}.get(kind, f"{who}\n")
    (root / folder / "part-0").write_text(text)


def rows(records: DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return sorted((row[0], *row[1:]) for row in records.select("who", *names).collect())


@pytest.mark.parametrize("kind", FORMATS)
def test_partitions_are_columns_whatever_is_named(spark: SparkSession, tmp_path: Path, kind: str) -> None:
    for folder, who in DAYS.items():
        write(spark, tmp_path / "in", kind, folder, who)
    mapping, day = mapping_of(spark, kind), datetime.date(2024, 1, 2)
    expected = [("a", day, 3), ("b", datetime.date(2024, 1, 3), None), ("c", None, None)]
    for given, those in {"in": expected, "in/dt=*": expected[:2], "in/dt=2024-01-02/hour=03": expected[:1]}.items():
        records = read_records(spark, [str(tmp_path / given)], mapping)
        assert rows(records, "dt", "hour", FAULT) == [(*one, None) for one in those], given


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "text"])
def test_a_column_of_the_schema_takes_the_folders_value_where_a_record_has_none(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    root = tmp_path / "City=a+b%20c"
    if kind in ("parquet", "orc"):
        own = spark.createDataFrame([("a", "own"), ("b", None)], "who STRING, city STRING").coalesce(1)
        own.write.format(kind).save(str(root))
    else:
        root.mkdir()
        records = [{"who": "a", "city": "own"}, {"who": "b"}]
        form = {"json": "\n".join(map(json.dumps, records)), "json array": json.dumps(records)}
        (root / "log").write_text(form.get(kind, "a,own\nb,\n"))
    mapping = mapping_of(spark, kind, more="", schema="who STRING, city STRING")
    assert rows(read_records(spark, [str(root)], mapping), "city") == [("a", "own"), ("b", "a+b c")]


def test_a_folder_whose_value_is_not_of_the_type_is_a_mismatch_and_read_again_from_its_path(
    spark: SparkSession, tmp_path: Path
) -> None:
    for folder in ("hour=03", "hour=late"):
        write(spark, tmp_path / "in", "json", folder, folder)
    wrong = mapping_of(spark, "json", 'partitions = "hour INT"')
    records = read_records(spark, [str(tmp_path / "in")], wrong)
    assert rows(records, "hour", FAULT) == [("hour=03", 3, None), ("hour=late", None, "schema_mismatch")]
    columns = {"record": F.col(RAW), "sourceFile": F.col(SOURCE_FILE), "element": F.lit(None).cast("int")}
    columns |= {"attempts": F.lit(1), "rendered": F.lit(False), "stage": F.lit("read"), "header": F.lit(None)}
    quarantine = records.select(*[column.alias(name) for name, column in columns.items()])
    mended = mapping_of(spark, "json", 'partitions = "hour STRING"')
    again = read_again(spark, quarantine, mended)
    assert rows(again, "hour", FAULT) == [("hour=03", "03", None), ("hour=late", "late", None)]


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_partitions_that_no_path_has_are_told(spark: SparkSession, tmp_path: Path, kind: str) -> None:
    write(spark, tmp_path / "in", kind, "date=2024-01-02", "a")
    with pytest.raises(ConfigurationError) as ended:
        read_records(spark, [str(tmp_path / "in")], mapping_of(spark, kind, 'partitions = "dates STRING, x STRING"'))
    assert list(ended.value.lines) == [
        "--input: no file lies below a folder dates=..., which [source] partitions names; did you mean date?",
        (
            "--input: no file lies below a folder x=..., which [source] partitions names; "
            "take it out of [source] partitions, or give other files"
        ),
    ]


def test_files_outside_the_folders_are_counted(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for folder, who in DAYS.items():
        write(spark, tmp_path / "in", "csv", folder, who)
    read_records(spark, [str(tmp_path / "in")], mapping_of(spark, "csv"))
    assert "--input: 1 files lie below no folder dt=...: it is null there" in caplog.messages


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('partitions = "dt DATE, DT STRING"', "[source] partitions: names the column dt twice"),
        ('partitions = "who STRING"', "[source] partitions: names the column who, which schema has too"),
        ('partitions = "dt ARRAY<STRING>"', "[source] partitions: dt is not a plain type"),
        ('partitions = "_raw STRING"', "[source] partitions: may not name a column _raw"),
        ('partitions = "dt DATEE"', "[source] partitions: "),
        ("partitions = 1", "[source] partitions: must be a string"),
        ('optional = ["who"]', "[source] optional: has no meaning for json"),
        ("optional = 1", "[source] optional: must be an array of columns"),
    ],
)
def test_mistakes_are_told(spark: SparkSession, more: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as ended:
        mapping_of(spark, "json", more)
    assert any(words in line for line in ended.value.lines)


@pytest.mark.parametrize("kind", ["parquet", "orc"])
def test_a_column_that_no_file_has_is_a_mistake_unless_it_is_optional(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    write(spark, tmp_path / "in", kind, "day", "a")
    columns = "who STRING, whoo STRING, price STRING"
    with pytest.raises(ConfigurationError) as ended:
        read_records(spark, [str(tmp_path / "in")], mapping_of(spark, kind, 'optional = ["Price"]', columns))
    assert list(ended.value.lines) == [
        (
            "--input: no file has the column whoo of the mapping's schema; did you mean who? "
            'If it may be missing, write optional = ["whoo"] in [source]'
        )
    ]
    caplog.set_level("INFO")
    mapping = mapping_of(spark, kind, 'optional = ["price", "whoo"]', columns)
    assert rows(read_records(spark, [str(tmp_path / "in")], mapping), "price") == [("a", None)]
    assert "--input: no file has the optional columns whoo, price: they are null everywhere" in caplog.messages
    with pytest.raises(ConfigurationError, match=r"optional: pric is no column of schema; did you mean price\?"):
        mapping_of(spark, kind, 'optional = ["pric"]', columns)
