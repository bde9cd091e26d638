"""Nothing in an input vanishes: each file that is there is read or named, each line of it a record or counted."""

from __future__ import annotations

import bz2
import gzip
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import NO_UTF8, FileSystem
from jobs.reading.headers import files_with_header
from jobs.reading.mappings import MappingText, checked_mapping
from jobs.reading.sources import read_records
from jobs.spark_internals.catalyst import CatalystExpressions
from tests.spark_stages import stages_run
from transforms.columns import FAULT, FILTERED, FIRST, HEADER, RAW, SOURCE_FILE
from transforms.mapping.model import EventMapping
from transforms.records import select_records

COLUMNS = "who STRING, kind STRING, at BIGINT"
HEADER_LINE = "who,kind,at"


def mapping_of(spark: SparkSession, kind: str, columns: str = COLUMNS, **options: str) -> EventMapping:
    given = ", ".join(f'{key} = "{value}"' for key, value in options.items())
    who, what, at = [column.split()[0] for column in columns.split(", ")][:3]
    text = f"""
[source]
format = "{kind}"
schema = "{columns}"
options = {{ {given} }}
[event]
eventType = "{what}"
sentAt    = "timestamp_seconds(CAST({at} AS BIGINT))"
visitorId = "{who}"
"""
    return checked_mapping(MappingText("test.toml", text), spark)


Read = Callable[..., DataFrame]


@pytest.fixture
def read(spark: SparkSession) -> Read:
    """Read records of a format: `read("csv", path, ..., header="true")`."""

    def run(kind: str, *inputs: Path | str, columns: str = COLUMNS, **options: str) -> DataFrame:
        return read_records(spark, [str(path) for path in inputs], mapping_of(spark, kind, columns, **options))

    return run


def visitors(records: DataFrame) -> list[str]:
    """The `who` of all records that can go on, sorted."""
    header = F.col(HEADER) if HEADER in records.columns else F.lit(False)
    return sorted(row["who"] for row in records.where(F.col(FAULT).isNull() & ~header).collect())


def faults(records: DataFrame) -> list[str]:
    """The texts of refused records, sorted."""
    return sorted(row[RAW] for row in records.where(F.col(FAULT) == "malformed_record").collect())


def refusals(ended: pytest.ExceptionInfo[ConfigurationError]) -> list[str]:
    return list(ended.value.lines)


def line(who: str) -> str:
    return f"{who},view,1704067200"


# Headers by position


def test_a_header_is_its_files_first_line_however_the_file_is_split(
    spark: SparkSession, read: Read, tmp_path: Path
) -> None:
    dice, expected = random.Random(17), []
    for number in range(6):
        names = [f"{number}-{place}" for place in range(dice.randrange(40, 400))]
        expected += names
        lines = [HEADER_LINE, *map(line, names)]
        (tmp_path / f"{number}.csv").write_text("\n" * number + "\n".join(lines) + "\n")
    before = spark.conf.get("spark.sql.files.maxPartitionBytes")
    for size in ("300", "1000", "1000000"):
        spark.conf.set("spark.sql.files.maxPartitionBytes", size)
        try:
            assert visitors(read("csv", tmp_path, header="true").where("kind IS NOT NULL")) == sorted(expected)
        finally:
            spark.conf.set("spark.sql.files.maxPartitionBytes", before or "134217728")


