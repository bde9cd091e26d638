"""build_events as its users meet it: formats, reruns, gates, and mistakes told in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chispa import assert_df_equality
from pyspark import __version__ as spark_version
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

EVENT = """
[event]
eventType  = "kind"
sentAt     = "timestamp_seconds(at)"
visitorId  = "who"
eventValue = "price"
"""
COLUMNS = "who STRING, kind STRING, at BIGINT, price DOUBLE"
ROWS = [("v1", "view", 1704067200, None), ("v1", "buy", 1704067260, 9.5), ("v2", "view", 1704067200, None)]


def source(kind: str, options: str = "{}") -> str:
    return f'[source]\nformat = "{kind}"\nschema = "{COLUMNS}"\noptions = {options}\n{EVENT}'


@pytest.fixture
def mapping(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "mapping.toml"
        path.write_text(text)
        return path

    return write


def table(spark: SparkSession, lake: Path, name: str) -> Any:
    return spark.read.parquet(str(lake / name))


def write_json(folder: Path, *records: object) -> Path:
    folder.mkdir(exist_ok=True)
    text = "\n".join(record if isinstance(record, str) else json.dumps(record) for record in records)
    (folder / "log.jsonl").write_text(text + "\n")
    return folder


def good(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"who": f"v{n}", "kind": "view", "at": 1704067200 + n} for n in range(start, start + count)]


@pytest.mark.parametrize("kind", ["json", "csv", "tsv", "parquet", "orc", "text", "json array", "utf-16 csv"])
def test_every_format_gives_the_same_events(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path], kind: str
) -> None:
    raw = tmp_path / "raw"
    rows = spark.createDataFrame(ROWS, COLUMNS).coalesce(1)
    if kind == "json":
        rows.write.json(str(raw))
        text = source("json")
    elif kind == "csv":
        rows.write.csv(str(raw), header=True)
        text = source("csv", '{ header = "true" }')
    elif kind == "tsv":
        rows.write.csv(str(raw), sep="\t")
        text = source("csv", '{ sep = "\\t" }')
    elif kind in ("parquet", "orc"):
        rows.write.format(kind).save(str(raw))
        text = source(kind)
    elif kind == "text":
        rows.select(F.format_string("%s did %s at %s for %s", *rows.columns)).write.text(str(raw))
        text = (
            "[source]\nformat = 'text'\n"
            "pattern = '^(?<who>\\S+) did (?<kind>\\S+) at (?<at>\\d+) for (?<price>\\S+)$'\n"
            + EVENT.replace("(at)", "(CAST(at AS BIGINT))").replace('"price"', '"CAST(price AS DOUBLE)"')
        )
    elif kind == "json array":
        raw.mkdir()
        names = ("who", "kind", "at", "price")
        (raw / "log.json").write_text(json.dumps([dict(zip(names, row, strict=True)) for row in ROWS], indent=2))
        text = source("json", '{ multiLine = "true" }')
    else:
        raw.mkdir()
        lines = [",".join("" if value is None else str(value) for value in row) for row in ROWS]
        (raw / "log.csv").write_text("\n".join(lines), encoding="utf-16-le")
        text = source("csv", '{ encoding = "UTF-16LE", multiLine = "true" }')
    ended = build(raw, mapping=mapping(text))
    assert (ended.code, ended.summary["read"], ended.summary["events"]) == (0, 3, 3)
    actual = table(spark, lake, "events").select(
        "visitorId", "eventType", F.unix_seconds("sentAt").alias("at"), "eventValue"
    )
    expected = spark.createDataFrame(ROWS, "visitorId STRING, eventType STRING, at BIGINT, eventValue DOUBLE")
    assert_df_equality(actual, expected, ignore_row_order=True)


def test_the_tables_have_the_columns_that_users_were_promised(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    build(write_json(tmp_path / "raw", *good(1), "{"), mapping=mapping(source("json")))
    assert table(spark, lake, "events").dtypes == [
        ("userId", "string"),
        ("visitorId", "string"),
        ("sessionId", "string"),
        ("eventId", "string"),
        ("eventType", "string"),
        ("eventValue", "double"),
        ("itemId", "string"),
        ("impression", "array<string>"),
        ("properties", "map<string,string>"),
        ("recommendationId", "string"),
        ("eventAttributionSource", "string"),
        ("sentAt", "timestamp"),
        ("sourceFile", "string"),
        ("batch", "string"),
        ("runId", "string"),
    ]
    refused = table(spark, lake, "quarantine").collect()[0]
    assert (refused.stage, refused.record, refused.batch) == ("read", "{", "2024-01-02")
    assert [reason.code for reason in refused.reasons] == ["malformed_record"]
    assert refused.sourceFile.endswith("raw/log.jsonl") and refused.ruleSet and refused.runId


def test_a_refused_candidate_keeps_its_record_whole_and_every_reason(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    record = '{"who": "undefined",  "at": null, "unknown": [1, 2]}'
    ended = build(write_json(tmp_path / "raw", record), mapping=mapping(source("json")))
    refused = table(spark, lake, "quarantine").collect()[0]
    assert (refused.stage, refused.record) == ("validate", record)
    assert [(reason.code, reason.field) for reason in refused.reasons] == [
        ("identity_missing", None),
        ("eventType_missing", "eventType"),
        ("sentAt_missing", "sentAt"),
    ]
    assert ended.summary["reasons"] == {"eventType_missing": 1, "identity_missing": 1, "sentAt_missing": 1}


def test_a_rerun_replaces_its_batch_and_touches_no_other(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    form = mapping(source("json"))
    build(write_json(tmp_path / "one", *good(3), "{"), mapping=form, batch="2024-01-01")
    alone = ("--look-back", "0")  # the same events as those of the day before
    build(write_json(tmp_path / "two", *good(5)), mapping=form, batch="2024-01-02", more=alone)
    build(write_json(tmp_path / "one", *good(2)), mapping=form, batch="2024-01-01")
    counts = {row["batch"]: row["count"] for row in table(spark, lake, "events").groupBy("batch").count().collect()}
    assert counts == {"2024-01-01": 2, "2024-01-02": 5}
    assert table(spark, lake, "quarantine").count() == 0
    at_rest = spark.read.parquet(str(lake / "events")).groupBy("batch").count().collect()
    assert {str(row["batch"]): row["count"] for row in at_rest} == counts


def test_a_batch_of_which_most_is_refused_fails_its_gate(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    folder = write_json(tmp_path / "raw", *good(500), *["{"] * 600)
    ended = build(folder, mapping=mapping(source("json")))
    assert (ended.code, ended.summary["gate"], ended.summary["exitCode"]) == (3, "failed", 3)
    assert "malformed_record: 600 of 1,100 candidates (54.55 %), fails above 25 %" in ended.said[0]
    assert "quarantined: 600 of 1,100 candidates (54.55 %), fails above 50 %" in ended.said[1]
    assert f"{lake}/quality/batches/2024-01-02.html shows why" in ended.said[-1]
    assert table(spark, lake, "quarantine").count() == 600
    assert not list((lake / "events").rglob("*.parquet"))


def test_an_event_of_tomorrow_is_refused_as_of_today(
    build: Any, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    folder = write_json(tmp_path / "raw", *good(1))  # sent at 2024-01-01T00:00:00Z
    as_of = "2023-12-30T23:59:59Z"
    assert build(folder, mapping=mapping(source("json")), more=("--as-of", as_of)).summary["reasons"] == {
        "sentAt_in_future": 1
    }


def test_a_longer_session_gap_joins_what_the_usual_one_cuts(
    build: Any, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    times = [{"who": "v", "kind": "view", "at": 1704067200 + minutes * 60} for minutes in (0, 40)]
    folder, form = write_json(tmp_path / "raw", *times), mapping(source("json"))
    assert build(folder, mapping=form).summary["sessions"] == 2
    assert build(folder, mapping=form, more=("--session-gap", "40m")).summary["sessions"] == 1


@pytest.mark.parametrize("kind", ["empty folder", "empty file", "blank lines", "header alone"])
def test_an_empty_input_fails_its_gate_unless_it_may_be_empty_with_zeros_either_way(
    build: Any, tmp_path: Path, mapping: Callable[[str], Path], kind: str, may_be_empty: tuple[str, ...]
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    texts = {"empty file": "", "blank lines": "\n \n", "header alone": "who,kind,at,price\n"}
    if kind in texts:
        (raw / "log").write_text(texts[kind])
    form = mapping(source("csv", '{ header = "true" }' if "header" in kind else "{}"))
    for more, code in (((), 3), (may_be_empty, 0)):
        ended = build(raw, mapping=form, more=more)
        assert (ended.code, ended.summary["events"], ended.summary["candidates"]) == (code, 0, 0)
        assert ended.summary["read"] == ended.summary["filtered"] == (2 if kind == "blank lines" else 0)


@pytest.mark.parametrize("kind", ["parquet", "orc"])
def test_an_empty_folder_of_columnar_files_is_read_and_has_zeros(
    build: Any, tmp_path: Path, mapping: Callable[[str], Path], kind: str, may_be_empty: tuple[str, ...]
) -> None:
    (tmp_path / "raw").mkdir()
    ended = build(tmp_path / "raw", mapping=mapping(source(kind)), more=may_be_empty)
    assert (ended.code, ended.summary["read"]) == (0, 0)


def test_a_columnar_value_that_does_not_convert_is_quarantined_with_its_record(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    rows = [("v1", "view", "1704067200"), ("v2", "view", "soon")]
    spark.createDataFrame(rows, "who STRING, kind STRING, at STRING").write.parquet(str(tmp_path / "raw"))
    text = source("parquet").replace("options = {}", 'optional = ["price"]')
    ended = build(tmp_path / "raw", mapping=mapping(text))
    assert (ended.summary["events"], ended.summary["reasons"]) == (1, {"schema_mismatch": 1})
    record = json.loads(table(spark, lake, "quarantine").collect()[0].record)
    assert record == {"who": "v2", "kind": "view", "at": "soon"}


def test_one_bad_value_in_any_field_fails_no_job(build: Any, tmp_path: Path, mapping: Callable[[str], Path]) -> None:
    strange = ["\x00", "\ud83d", "🛒" * 300, "1e999", -1, 1.5, True, [], {}, [[]], "2024-13-45", 10**30, None]
    records = [{**good(1)[0], field: value} for field in ("who", "kind", "at", "price") for value in strange]
    folder, lenient = write_json(tmp_path / "raw", *records), ("--on-gate-failure", "warn")
    ended = build(folder, mapping=mapping(source("json")), more=lenient)
    assert ended.code == 0
    events, quarantined = ended.summary["events"], ended.summary["quarantined"]
    assert events + quarantined == len(records) and min(events, quarantined) > 0


def test_compressed_files_and_globs_are_read(build: Any, tmp_path: Path, mapping: Callable[[str], Path]) -> None:
    import gzip  # noqa: PLC0415 - this test alone needs it

    for hour in (1, 2, 3):
        with gzip.open(tmp_path / f"h{hour}.jsonl.gz", "wt") as file:
            file.write("".join(json.dumps(record) + "\n" for record in good(2, start=hour * 10)))
    ended = build(tmp_path / "h[12].jsonl.gz", tmp_path / "h3*", mapping=mapping(source("json")))
    assert ended.summary["events"] == 6


def test_a_torn_gzip_file_is_the_users_to_mend(
    lake: Path, build: Any, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    import gzip  # noqa: PLC0415 - this test alone needs it

    whole = gzip.compress("".join(json.dumps(record) + "\n" for record in good(5000)).encode())
    (tmp_path / "torn.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    ended = build(tmp_path / "torn.jsonl.gz", mapping=mapping(source("json")))
    assert ended.code == 2
    file = "a file" if spark_version.startswith("3.") else f"{tmp_path}/torn.jsonl.gz:"  # Spark 3 names no file
    assert ended.said[0].replace("--input: ", "--input ") == (
        f"--input {file} cannot be read: it is damaged or cut short: copy it again"
    )
    assert not list((lake / "events").rglob("*.parquet"))


def test_columns_that_a_header_names_at_another_place_are_found_there(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    (tmp_path / "a.csv").write_text("kind,who,at,price\nview,v1,1704067200,\n")
    (tmp_path / "b.csv").write_text("price,at,more,who,Kind\n9.5,1704067201,x,v2,buy\n")
    ended = build(tmp_path / "[ab].csv", mapping=mapping(source("csv", '{ header = "true" }')))
    assert ended.code == 0
    rows = table(spark, lake, "events").select("visitorId", "eventType", "eventValue").collect()
    assert sorted(map(tuple, rows)) == [("v1", "view", None), ("v2", "buy", 9.5)]


def test_headers_in_other_letters_are_taken_out_wherever_they_stand(
    build: Any, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    (tmp_path / "a.csv").write_text("\nWHO,Kind,At,Price\nv1,view,1704067200,\nWHO,Kind,At,Price\n")
    (tmp_path / "b.csv").write_text("\ufeffwho,kind,at,price\r\nv2,view,1704067200,\r\n")
    ended = build(tmp_path / "[ab].csv", mapping=mapping(source("csv", '{ header = "true" }')))
    assert (ended.code, ended.summary["read"], ended.summary["filtered"], ended.summary["events"]) == (0, 3, 1, 2)


def test_what_a_json_file_holds_after_its_first_value_is_not_lost(
    build: Any, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    (tmp_path / "log.json").write_text("\n".join(json.dumps(record) for record in good(3)))
    ended = build(tmp_path / "log.json", mapping=mapping(source("json", '{ multiLine = "true" }')))
    words = 'has more than one JSON value: set [source] framing = "lines"'
    assert (ended.code, ended.said) == (2, [f"--input {tmp_path}/log.json: {words}"])


def test_folders_are_read_with_all_that_is_below_them(
    spark: SparkSession, build: Any, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    (tmp_path / "raw" / "host1" / "02").mkdir(parents=True)
    write_json(tmp_path / "raw" / "host1" / "02", *good(2))
    write_json(tmp_path / "raw", *good(1, start=5))
    assert build(tmp_path / "raw", mapping=mapping(source("json"))).summary["events"] == 3
    rows = spark.createDataFrame(ROWS, COLUMNS)
    rows.write.parquet(str(tmp_path / "columnar" / "host1"))
    assert build(tmp_path / "columnar", mapping=mapping(source("parquet"))).summary["events"] == 3


def test_parquet_files_of_different_columns_are_read_each_with_its_own(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    full = spark.createDataFrame(ROWS, COLUMNS).coalesce(1)
    full.drop("price").write.parquet(str(tmp_path / "raw"))
    full.write.mode("append").parquet(str(tmp_path / "raw"))
    build(tmp_path / "raw", mapping=mapping(source("parquet")))
    assert table(spark, lake, "events").where("eventValue = 9.5").count() == 1


def test_a_number_beyond_any_time_is_refused_alone(build: Any, tmp_path: Path, mapping: Callable[[str], Path]) -> None:
    folder = write_json(tmp_path / "raw", *good(2), {**good(1)[0], "at": 99999999999999999})
    ended = build(folder, mapping=mapping(source("json")))
    assert (ended.code, ended.summary["events"], ended.summary["reasons"]) == (0, 2, {"sentAt_missing": 1})


def test_what_two_expressions_share_fails_no_job_either(
    build: Any, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    shared = source("json") + '[event.properties]\nhour = "hour(timestamp_seconds(at))"\n'
    where = shared.replace("[event]", '[record]\nwhere = "timestamp_seconds(at) > timestamp_seconds(0)"\n[event]', 1)
    folder = write_json(tmp_path / "raw", *good(2), {**good(1)[0], "at": 9223372036854775807})
    ended = build(folder, mapping=mapping(shared))
    assert (ended.code, ended.summary["events"], ended.summary["reasons"]) == (0, 2, {"sentAt_missing": 1})
    ended = build(folder, mapping=mapping(where))
    assert (ended.code, ended.summary["events"], ended.summary["filtered"]) == (0, 2, 1)


def test_bytes_that_are_no_utf_8_become_text_that_everybody_can_read(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    (tmp_path / "log").write_bytes(b"a\xff\xfeb\nplain\n")
    form = mapping("""
