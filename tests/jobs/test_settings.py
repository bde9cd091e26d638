"""No setting of Spark changes a row: all that there are, each set to something else, and the same batch comes out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.cli.session import SETTINGS
from tests.jobs.settings_rows import rows, write_inputs
from tests.jobs.settings_tried import OTHERS, STATIC, culprits, outcome, rounds, set_to, static_of, tried


@pytest.mark.sweep
def test_whatever_spark_is_set_to_the_rows_stay_the_same(spark: SparkSession, tmp_path: Path) -> None:
    build = outcome(spark, tmp_path)
    sound = build({})
    assert len(sound) > 100 and not any(line.startswith("failed") for line in sound), sound[:1]
    told = [line for together in rounds(tried(spark), groups=2) for line in culprits(together, build, sound)]
    assert not told, "\n".join(told)


def test_each_setting_is_tried_or_there_is_a_word_on_why_not(spark: SparkSession) -> None:
    silent = [key for key, values in tried(spark).items() if not values]
    assert not silent, f"give values in TEXTS, or reasons in OTHERS: {silent}"
    untold = [key for key in static_of(spark) if not any(re.fullmatch(pattern, key) for pattern in STATIC)]
    assert not untold, f"give reasons in STATIC: {untold}"


def test_the_table_of_other_settings_names_none_that_is_pinned() -> None:
    assert not [key for key in SETTINGS for pattern in OTHERS if re.fullmatch(pattern, key)]


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spark.sql.jsonGenerator.ignoreNullFields", "false"),
        ("spark.sql.timestampType", "TIMESTAMP_NTZ"),
        ("spark.sql.caseSensitive", "true"),
        ("spark.sql.parser.escapedStringLiterals", "true"),
        ("spark.sql.legacy.sizeOfNull", "false"),
    ],
)
def test_the_batch_can_tell_a_setting_that_is_not_held(
    spark: SparkSession, tmp_path: Path, key: str, value: str
) -> None:
    """The proof that equal rows mean something: set behind the job's back, the setting changes them."""
    inputs = write_inputs(tmp_path / "in")
    sound = rows(spark, inputs, tmp_path / "out")
    with set_to(spark, {}):
        spark.conf.set(key, value)
        try:
            try:
                found = rows(spark, inputs, tmp_path / "out")
            except Exception:
                found = []
        finally:
            spark.conf.set(key, SETTINGS[key]) if key in SETTINGS else spark.conf.unset(key)
    assert found != sound


def test_lines_are_read_whole_however_short_hadoop_is_told_to_cut_them(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("short\n" + "long" * 1_000 + "\n")
    with set_to(spark, {"mapreduce.input.linerecordreader.line.maxlength": "100"}):
        assert spark.read.text(str(tmp_path / "log.txt")).count() == 2
