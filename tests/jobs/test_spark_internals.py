"""What jobs/spark_internals promises, on each version of Spark; and that no other file reaches into Spark."""

from __future__ import annotations

import gzip
import logging
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from py4j import java_gateway
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.spark_internals import catalyst, context, errors, gateway, hadoop
from tests.jobs.processes import ROOT

PACKAGES = ("jobs", "transforms", "expectations", "delivery")
INTERNALS = re.compile(
    r"py4j|\b_(jvm|jdf|jsc|jc|jconf|jsparkSession|gateway|active_spark_context|ensure_initialized|origin)\b"
    r"|java_exception|queryExecution|executedPlan|collectLeaves|LogicalRelation|sessionState|\.classic\b"
    r"|from pyspark[\w.]* import .*\b_[a-z]|pyspark[\w.]*\._[a-z]|org\.apache\.spark|sun\.misc|SparkSession\.active\("
)


def test_no_other_file_of_the_product_reaches_into_spark() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert len(files) > 100
    found = [
        f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
        for file in files
        if "spark_internals" not in file.parts
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if INTERNALS.search(line.replace("jobs.spark_internals", ""))
    ]
    assert not found, "\n".join(found)


def test_the_search_finds_what_there_is_inside() -> None:
    inside = {file.name: file.read_text() for file in (ROOT / "jobs" / "spark_internals").glob("*.py")}
    assert {name for name, text in inside.items() if INTERNALS.search(text)} == set(inside)


def test_signals_are_listened_to_without_an_import_of_pyspark() -> None:
    script = "import sys, jobs.cli.early_signals; print([name for name in sys.modules if name.startswith('pyspark')])"
    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


# --- gateway


def test_the_jvms_signals_are_heard_and_given_back(spark: SparkSession) -> None:
    jvm, heard, over = context.launched_jvm(), threading.Event(), threading.Event()
    signals = gateway.JvmSignals(jvm)
    listener = threading.Thread(target=signals.pass_on, args=(heard.set, over))
    listener.start()
    try:
        jvm_signal = jvm.sun.misc.Signal
        getattr(jvm_signal, "raise")(jvm_signal("TERM"))
        assert heard.wait(60)
    finally:
        over.set()
        listener.join(60)
    assert not listener.is_alive() and spark.range(1).count() == 1


def test_the_connections_own_log_lines_are_known() -> None:
    own, other = (logging.LogRecord("any", 50, file, 1, "", (), None) for file in (java_gateway.__file__, __file__))
    assert gateway.is_gateway_log(own) and not gateway.is_gateway_log(other)


# --- context


def test_the_jvm_is_started_once(spark: SparkSession) -> None:
    before = context.launched_jvm()
    context.start_jvm()
    assert before is not None and context.launched_jvm() is before


def test_a_session_of_connect_is_known() -> None:
    assert not context.is_classic(SimpleNamespace())  # type: ignore[arg-type] - as Connect's, it has no such attribute


def test_jobs_are_cancelled_from_any_thread(spark: SparkSession) -> None:
    failures: list[BaseException] = []

    def wait_for_ever() -> None:
        try:
            spark.sparkContext.parallelize([0], 1).foreach(lambda _: time.sleep(3600))
        except Exception as failure:
            failures.append(failure)

    waiting = threading.Thread(target=wait_for_ever)
    waiting.start()
    while waiting.is_alive():
        context.cancel_jobs()
        waiting.join(0.2)
    assert len(failures) == 1 and any("cancelled" in words for words in errors.java_messages(failures[0]))


def test_the_progress_bar_is_stopped_where_there_is_one(spark: SparkSession) -> None:
    assert context.is_classic(spark)
    context.stop_console_progress(spark)


def test_settings_that_somebody_has_set_are_listed(spark: SparkSession) -> None:
    key = "spark.sql.legacy.sizeOfNull"
    assert key not in context.set_keys(spark)
    spark.conf.set(key, "true")
    assert key in context.set_keys(spark)
    spark.conf.unset(key)


def test_groups_are_counted_as_java_counts_them(spark: SparkSession) -> None:
    assert context.count_pattern_groups(spark, r"(?<ip>\S+) (?:x)(y|(z))\Q(\E") == 3
    with pytest.raises(ValueError, match="is not a Java regular expression: "):
        context.count_pattern_groups(spark, "(")


# --- errors


def test_an_error_says_what_is_wrong_on_one_line(spark: SparkSession) -> None:
    with pytest.raises(errors.SPARK_ERRORS) as raised:
        spark.range(1).select(F.expr("nosuch + 1"))
    words = errors.in_words(raised.value)
    assert "`nosuch`" in words and not re.search(r"\n|SQLSTATE|^\[", words)