def test_who_reads_headers_asks_no_other_part_which_row_comes_first(
    spark: SparkSession, read: Read, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.csv").write_text(f"{HEADER_LINE}\n{line('a')}\n")
    assert stages_run(spark, read("csv", tmp_path, header="true").collect) == 1


def test_headers_that_joined_files_repeat_are_counted_and_no_record(
    spark: SparkSession, read: Read, tmp_path: Path
) -> None:
    joined = f"\ufeff{HEADER_LINE}\r\n{line('a')}\r\n\ufeff{HEADER_LINE}\r\n{line('b')}\r\n{HEADER_LINE}\r\n"
    (tmp_path / "joined.csv").write_bytes(joined.encode())
    (tmp_path / "one.csv").write_text(f"WHO,Kind,At\n{line('c')}\n")
    records = read("csv", tmp_path, header="true")
    assert (visitors(records), files_with_header(records)) == (["a", "b", "c"], 2)
    marked = select_records(records, mapping_of(spark, "csv", header="true"), CatalystExpressions(spark))
    assert marked.where(F.col(FILTERED) & ~F.col(FIRST)).count() == 4
    assert marked.where(F.col(FIRST)).count() == 3


def test_the_build_counts_headers_and_tells_of_repeated_ones(
    build: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "m.toml").write_text(
        '[source]\nformat = "csv"\nschema = "who STRING, kinds STRING, at BIGINT"\noptions = { header = "true" }\n'
        "[record]\nexplode = \"split(kinds, '[|]')\"\n"
        '[event]\neventType = "element"\nsentAt = "timestamp_seconds(at)"\nvisitorId = "who"\n'
    )
    for name in "ab":
        rows = [f"{name}{place},view|buy,{1704067200 + place}" for place in range(5)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["who,kinds,at", *rows, "who,kinds,at", ""]))
    with caplog.at_level("INFO"):
        ended = build(tmp_path / "[ab].csv", mapping=tmp_path / "m.toml")
    counters = [ended.summary[name] for name in ("read", "filtered", "candidates", "events")]
    assert (ended.code, counters) == (0, [10, 0, 20, 20])
    assert "--input: the header lines of 2 files are not records" in caplog.messages
    assert "--input: 2 more lines repeat their file's header: they are not records either" in caplog.messages


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gz", "bz2"])
def test_headers_of_compressed_files(read: Read, tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    ending = "gz" if pack is gzip.compress else "bz2"
    (tmp_path / f"log.csv.{ending}").write_bytes(pack(f"\n{HEADER_LINE}\n{line('a')}\n".encode()))
    assert visitors(read("csv", tmp_path, header="true").where("kind IS NOT NULL")) == ["a"]


def test_a_header_may_be_long_and_stand_below_many_comments(read: Read, tmp_path: Path) -> None:
    text = "# not yet\n" * 3000 + f'"who" ,"kind{" " * 9000}",at\n{line("a")}\n'
    (tmp_path / "log.csv").write_text(text)
    assert visitors(read("csv", tmp_path, header="true", comment="#")) == ["a"]


@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        ("utf-8", {}),
        ("latin-1", {"encoding": "ISO-8859-1"}),
        ("utf-8", {"lineSep": ";"}),
        ("utf-8", {"multiLine": "true"}),
        ("utf-16", {"encoding": "UTF-16"}),
        ("utf-16-le", {"encoding": "UTF-16LE"}),
        ("cp1252", {"encoding": "cp1252"}),
    ],
)
def test_every_way_in_knows_a_header_from_a_record(
    read: Read, tmp_path: Path, encoding: str, options: dict[str, str]
) -> None:
    def write(name: str, *lines: str) -> None:
        text = options.get("lineSep", "\n").join([*lines, ""])
        (tmp_path / name).write_bytes(text.encode(encoding))

    write("log.csv", HEADER_LINE, line("é"), line("b"))
    assert visitors(read("csv", tmp_path, header="true", **options)) == ["b", "é"]
    write("other.csv", "kind,at,who", "view,1704067200,c")
    assert visitors(read("csv", tmp_path, header="true", **options)) == ["b", "c", "é"]
    write("other.csv", line("secret"), line("c"))
    with pytest.raises(ConfigurationError) as ended:
        read("csv", tmp_path, header="true", **options)
    assert len(refusals(ended)) == 1 and "other.csv: its first line is not a header" in refusals(ended)[0]
    assert "secret" not in refusals(ended)[0]


