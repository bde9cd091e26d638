"""Files that are not what their names say: each is read rightly, or named with what to do."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet
import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.reading.mappings import MappingText, checked_mapping
from jobs.reading.sources import read_records

LINES = "".join(json.dumps({"who": f"v{n}"}) + "\n" for n in range(300)).encode()
TABLE = pa.table({"who": [f"v{n}" for n in range(300)]})


def mapping_text(kind: str, schema: str | None = "who STRING", options: str = "") -> str:
    return f"""
[source]
format = "{kind}"
{f'schema = "{schema}"' if schema else ""}
options = {{ {options} }}
[event]
eventType = "'view'"
sentAt    = "timestamp_seconds(1704067200)"
visitorId = "{"who" if schema else "_raw"}"
"""


Read = Callable[..., DataFrame]


@pytest.fixture
def read(spark: SparkSession, tmp_path: Path) -> Read:
    """Read all files of the test's folder, by default as lines of JSON."""

    def run(kind: str = "json", options: str = "", schema: str | None = "who STRING") -> DataFrame:
        mapping = checked_mapping(MappingText("test.toml", mapping_text(kind, schema, options)), spark)
        return read_records(spark, [str(tmp_path)], mapping)

    return run


def refusals(read: Callable[[], DataFrame]) -> list[str]:
    with pytest.raises(ConfigurationError) as ended:
        read()
    return list(ended.value.lines)


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("log.jsonl", LINES)
    return made.getvalue()


def tarred() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo("log.jsonl")
        member.size = len(LINES)
        archive.addfile(member, io.BytesIO(LINES))
    return made.getvalue()


def written(write: Callable[[pa.Table, io.BytesIO], None]) -> bytes:
    made = io.BytesIO()
    write(TABLE, made)
    return made.getvalue()


PARQUET = written(pyarrow.parquet.write_table)
ORC = written(pyarrow.orc.write_table)
AVRO = b"Obj\x01\x04\x16avro.schema\x0e" + b'"bytes"' + bytes(range(64))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("clicks-2024-01-02", gzip.compress(LINES), "is gzip, but its name does not end in .gz: rename it"),
        ("part.gzip", gzip.compress(LINES), "is gzip, but its name does not end in .gz"),
        ("access.log.gz.1", gzip.compress(LINES), "is gzip, but its name does not end in .gz"),
        ("log", bz2.compress(LINES), "is bzip2, but its name does not end in .bz2"),
        ("log.jsonl", zipped(), "is a zip archive, which Spark cannot read: unpack it"),
        ("log.txt", tarred(), "is a tar archive, which Spark cannot read: unpack it"),
        ("log.lzma", lzma.compress(LINES), "is xz, which Spark cannot read"),
        ("part-0", PARQUET, 'is Parquet, and the mapping\'s format is json: set [source] format = "parquet"'),
        ("part-0.json", ORC, 'is ORC, and the mapping\'s format is json: set [source] format = "orc"'),
        ("part-0.json", AVRO, 'is Avro, and the mapping\'s format is json: set [source] format = "avro"'),
        ("a.json.gz", LINES, "its name ends in .gz, but it is plain text: rename it"),
        ("a.json.gz", zipped(), "its name ends in .gz, but it is a zip archive: pack it as .gz, or"),
        ("a.json.gz", gzip.compress(gzip.compress(LINES)), "holds gzip within gzip: unpack it once"),
        ("a.gz", gzip.compress(tarred()), "holds a tar archive within gzip: unpack it once"),
        ("a.gz", gzip.compress(PARQUET), "is Parquet, and the mapping's format is json"),
        (
            "a.json.gz",
            gzip.compress(LINES)[:15],
            "is gzip, but cannot be unpacked: it is damaged or cut",
        ),
        ("a.json.bz2", LINES, "its name ends in .bz2, but it is plain text: rename it"),
        ("a.json.bz2", gzip.compress(LINES), "its name ends in .bz2, but it is gzip: rename it to end in .gz"),
        ("a.json.bz2", bz2.compress(LINES) + LINES, "does not end where its last bzip2 stream does"),
        ("a.json.bz2", bz2.compress(LINES)[:-20], "does not end where its last bzip2 stream does"),
        ("a.json.lz4", LINES, "its name ends in .lz4, but it is plain text: rename it"),
        ("a.json.lz4", pa.compress(LINES, "lz4", asbytes=True), "is not in Hadoop's blocks"),
        ("a.json.snappy", LINES, "its name ends in .snappy, but it is plain text: rename it"),
        ("a.json.zst", LINES, "its name ends in .zst, but it is plain text: rename it"),
        ("a.json.deflate", LINES, "its name ends in .deflate, but it is plain text: rename it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_not_what_its_name_says_is_named(
    read: Read, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    for number in range(4):
        (tmp_path / f"good-{number}.json").write_bytes(LINES)
    (tmp_path / name).write_bytes(content)
    (line,) = refusals(read)
    assert line.startswith(f"--input {tmp_path}/{name}: ")
    assert words in line


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.gz", gzip.compress(LINES) + gzip.compress(LINES), 600),
        ("a.gz", gzip.compress(b"") + gzip.compress(LINES), 300),
        ("a.gz", gzip.compress(b""), 0),
        ("LOG.GZ", gzip.compress(LINES), 300),
        ("a.bz2", bz2.compress(LINES), 300),
        ("a.bz2", bz2.compress(LINES) + bz2.compress(LINES), 600),
        ("a.bz2", bz2.compress(b""), 0),
        ("a.deflate", zlib.compress(LINES), 300),
        ("a.deflate", zlib.compress(LINES, 1), 300),
        ("PAR1.csv", b"PAR1,view\n" * 300, 300),
        ("ORC", b"ORC\n" * 300, 300),
        ("hive", b"ORC\x01a\x01b\n" * 300, 300),
        ("hive", b"Obj\x01a\x01b\n" * 300, 300),
        ("a.bz2", bz2.compress(b"") + bz2.compress(LINES) + bz2.compress(b""), 300),
        ("BZh9", b"BZh91 and more\n" * 300, 300),
        ("x^2", b"x^2 + 1\n" * 300, 300),
        ("zeros", bytes(64) + b"\n" + LINES, 301),
    ],
    ids=str,
)
def test_what_spark_reads_rightly_is_read(read: Read, tmp_path: Path, name: str, content: bytes, lines: int) -> None:
    (tmp_path / name).write_bytes(content)
    assert read("text", schema=None).count() == lines