def test_the_messages_of_java_are_found_behind_an_error(spark: SparkSession) -> None:
    with pytest.raises(errors.SPARK_ERRORS) as raised:
        spark.range(1).select(F.raise_error(F.lit("no such luck"))).collect()
    assert any("no such luck" in message for message in errors.java_messages(raised.value))
    assert list(errors.java_messages(ValueError())) == []


def test_what_pyspark_has_no_class_for_has_words_too(spark: SparkSession) -> None:
    with pytest.raises(errors.JavaError) as raised:
        context.launched_jvm().java.lang.Class.forName("no.such.Class")
    assert errors.in_words(raised.value) == "no.such.Class"


# --- hadoop


@pytest.fixture
def files(spark: SparkSession) -> hadoop.HadoopFileSystem:
    return hadoop.HadoopFileSystem(spark)


def test_files_are_written_listed_read_and_deleted(files: hadoop.HadoopFileSystem, tmp_path: Path) -> None:
    folder = str(tmp_path / "a" / "b")
    files.make_folder(folder)
    files.write(f"{folder}/x.txt", b"one", overwrite=False)
    with pytest.raises(OSError, match=r"x\.txt"):
        files.write(f"{folder}/x.txt", b"two", overwrite=False)
    files.write(f"{folder}/x.txt", b"three", overwrite=True)
    assert (Path(folder) / "x.txt").read_bytes() == files.read_content(f"{folder}/x.txt") == b"three"
    assert files.read_content(f"{folder}/x.txt", 2) == b"th"
    whole = hadoop.FileStatus(f"file:{folder}/x.txt", is_folder=False, size=5)
    assert [*files.statuses(folder), *files.files_below(str(tmp_path))] == [whole, whole]
    assert files.status(f"{folder}/x.txt") == whole and files.status(f"{folder}/y") is None
    assert files.folders(str(tmp_path / "a")) == ["b"] and files.children(folder) == ["x.txt"]
    assert files.children(f"{folder}/x.txt") == files.folders(f"{folder}/none") == []
    assert files.sizes(folder) == {"x.txt": 5} and set(files.sizes(folder, checked=False)) == {"x.txt", ".x.txt.crc"}
    assert files.times(folder)["x.txt"] == int((Path(folder) / "x.txt").stat().st_mtime * 1000)
    files.delete(str(tmp_path / "a"))
    assert not files.exists(folder) and not (tmp_path / "a").exists()


def test_a_file_that_differs_from_its_checksums_is_told_apart(files: hadoop.HadoopFileSystem, tmp_path: Path) -> None:
    path = tmp_path / "x"
    files.write(str(path), b"as it was", overwrite=False)
    path.write_bytes(b"as it is!")
    with pytest.raises(hadoop.ChecksumError):
        files.read_content(str(path))
    assert files.keeps_checksums(str(path)) and files.read_content(str(path), checked=False) == b"as it is!"


def test_a_missing_file_is_an_error_that_names_it(files: hadoop.HadoopFileSystem, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="FileNotFoundException") as raised:
        files.read_content(str(tmp_path / "none"))
    assert str(tmp_path / "none") in str(raised.value) and not isinstance(raised.value, hadoop.ChecksumError)
    with pytest.raises(OSError, match="nosuch"):
        files.exists("nosuch://x/y")


def test_paths_and_globs_mean_what_they_mean_to_spark(files: hadoop.HadoopFileSystem, tmp_path: Path) -> None:
    assert files.local_path(f"file://{tmp_path}/a b") == f"{tmp_path}/a b"
    assert files.glob_components("/a/{b,c/d}") == [["", "a", "b"], ["", "a", "c", "d"]]
    pattern = files.glob_pattern("a[0-9]*")
    assert pattern is not None and pattern.fullmatch("a7x") and not pattern.fullmatch("ax")
    assert files.glob_pattern("plain") is None


def test_bytes_are_read_as_spark_reads_them(files: hadoop.HadoopFileSystem, tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"hello"))
    assert files.read_decompressed(str(tmp_path / "x.gz"), 4) == b"hell"
    assert files.decode(b"\x82\xa0", "x-SJIS_0213") == "\u3042"  # an encoding that Python knows by no such name
    assert files.writes_utf8_names() in (True, False)
    with pytest.raises(OSError, match="text in nosuch"):
        files.decode(b"", "nosuch")


# --- catalyst