[source]
format = "text"
[event]
eventType = "'view'"
sentAt = "timestamp_seconds(1704067200)"
visitorId = "_raw"
""")
    assert build(tmp_path / "log", mapping=form).summary["events"] == 2
    visitors = {row.visitorId for row in table(spark, lake, "events").collect()}
    assert visitors == {"a\ufffd\ufffdb", "plain"}


def test_a_latin_1_log_keeps_its_letters(
    spark: SparkSession, build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    (tmp_path / "log.csv").write_bytes("café,view,1704067200,\n".encode("latin-1"))
    build(tmp_path / "log.csv", mapping=mapping(source("csv", '{ encoding = "ISO-8859-1" }')))
    assert [row.visitorId for row in table(spark, lake, "events").collect()] == ["café"]


def test_a_name_with_a_globs_letters_is_a_name(build: Any, tmp_path: Path, mapping: Callable[[str], Path]) -> None:
    write_json(tmp_path, *good(2))
    (tmp_path / "log.jsonl").rename(tmp_path / "log[1].jsonl")
    assert build(tmp_path / "log[1].jsonl", mapping=mapping(source("json"))).summary["events"] == 2


@pytest.mark.parametrize(
    ("name", "content", "kind", "words"),
    [
        ("log.zip", b"PK", "json", "is an archive, which Spark cannot read"),
        ("log.csv.gz", b"no gzip", "csv", "its name ends in .gz, but it is plain text"),
        ("log.parquet", b"no parquet", "parquet", "is plain text, and the mapping's format is Parquet"),
        ("log.orc", b"no orc", "orc", "is plain text, and the mapping's format is ORC"),
    ],
)
def test_a_file_that_is_not_what_it_is_called_is_the_users_to_mend(
    build: Any, tmp_path: Path, mapping: Callable[[str], Path], name: str, content: bytes, kind: str, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    ended = build(tmp_path / name, mapping=mapping(source(kind, '{ header = "true" }' if kind == "csv" else "{}")))
    assert ended.code == 2
    assert len(ended.said) == 1 and words in ended.said[0]


def test_every_missing_input_is_named(build: Any, tmp_path: Path, mapping: Callable[[str], Path]) -> None:
    ended = build(tmp_path / "a", tmp_path / "b*.json", mapping=mapping(source("json")))
    assert ended.code == 2
    assert ended.said == [f"--input {tmp_path / name}: there is nothing there" for name in ("a", "b*.json")]


def test_a_lake_that_cannot_be_written_is_named(
    spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str], mapping: Callable[[str], Path]
) -> None:
    from jobs.build_events import main  # noqa: PLC0415 - the fixture gives a lake of its own

    (tmp_path / "file").write_text("")
    argv = ["--input", str(tmp_path), "--mapping", str(mapping(source("json")))]
    assert main([*argv, "--lake", str(tmp_path / "file" / "lake"), "--batch", "b"]) == 2
    out, err = capfd.readouterr()
    assert "cannot be written" in err and "Traceback" not in err
    assert json.loads(out.splitlines()[-1])["exitCode"] == 2


def test_faults_of_a_mapping_are_told_line_by_line_and_nothing_is_read(
    build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    form = mapping(source("json").replace('"kind"', '"knd"').replace("timestamp_seconds(at)", "at"))
    ended = build(write_json(tmp_path / "raw", *good(1)), mapping=form)
    assert ended.code == 2
    assert [line.split(": ")[0] for line in ended.said] == [f"{form}:7", f"{form}:8"]
    assert not (lake / "events").exists()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "the following arguments are required"),
        (["--batch", "a/b"], "is not a batch label"),
        (["--batch", "b", "--session-gap", "half an hour"], "is not a duration"),
        (["--batch", "b", "--as-of", "today"], "is not a time"),
        (["--batch", "b", "--colour", "red"], "unrecognized arguments"),
        (["--batch", "b", "--input", ""], "--input: must not be empty"),
        (["--batch", "b", "--mapping", ""], "--mapping: must not be empty"),
        (["--batch", "b", "--thresholds", ""], "--thresholds: must not be empty"),
        (["--batch", "b"], "--mapping nosuch: no such file, and no mapping of that name ships"),
    ],
)
def test_a_wrong_command_line_is_told_and_has_a_summary(
    spark: SparkSession, tmp_path: Path, capfd: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    from jobs.build_events import main  # noqa: PLC0415 - the fixture gives arguments of its own

    given = ["--input", "x", "--lake", str(tmp_path / "lake"), "--mapping", "nosuch", *argv] if argv else []
    assert main(given) == 2
    out, err = capfd.readouterr()
    assert words in err
    assert json.loads(out.splitlines()[-1])["exitCode"] == 2


def test_help_is_no_failure(capfd: pytest.CaptureFixture[str]) -> None:
    from jobs.build_events import main  # noqa: PLC0415 - the fixture gives arguments of its own

    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert left.value.code == 0
    assert "usage: build_events" in capfd.readouterr().out


def test_the_summary_has_the_promised_counters_and_is_kept_in_the_lake(
    build: Any, lake: Path, tmp_path: Path, mapping: Callable[[str], Path]
) -> None:
    summary = build(write_json(tmp_path / "raw", *good(1)), mapping=mapping(source("json"))).summary
    promised = "job batch runId read filtered candidates events quarantined duplicates sessions users requests reasons"
    assert set(f"{promised} gate seconds".split()) <= set(summary)
    kept = list((lake / "runs").rglob("*.json"))
    assert [json.loads(path.read_text()) for path in kept] == [summary]


def test_no_value_of_a_record_is_logged(
    spark: SparkSession, build: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], mapping: Callable[[str], Path]
) -> None:
    from jobs.build_events import main  # noqa: PLC0415 - the whole output is looked at, not the summary alone

    records = [{"who": "secret-visitor", "kind": "view", "at": "secret-time"}, '{"who": "secret-torn']
    folder = write_json(tmp_path / "raw", *records)
    argv = ["--input", str(folder), "--mapping", str(mapping(source("json"))), "--lake", str(tmp_path / "lake")]
    assert main([*argv, "--batch", "b"]) == 3
    assert "secret" not in "".join(capfd.readouterr())