def test_json_of_any_encoding_of_unicode_is_read_beside_others(read: Read, tmp_path: Path) -> None:
    text = LINES.decode()
    for encoding in ("utf-16", "utf-16-be", "utf-32-le"):
        (tmp_path / f"{encoding}.json").write_bytes(text.encode(encoding))
    (tmp_path / "packed.json.gz").write_bytes(gzip.compress(text.encode("utf-16-le")))
    assert read().where("_fault IS NULL").count() == 4 * 300
    (tmp_path / "plain.json").write_bytes(LINES)
    assert read().where("_fault IS NULL").count() == 5 * 300


def test_a_file_that_holds_nothing_once_it_is_unpacked_is_counted(
    read: Read, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b""))
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(LINES))
    with caplog.at_level("INFO"):
        assert read().count() == 300
    assert "--input: 1 files hold nothing once they are unpacked" in caplog.messages


def test_each_of_many_bad_files_is_named_at_once(read: Read, tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"{number:02}.json").write_bytes(gzip.compress(LINES) if number % 10 == 7 else LINES)
    assert [line.split(": ")[0][-7:] for line in refusals(read)] == ["07.json", "17.json", "27.json"]


def test_each_file_is_opened_once(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    read_start = FileSystem.read_start

    def counted(files: FileSystem, path: str, limit: int, *, decompressed: bool = True) -> bytes:
        opened.append(path)
        return read_start(files, path, limit, decompressed=decompressed)

    monkeypatch.setattr(FileSystem, "read_start", counted)
    (tmp_path / "a.json").write_bytes(LINES)
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(LINES))
    read()
    assert opened == [f"file:{tmp_path}/b.json.gz"]


@pytest.mark.parametrize("options", ['encoding = "UTF-16"', 'encoding = "UTF-16", multiLine = "true"'])
def test_a_csv_that_is_not_of_the_wide_encoding_that_the_mapping_says(read: Read, tmp_path: Path, options: str) -> None:
    (tmp_path / "a.csv").write_bytes(b"v1\nv2\n")
    (line,) = refusals(lambda: read("csv", options))
    assert line == f"--input {tmp_path}/a.csv: is not UTF-16, as [source] options encoding says"


@pytest.mark.parametrize("kind", ["parquet", "orc"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (LINES, "is plain text, and the mapping's format is "),
        (gzip.compress(LINES), "is gzip, and the mapping's format is "),
        (zipped(), "is a zip archive, and the mapping's format is "),
        (AVRO, "is Avro, and the mapping's format is "),
        ("torn", " does, so it is torn: copy it again"),
        ("other", ", and the mapping's format is "),
    ],
    ids=str,
)
def test_a_columnar_file_that_cannot_be_read_is_named_by_its_cause(
    read: Read, tmp_path: Path, kind: str, content: bytes | str, words: str
) -> None:
    whole, other = (PARQUET, ORC) if kind == "parquet" else (ORC, PARQUET)
    content = whole[:-9] if content == "torn" else other if content == "other" else content
    assert isinstance(content, bytes)
    (tmp_path / f"a.{kind}").write_bytes(whole)
    (tmp_path / f"b.{kind}").write_bytes(content)
    (line,) = refusals(lambda: read(kind))
    assert line.startswith(f"--input {tmp_path}/b.{kind}: ")
    assert words in line