@pytest.fixture
def rows(spark: SparkSession) -> DataFrame:
    return spark.range(3).selectExpr("id", "CAST(id AS STRING) AS name", "CAST(NULL AS STRING) AS _fault")


def test_an_expression_that_raises_is_null(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(1000,), (99999999999999999,)], "at BIGINT")
    expressions = catalyst.CatalystExpressions(spark)
    found = rows.select(expressions.null_on_error("timestamp_millis(at)").cast("string")).collect()
    assert [row[0] for row in found] == ["1970-01-01 00:00:01", None]
    with pytest.raises(errors.SPARK_ERRORS):
        rows.select(F.expr("timestamp_millis(at)")).collect()
    with pytest.raises(PySparkException):
        expressions.null_on_error("at +")


def test_ddl_is_read_as_createdataframe_reads_it(spark: SparkSession) -> None:
    for text in ("a STRING, b ARRAY<INT>", "struct<a: STRING>", "`odd name` DECIMAL(10,3)"):
        assert catalyst.parse_ddl(text) == spark.createDataFrame([], text).schema
    with pytest.raises(PySparkException):
        catalyst.parse_ddl("a STRNG")


def test_grammar_is_checked_without_columns(spark: SparkSession) -> None:
    catalyst.parse("nosuch + 1", spark)
    with pytest.raises(PySparkException):
        catalyst.parse("nosuch +", spark)


def test_functions_and_stars_are_found(spark: SparkSession) -> None:
    text = "Upper(concat(name, x.y(1))) || filter(array(1), x -> lower(x) = 'a')"
    found = {name for name in catalyst.functions_of(text, spark) if name.isidentifier() or "." in name}
    assert found == {"upper", "concat", "x.y", "filter", "array", "lower"}
    assert catalyst.has_star("struct(*)", spark) and not catalyst.has_star("2 * 3", spark)


@pytest.mark.parametrize(
    ("text", "row_by_row", "columns_alone"),
    [
        ("upper(name)", True, True),
        ("nullif(name, 'x')", True, True),
        ("transform(array(id), x -> x + pi())", True, True),
        ("rand()", True, False),
        ("current_timestamp()", True, False),
        ("input_file_name()", True, False),
        ("current_user()", True, False),
        ("max(name)", False, None),
        ("explode(array(1))", False, None),
        ("lag(name) OVER (ORDER BY id)", False, None),
    ],
)
def test_what_an_expression_depends_on_is_told(
    rows: DataFrame, text: str, row_by_row: bool, columns_alone: bool | None
) -> None:
    selected = rows.select(F.expr(text))
    assert catalyst.is_row_by_row(selected, rows) == row_by_row
    if columns_alone is not None:
        assert catalyst.uses_columns_alone(selected) == columns_alone


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("TIMESTAMP 'now'", True),
        ("CAST('today' AS DATE)", True),
        ("TIMESTAMP '2024-01-02 00:00:00'", False),
        ("CAST('2024-01-02' AS DATE)", False),
        ("'now'", False),
    ],
)
def test_words_for_the_time_of_the_run_are_found(
    spark: SparkSession, rows: DataFrame, text: str, expected: bool
) -> None:
    assert catalyst.has_time_word(text, rows.select(F.expr(text)), spark) == expected


def test_constants_are_folded_without_a_job(spark: SparkSession) -> None:
    one = spark.sql("SELECT 1")
    catalyst.fold_constants(one.select(F.expr("upper('x')")))
    with pytest.raises(errors.SPARK_ERRORS):
        catalyst.fold_constants(one.select(F.expr("to_utc_timestamp('2024-01-02', 'Europe/Berlon')")))


@pytest.fixture
def parquet(spark: SparkSession, tmp_path: Path) -> tuple[DataFrame, list[Path]]:
    spark.range(1000).repartition(3).write.parquet(str(tmp_path / "a b"))
    return spark.read.parquet(str(tmp_path / "a b")), sorted((tmp_path / "a b").glob("*.parquet"))


def test_the_files_of_a_plan_are_told_with_their_bytes(
    spark: SparkSession, parquet: tuple[DataFrame, list[Path]]
) -> None:
    frame, files = parquet
    uris: Any = catalyst.input_file_uris(frame)
    assert len(uris) == len(files) == 3
    assert sorted(uris) == [f"file://{file}".replace(" ", "%20") for file in files]
    size = sum(file.stat().st_size for file in files)
    assert catalyst.input_bytes(frame) == size
    assert catalyst.input_bytes(frame.union(frame.where("id > 3"))) == 2 * size
    assert catalyst.input_bytes(spark.range(3)) == 0