def test_a_quoted_header_that_spans_lines(read: Read, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(f'who,"the\nkind ""x""",at\n{line("a")}\n')
    columns = "who STRING, `the\\nkind` STRING, at BIGINT, kind STRING"
    with pytest.raises(ConfigurationError, match=r"no header has the column the\nkind of the mapping's schema: "):
        read("csv", tmp_path, columns=columns, header="true", multiLine="true", escape='\\"')
    assert visitors(read("csv", tmp_path, header="true", multiLine="true", escape='\\"')) == ["a"]


@pytest.mark.parametrize("columns", [COLUMNS, "v0 STRING, view STRING, at STRING", "a STRING, b STRING, c STRING"])
def test_files_without_headers_are_told_whatever_the_names(read: Read, tmp_path: Path, columns: str) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.csv").write_text("".join(f"v{number + place},view,17040672\n" for place in range(3)))
    with pytest.raises(ConfigurationError) as ended:
        read("csv", tmp_path, columns=columns, header="true")
    lines = refusals(ended)
    assert len(lines) == 21 and lines[-1] == "--input: and 10 more of this kind"
    names = ", ".join(column.split()[0] for column in columns.split(", "))
    lacks = (
        f"of the columns {names} it does not name at" if "view" in names else f"it names none of the columns {names}"
    )
    assert lines[0].startswith(f"--input {tmp_path}/00.csv: its first line is not a header: {lacks}; ")
    assert 'set header = "false"' in lines[0] and "17040672" not in "".join(lines)


WIDE = "who STRING, kind STRING, at BIGINT"


@pytest.mark.parametrize(
    ("header", "options", "words"),
    [
        (
            "who;kind;at",
            {},
            'its first line has 1 column, the mapping\'s schema has 3: is [source] options sep = "," right?',
        ),
        (
            "who,kind,at",
            {"sep": ";"},
            'its first line has 1 column, the mapping\'s schema has 3: is [source] options sep = ";" right?',
        ),
        (
            "x,y,z",
            {},
            (
                "its first line is not a header: it names none of the columns who, kind, at; "
                'if the file has no header, set header = "false"'
            ),
        ),
    ],
)
@pytest.mark.parametrize("by", [{}, {"multiLine": "true"}])
def test_a_header_that_does_not_fit_is_told_by_its_columns(
    read: Read, tmp_path: Path, header: str, options: dict[str, str], words: str, by: dict[str, str]
) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\na,view,1\n")
    with pytest.raises(ConfigurationError) as ended:
        read("csv", tmp_path, columns=WIDE, header="true", **options, **by)
    assert refusals(ended) == [f"--input {tmp_path}/a.csv: {words}"]


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("who,at", "name it as the header does, or list it in [source] optional"),
        ("at,who,kinds", "did you mean kinds?"),
        ("who,ann@example.com,at,x", "name it as the header does, or list it in [source] optional"),
    ],
)
@pytest.mark.parametrize("by", [{}, {"multiLine": "true"}])
def test_a_column_that_no_header_has_is_told(
    read: Read, tmp_path: Path, header: str, hint: str, by: dict[str, str]
) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n")
    with pytest.raises(ConfigurationError) as ended:
        read("csv", tmp_path, columns=WIDE, header="true", **by)
    assert refusals(ended) == [f"--input: no header has the column kind of the mapping's schema: {hint}"]


