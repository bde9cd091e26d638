"""A bounded look at the files of a log: the start of some of them, over their whole range."""

from __future__ import annotations

import codecs
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.drafting.log_sample import FileStart, LogSample, sample_log
from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.spark_internals.errors import SPARK_ERRORS, in_words
from transforms.parsing import RECORD_JSON

_MOST_FILES: Final = 12
_START: Final = 256 * 1024
"""Bytes of each."""
_MOST_ROWS: Final = 2_000
_COLUMNAR: Final = {b"PAR1": "parquet", b"ORC": "orc"}
"""By what files begin with."""
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8", None),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
"""By its mark, an encoding as Python calls it, and as the option of Spark's reader; None where it needs none."""

log = logging.getLogger(__name__)


def look_at(spark: SparkSession, files: Sequence[str], kind: str | None) -> LogSample | None:
    """Look at the starts of some files; None where they hold nothing of a form that shows itself.

    Args:
        spark: opens them.
        files: by path.
        kind: their format, where somebody has said it.

    Raises:
        ConfigurationError: they cannot be read.
    """
    chosen = choose_files(files)
    store = FileSystem(spark)
    try:
        first = store.read_start(chosen[0], 4, decompressed=False) if chosen else b""
        columnar = next((name for sign, name in _COLUMNAR.items() if first.startswith(sign)), None)
        if columnar and kind in (None, columnar):
            return _look_at_rows(spark, columnar, chosen)
        with ThreadPoolExecutor(_MOST_FILES) as pool:
            starts = list(pool.map(lambda path: store.read_start(path, _START), chosen))
    except OSError as error:
        raise ConfigurationError(f"--input: cannot be read ({error})") from None
    except SPARK_ERRORS as error:
        raise ConfigurationError(f"--input: cannot be read: {in_words(error)}") from None
    encoding = _find_encoding(starts)
    sample = sample_log([FileStart(decode(start, encoding), len(start) < _START) for start in starts], kind)
    if sample is None or encoding is None:
        return sample
    return replace(sample, options={**sample.options, "encoding": encoding})


def choose_files(files: Sequence[str]) -> list[str]:
    """Choose some files, evenly over the whole range of their names.

    Examples:
        >>> choose_files([f"{n:03}" for n in range(100)])[:3]
        ['000', '009', '018']
        >>> choose_files(["b", "a"])
        ['a', 'b']
    """
    ordered = sorted(files)
    if len(ordered) <= _MOST_FILES:
        return ordered
    return [ordered[place * (len(ordered) - 1) // (_MOST_FILES - 1)] for place in range(_MOST_FILES)]


def decode(start: bytes, encoding: str | None) -> str:
    """Decode the start of a file, which may end in the midst of a letter."""
    return start.decode(encoding or "utf-8", "ignore")


def _find_encoding(starts: Sequence[bytes]) -> str | None:
    """Find the option for the encoding of some files; None for UTF-8."""
    for start in starts:
        for mark, _, option in _MARKS:
            if start.startswith(mark):
                return option
    for start in starts:
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            decoder.decode(start)
        except UnicodeDecodeError:
            return "ISO-8859-1"
    return None


def _look_at_rows(spark: SparkSession, kind: str, chosen: Sequence[str]) -> LogSample:
    rows = spark.read.format(kind).load(chosen[-1])
    texts = rows.select(F.to_json(F.struct("*"), RECORD_JSON).alias("record")).take(_MOST_ROWS)
    return LogSample(kind, [json.loads(row["record"]) for row in texts], rows.schema)
