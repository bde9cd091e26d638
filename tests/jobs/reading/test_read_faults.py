"""Files that Spark cannot read, or finds nothing in: each cause has its own words, and each file its own name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc
from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.reading.inputs import find_inputs
from jobs.reading.mappings import MappingText, checked_mapping
from jobs.reading.read_faults import explain_unreadable_input
from jobs.reading.sources import read_records
from jobs.spark_internals.hadoop import FileStatus
from transforms.columns import FAULT, RAW
from transforms.mapping.model import EventMapping

EVENT = """
[event]
eventType = "'view'"
sentAt    = "timestamp_seconds(1704067200)"
visitorId = "who"
"""


def text_of(kind: str, schema: str = "who STRING", options: str = "") -> str:
    return f'[source]\nformat = "{kind}"\nschema = "{schema}"\noptions = {{ {options} }}\n{EVENT}'


def mapping_of(spark: SparkSession, *words: str) -> EventMapping:
    return checked_mapping(MappingText("test.toml", text_of(*words)), spark)


@pytest.fixture
def mapping(tmp_path: Path) -> Callable[..., Path]:
    def write(*words: str) -> Path:
        (tmp_path / "m.toml").write_text(text_of(*words))
        return tmp_path / "m.toml"

    return write


def refusals(spark: SparkSession, path: object, *words: str) -> list[str]:
    with pytest.raises(ConfigurationError) as ended:
        read_records(spark, [str(path)], mapping_of(spark, *words))
    return list(ended.value.lines)


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_a_stale_checksum_is_told_as_such(
    spark: SparkSession, build: Any, tmp_path: Path, mapping: Callable[..., Path], kind: str
) -> None:
    rows = spark.range(1000).selectExpr("CAST(id AS STRING) AS who").coalesce(1)
    rows.write.format(kind).save(str(tmp_path / "in"))
    (path,) = (tmp_path / "in").glob(f"*.{kind}")
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(content)
    ended = build(tmp_path / "in", mapping=mapping(kind))
    assert ended.code == 2
    assert ended.said == [
        (
            f"--input {path}: cannot be read: the .crc file beside it is of other bytes: "
            "if the file is whole, delete that one; otherwise copy both again"
        )
    ]


def test_a_parquet_file_that_is_damaged_in_its_middle_is_told(
    spark: SparkSession, build: Any, tmp_path: Path, mapping: Callable[..., Path]
) -> None:
    rows = spark.range(1000).selectExpr("CAST(id AS STRING) AS who").coalesce(1)
    rows.write.parquet(str(tmp_path / "in"))
    (path,) = (tmp_path / "in").glob("*.parquet")
    content = path.read_bytes()
    path.write_bytes(content[:10] + bytes(50) + content[60:])
    path.with_name(f".{path.name}.crc").unlink()
    ended = build(tmp_path / "in", mapping=mapping("parquet"))
    assert ended.code == 2
    assert ended.said == [f"--input {path}: cannot be read: it is damaged or cut short: copy it again"]


def test_a_damaged_file_of_an_earlier_batch_is_the_lakes(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[..., Path]
) -> None:
    (tmp_path / "log.jsonl").write_text('{"who":"a"}\n')
    first = build(tmp_path / "log.jsonl", mapping=mapping("json"), batch="2024-01-01")
    assert first.code == 0
    for table in ("events", "_visits"):
        (path,) = (lake / table / "batch=2024-01-01").glob("*/*.parquet")
        whole = path.read_bytes()
        for content in (bytes(len(whole)), whole[:4] + bytes(len(whole) - 8) + whole[-4:]):
            path.write_bytes(content)
            path.with_name(f".{path.name}.crc").unlink(missing_ok=True)
            ended = build(tmp_path / "log.jsonl", mapping=mapping("json"), batch="2024-01-02")
            assert ended.code == 2
            assert len(ended.said) == 1 and str(path) in ended.said[0] and "--input:" not in ended.said[0]
            assert not ended.said[0].startswith("--input")
        path.write_bytes(whole)


def test_an_address_of_the_web_is_told(spark: SparkSession) -> None:
    url = "http://127.0.0.1:9/log.jsonl"
    words = "Spark cannot read addresses of the web: download the file, or name it on a store"
    assert refusals(spark, url, "json") == [f"--input {url}: {words}"]


# Files of no bytes, and inputs of no record


@pytest.mark.parametrize("kind", ["json", "csv", "parquet", "orc"])
def test_files_of_no_bytes_are_skipped_and_counted(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    rows = spark.range(10).selectExpr("CAST(id AS STRING) AS who").coalesce(1)
    rows.write.format(kind).save(str(tmp_path / "in" / "hour=1"))
    for name in ("hour=1_$folder$", "hour=1/empty.gz", f"hour=1/b.{kind}"):
        (tmp_path / "in" / name).write_bytes(b"")
    with caplog.at_level("INFO"):
        for given in (tmp_path / "in", tmp_path / "in" / "*"):
            assert read_records(spark, [str(given)], mapping_of(spark, kind)).count() == 10
    assert "--input: 3 files of 0 bytes are skipped" in caplog.messages


@pytest.mark.parametrize("kind", ["json", "csv", "parquet", "orc"])
def test_an_input_of_no_file_is_told_and_its_gate_decides(
    build: Any, tmp_path: Path, mapping: Callable[..., Path], caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "empty").write_bytes(b"")
    for given in (tmp_path / "in" / "empty", tmp_path / "in"):
        caplog.clear()
        ended = build(given, mapping=mapping(kind), more=("--allow-empty",))
        assert (ended.code, ended.summary["read"], ended.summary["events"]) == (0, 0, 0)
        assert "--input: no file is left to read" in caplog.messages
        assert build(given, mapping=mapping(kind)).code == 3


def test_an_input_of_which_nothing_is_left_beside_others_is_told(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for day in ("1", "2", "3"):
        (tmp_path / day).mkdir()
    (tmp_path / "1" / "a.json").write_text('{"who":"a"}\n')
    (tmp_path / "2" / "_SUCCESS").write_text("")
    inputs = [str(tmp_path / day) for day in ("1", "2", "3")]
    assert read_records(spark, inputs, mapping_of(spark, "json")).count() == 1
    told = [line for line in caplog.messages if "no file of it" in line]
    assert told == [f"--input {tmp_path}/{day}: no file of it is left to read" for day in ("2", "3")]


def test_files_without_a_record_are_told(
    build: Any, tmp_path: Path, mapping: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.csv").write_text("who\n")
    ended = build(tmp_path / "a.csv", mapping=mapping("csv", "who STRING", 'header = "true"'), more=("--allow-empty",))
    assert (ended.code, ended.summary["read"]) == (0, 0)
    assert "--input: there is no record in it" in caplog.messages


def test_files_that_options_leave_out_are_not_judged(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.json").write_text('{"who":"a"}\n')
    (tmp_path / "b.bin").write_bytes(b"PAR1\x15\x00")
    caplog.set_level("INFO")
    mapping = mapping_of(spark, "json", "who STRING", 'pathGlobFilter = "*.json"')
    assert read_records(spark, [str(tmp_path)], mapping).count() == 1
    assert "--input: 1 files are left out by [source] options" in caplog.messages
    none = mapping_of(spark, "parquet", "who STRING", 'pathGlobFilter = "*.parquet"')
    assert read_records(spark, [str(tmp_path)], none).count() == 0
    assert "--input: no file is left to read" in caplog.messages


# Colons


def test_colons_in_folders_and_globs(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "dt=2024-01-02T10:00:00"
    folder.mkdir()
    (folder / "a.json").write_text('{"who":"a"}\n')
    mapping = mapping_of(spark, "json")
    for given in (folder, folder / "*", tmp_path / "dt=*:00", tmp_path / "*T10:*" / "[ab].json"):
        assert read_records(spark, [str(given)], mapping).count() == 1
    monkeypatch.chdir(tmp_path)
    (tmp_path / "T10:00").mkdir()
    words = "a name of it holds a colon, before which Hadoop expects a scheme: write the absolute path"
    assert refusals(spark, "T10:00/a.json", "json") == [f"--input T10:00/a.json: {words}"]
    (folder / "b{1}.json").write_text('{"who":"a"}\n')
    (line,) = refusals(spark, folder / "*", "json")
    both = "its path holds a colon and one of []{}*?\\, and Hadoop reads no path with both: rename it"
    assert line == f"--input {folder}/b{{1}}.json: {both}"


class Store(FileSystem):
    """A store that is no local disk: it has folders and files with colons in their names."""

    tree = ("logs/2024-01-02T10:00/a.json", "logs/2024-01-02T11:00/b:1.json", "logs/other/c.json")

    def local_path(self, path_or_glob: str) -> str | None:
        return path_or_glob.removeprefix("store:") if "://" not in path_or_glob else None

    def split_path(self, path_or_glob: str) -> tuple[str, str]:
        store, _, path = path_or_glob.removeprefix("store://").partition("/")
        return f"store://{store}", f"/{path}"

    def status(self, path: str) -> FileStatus | None:
        place = path.removeprefix("store://s/").strip("/")
        if place in self.tree:
            return FileStatus(f"store://s/{place}", is_folder=False, size=1)
        is_folder = any(file.startswith(f"{place}/") for file in self.tree)
        return FileStatus(f"store://s/{place}", is_folder=True, size=0) if is_folder else None

    def statuses(self, folder: str) -> list[FileStatus]:
        place = folder.removeprefix("store://s").strip("/")
        below = [file.removeprefix(place).strip("/") for file in self.tree if file.startswith(place)]
        found = {one.partition("/")[0] for one in below}
        listed = [self.status(f"store://s/{place}/{name}".replace("s//", "s/")) for name in sorted(found)]
        return [one for one in listed if one]

    def files_below(self, folder: str) -> list[FileStatus]:
        place = folder.removeprefix("store://s/")
        return [FileStatus(f"store://s/{file}", False, 1) for file in self.tree if file.startswith(f"{place}/")]


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("logs/2024-*", [0, 1]),
        ("logs/2024-01-02T1?:00/*.json", [0, 1]),
        ("*/{other,2024-01-02T10:00}/*", [0, 2]),
        ("logs/*/b:[0-9].json", [1]),
        ("logs/*/c.json", [2]),
    ],
)
def test_globs_of_stores_match_names_with_colons(spark: SparkSession, glob: str, found: list[int]) -> None:
    inputs = find_inputs(Store(spark), [f"store://s/{glob}"])
    assert inputs.files == [f"store://s/{Store.tree[place]}" for place in found]


# One record that the reader cannot take


@pytest.mark.parametrize("options", ["", 'multiLine = "true"', 'header = "true"'])
@pytest.mark.parametrize("count", [30_000, 400_000])
def test_a_line_of_very_many_columns_is_malformed_and_the_others_are_read(
    spark: SparkSession, tmp_path: Path, options: str, count: int
) -> None:
    (tmp_path / "a.csv").write_text(f"who,kind\na,view\n{',' * count}\nb,view\n")
    mapping = mapping_of(spark, "csv", "who STRING, kind STRING", options)
    if "multiLine" in options and count > 200_000:
        return
    rows = read_records(spark, [str(tmp_path)], mapping).select("who", FAULT, RAW).collect()
    kept = [row["who"] for row in rows if row[FAULT] is None and row["who"] != "who"]
    assert kept == ["a", "b"]
    assert [row[RAW] for row in rows if row[FAULT] == "malformed_record"] == ["," * count]


def test_a_long_quoted_value_is_one_column(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f'a,"{"," * 100_000}"\n')
    rows = read_records(spark, [str(tmp_path)], mapping_of(spark, "csv", "who STRING, kind STRING")).collect()
    assert [(row["who"], len(row["kind"]), row[FAULT]) for row in rows] == [("a", 100_000, None)]


LATEST = 2**63 - 1


@pytest.mark.parametrize("unit", ["us", "ms"])
def test_a_time_beyond_all_times_in_a_column_that_the_mapping_does_not_name(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[..., Path], unit: str
) -> None:
    times = pa.array([LATEST, 0, None], pa.int64()).cast(pa.timestamp(unit, "UTC"))
    table = pa.table({"who": ["a", "b", None], "hit": pa.array([{"at": time} for time in times]), "at": times})
    pq.write_table(table, tmp_path / "log.parquet")
    ended = build(tmp_path / "log.parquet", mapping=mapping("parquet"), more=("--on-gate-failure", "warn"))
    assert (ended.code, ended.summary["events"], ended.summary["quarantined"]) == (0, 2, 1)
    (row,) = spark.read.parquet(str(lake / "quarantine")).collect()
    assert "who" not in json.loads(row["record"])


@pytest.mark.parametrize(("kind", "schema"), [("parquet", "who STRING, at TIMESTAMP"), ("orc", "who STRING")])
def test_a_time_beyond_all_times_that_cannot_be_read_is_told(
    build: Any, tmp_path: Path, mapping: Callable[..., Path], kind: str, schema: str
) -> None:
    times = pa.array([LATEST, 0], pa.int64()).cast(pa.timestamp("ms", "UTC"))
    table = pa.table({"who": ["a", "b"], "at": times})
    (pq if kind == "parquet" else orc).write_table(table, tmp_path / "log")
    ended = build(tmp_path / "log", mapping=mapping(kind, schema))
    assert ended.code == 2
    assert len(ended.said) == 1
    assert "a time in it lies beyond all that Spark can read" in ended.said[0]


@pytest.mark.parametrize(
    "words",
    [
        "Task 0 in stage 0.0 failed 1 times: java.lang.OutOfMemoryError: Java heap space",
        "ExecutorLostFailure (executor 1 exited caused by one of the running tasks) Reason: exited with code 52",
        "Cannot grow BufferHolder by size 104857600 because the size after growing exceeds size limitation",
    ],
)
def test_a_record_for_which_the_memory_is_too_small_is_told(spark: SparkSession, words: str) -> None:
    found = explain_unreadable_input(RuntimeError(words), spark, mapping_of(spark, "json").source)
    assert found is not None
    assert "ran out of memory" in found.lines[0] and "--executor-memory" in found.lines[0]


def test_a_local_run_outlives_a_task_without_memory(spark: SparkSession) -> None:
    assert spark.sparkContext.getConf().get("spark.executor.killOnFatalError.depth") == "0"


# Options


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("csv", 'heder = "true"', "heder is no option of Spark's reader of csv; did you mean header?"),
        ("csv", 'Delimeter = ";"', "Delimeter is no option of Spark's reader of csv; did you mean delimiter?"),
        ("json", 'multiline = "true", allowComment = "true"', "allowComment is no option of Spark's reader of json"),
        ("json", 'header = "true"', "header is no option of Spark's reader of json; take it out"),
        ("parquet", 'mergeSchemas = "true"', "mergeSchemas is no option of Spark's reader of parquet; did you mean"),
        ("orc", 'x = "1"', "x is no option of Spark's reader of orc; take it out"),
    ],
)
def test_a_misspelt_option_is_a_mistake(spark: SparkSession, kind: str, options: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as ended:
        mapping_of(spark, kind, "who STRING", options)
    (line,) = ended.value.lines
    assert f"[source] options: {words}" in line


def test_options_in_any_case_and_those_of_hadoop_are_known(spark: SparkSession) -> None:
    given = 'HEADER = "true", SEP = ";", pathglobfilter = "*.csv", "fs.s3a.endpoint" = "here", maxColumns = "30000"'
    assert len(mapping_of(spark, "csv", "who STRING", given).source.options) == 5
    assert json.dumps(dict(mapping_of(spark, "json", "who STRING", 'LineSep = ";"').source.options))