def test_names_of_the_schema_that_no_header_has_are_told(
    read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.csv").write_text(f"who,Type,at\n{line('a')}\n")
    assert visitors(read("csv", tmp_path, header="true")) == ["a"]
    told = "--input: no header has the columns kind of the mapping's schema: they are read by their positions"
    assert [(one.levelname, one.getMessage()) for one in caplog.records if "no header" in one.getMessage()] == [
        ("WARNING", told)
    ]


# JSON: each object is read, or the record is malformed

TRICKS = (
    '{{"who":"a"}}]}}{{"who":"b"}}',
    '{{"who":"a"}}],"{key}":[{{"who":"b"}}',
    '{{"who":"a"}}],"record":[{{"who":"b"}}',
    '{{"who":"a"}}],"x":[{{}}',
    '{{"who":"a"}}}}{{"who":"b"}}',
    '{{"who":"a"}},{{"who":"b"}}',
    '{{"who":"a"}}]',
    '[{{"who":"a"}}]',
    '{{"who":"a"}}],[{{"who":"b"}}',
    '{{"who":"a"}},{{"{key}":true}}]}} {{"who":"b"}}',
)


@pytest.mark.parametrize("options", [{}, {"encoding": "UTF-16LE"}, {"encoding": "windows-1252"}], ids=str)
def test_no_text_of_a_line_becomes_syntax(read: Read, tmp_path: Path, options: dict[str, str]) -> None:
    tricks = [trick.format(key=key) for trick in TRICKS for key in ("record", "_corrupt_record", "value")]
    texts = [*tricks, '{"who":"é"}', '  {"who":"c"}\t']
    python = {"UTF-16LE": "utf-16-le", "windows-1252": "cp1252"}.get(options.get("encoding", ""), "utf-8")
    (tmp_path / "log.jsonl").write_bytes("\r\n".join([*texts, ""]).encode(python))
    records = read("json", tmp_path, **options)
    assert (visitors(records), faults(records)) == (["c", "é"], sorted(tricks))
    assert records.count() == len(texts)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
def test_what_a_file_holds_after_its_first_value_is_refused_in_any_encoding(
    read: Read, tmp_path: Path, encoding: str, told: bool
) -> None:
    one = '{"who":"a","kind":"view",\n"at":1}'
    texts = {
        "one": one,
        "list": f"[{one},{one}]",
        "closed": f"{one}}}\n{one}",
        "lists": f"[{one}][{one}]",
        "trick": f'{one}],"x":[{{}}',
        "blank": " \n",
        "empty": "",
        "torn": one[:-1],
        "number": "5",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.json").write_bytes(text.encode(encoding))
    java = {"utf-8-sig": "UTF-8", "utf-16-le": "UTF-16LE", "utf-16-be": "UTF-16BE", "utf-32-le": "UTF-32LE"}
    options = {"encoding": java.get(encoding, encoding.upper())} if told else {}
    records = read("json", tmp_path, multiLine="true", **options)
    assert visitors(records) == ["a"] * 3, "one, and two of the list"
    assert faults(records) == sorted(texts[name] for name in ("closed", "lists", "trick", "torn", "number"))


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE"])
def test_lines_of_a_wide_encoding_are_records(read: Read, tmp_path: Path, encoding: str) -> None:
    texts = ['{"who":"a"}', '{"who":"ਅĀ\u0a0a"}', '{"who":"c"} {"who":"d"}', ""]
    (tmp_path / "log.json").write_bytes("\r\n".join([*texts, '{"who":"e"}\r\n']).encode(encoding))
    (tmp_path / "empty.json").write_bytes(b"")
    records = read("json", tmp_path, encoding=encoding)
    assert visitors(records) == sorted(["a", "ਅĀ\u0a0a", "e"])
    assert faults(records) == ["", '{"who":"c"} {"who":"d"}'] and records.count() == 5


def test_bytes_that_are_no_text_of_the_encoding_fail_no_job(read: Read, tmp_path: Path) -> None:
    (tmp_path / "log.json").write_bytes('{"who":"a"}\n{"who":"b"}\n'.encode("utf-16-le") + b"\x00\xd8{")
    records = read("json", tmp_path, encoding="UTF-16LE")
    assert visitors(records) == ["a", "b"] and len(faults(records)) == 1


def test_a_byte_order_mark_inside_a_file_is_no_text(read: Read, tmp_path: Path) -> None:
    (tmp_path / "joined.jsonl").write_text('\ufeff{"who":"a"}\n\ufeff{"who":"b"}\n')
    assert visitors(read("json", tmp_path)) == ["a", "b"]


# Files: each that is there is read or named


def write_logs(folder: Path, *names: str | bytes) -> None:
    for name in names:
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(name))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"who": path.stem}) + "\n")


def test_skipped_names_are_counted(read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_logs(tmp_path, "a.json", "d/b.json", "_day=1/c.json", "_temporary/x.json", ".y.json", "d/_SUCCESS")
    with caplog.at_level("INFO"):
        assert visitors(read("json", tmp_path)) == ["a", "b", "c"]
        assert "--input: 3 names that begin with _ or . are skipped" in caplog.messages
        assert visitors(read("json", tmp_path / "*")) == ["a", "b", "c"]
    for path in (tmp_path / ".y.json", tmp_path / "d" / "_SUCC*"):
        with pytest.raises(ConfigurationError, match=r"begin with _ or \."):
            read("json", path)


def test_a_folder_of_which_nothing_is_left_says_so(
    read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_logs(tmp_path, "_only.json")
    assert read("json", tmp_path).count() == 0
    assert "--input: no file is left to read" in caplog.messages


def test_links_that_lead_nowhere_or_around_in_a_circle_are_named(read: Read, tmp_path: Path) -> None:
    write_logs(tmp_path, "raw/a.json", "there/b.json")
    raw = tmp_path / "raw"
    (raw / "fine").symlink_to(tmp_path / "there")
    assert visitors(read("json", raw)) == ["a", "b"]
    (raw / "gone.json").symlink_to(tmp_path / "gone.json")
    (raw / "around").symlink_to(raw)
    os.mkfifo(raw / "pipe")
    expected = {"gone.json": "is a link that points nowhere", "around": "is a link to a folder that it lies in"}
    expected |= {"pipe": "is neither a file nor a folder"}
    lines = sorted(f"--input {raw}/{name}: {words}" for name, words in expected.items())
    for inputs in ([raw], [raw / "*"]):
        with pytest.raises(ConfigurationError) as ended:
            read("json", *inputs)
        assert set(refusals(ended)) >= set(lines[1:]) and sorted(refusals(ended))[-1] == lines[-1]


def test_a_name_that_java_cannot_open_is_named(read: Read, tmp_path: Path) -> None:
    write_logs(tmp_path, "événements.json", "plain.json", "a b%3A+c.json", "{x}.json", "[1].json")
    assert len(visitors(read("json", tmp_path))) == 5
    write_logs(tmp_path, "\u00e9t\u00e9.json".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"\\udce9t\\udce9.json: its name is not UTF-8"):
        read("json", tmp_path)


@pytest.mark.parametrize("given", ["", "*", "[épx]*", "{événements,plain}.json"])
def test_a_java_without_utf_8_is_told_where_it_matters(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setattr(FileSystem, "writes_utf8_names", lambda _: False)
    write_logs(tmp_path, "plain.json")
    assert visitors(read("json", tmp_path / given.replace("é", "e"))) == ["plain"]
    write_logs(tmp_path, "événements.json")
    with pytest.raises(ConfigurationError) as ended:
        read("json", tmp_path / given)
    assert refusals(ended) == [f"--input {tmp_path}/événements.json: {NO_UTF8}"]


def test_a_file_beside_folders_of_partitions_is_read(spark: SparkSession, read: Read, tmp_path: Path) -> None:
    def put(kind: str, folder: str, who: str) -> None:
        row = spark.createDataFrame([(who, "view", 1)], COLUMNS).coalesce(1)
        row.write.mode("append").format(kind).save(str(tmp_path / kind / folder))

    folders = {"hour=00": "a", "deep/down/hour=01/city=K%3Aln+1": "b", "": "c", "hour=__HIVE_DEFAULT_PARTITION__": "d"}
    for kind in ("parquet", "orc", "json"):
        for folder, who in folders.items():
            put(kind, folder, who)
        columns = f"{COLUMNS}, hour STRING, city STRING" if kind != "json" else COLUMNS
        records = read(kind, tmp_path / kind, columns=columns)
        assert visitors(records) == ["a", "b", "c", "d"]
        if kind != "json":
            rows = {row["who"]: (row["hour"], row["city"]) for row in records.collect()}
            assert rows == {"a": ("00", None), "b": ("01", "K:ln+1"), "c": (None, None), "d": (None, None)}
            raw = json.loads(records.where("who = 'b'").collect()[0][RAW])
            assert raw == {"who": "b", "kind": "view", "at": 1, "hour": "01", "city": "K:ln+1"}


def test_a_file_that_is_named_twice_is_read_once(read: Read, tmp_path: Path) -> None:
    write_logs(tmp_path, "a.json", "d/b.json")
    assert visitors(read("json", tmp_path, tmp_path / "d", tmp_path / "*.json", tmp_path)) == ["a", "b"]


def test_files_that_spark_passes_over_are_named(
    read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_logs(tmp_path, "a.json", "b.log", "c.json")
    with caplog.at_level("INFO"):
        assert visitors(read("json", tmp_path, pathGlobFilter="*.json")) == ["a", "c"]
    assert "--input: 1 files are left out by [source] options" in caplog.messages
    monkeypatch.setattr("jobs.reading.inputs.FILE_FILTERS", frozenset())
    with pytest.raises(ConfigurationError, match=r"b\.log: it exists, but Spark does not find it"):
        read("json", tmp_path, pathGlobFilter="*.json")


@pytest.mark.parametrize("option", ["recursiveFileLookup", "ignoreCorruptFiles", "ignoreMissingFiles", "basePath"])
def test_options_that_lose_files_are_refused(spark: SparkSession, option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{option} is set by the job itself"):
        mapping_of(spark, "json", **{option: "true"})


def test_archives_are_found_however_deep(read: Read, tmp_path: Path) -> None:
    write_logs(tmp_path, "a/b/c.json", "a/b/d.tar.gz")
    with pytest.raises(ConfigurationError, match=r"a/b/d\.tar\.gz: is an archive"):
        read("json", tmp_path)


def test_source_files_are_named_by_their_uri(read: Read, tmp_path: Path) -> None:
    write_logs(tmp_path, "a.json")
    assert [row[SOURCE_FILE] for row in read("json", tmp_path).collect()] == [f"file:{tmp_path}/a.json"]
