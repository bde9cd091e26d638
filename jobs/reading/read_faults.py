"""Errors of Spark's readers in words: which file cannot be read, for which of several causes, and what to do."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final
from urllib.parse import unquote

from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError
from jobs.lake.filesystem import FileSystem
from jobs.reading.contents import problem_of_file
from jobs.reading.inputs import escape_path
from jobs.reading.read_causes import IS_DAMAGED, cause_in_words
from jobs.spark_internals.errors import java_messages
from transforms.mapping.model import COLUMNAR_FORMATS, Source

_SIGNS: Final = (
    "FAILED_READ_FILE",  # Spark 4; Spark 3 names no class
    "Encountered error while reading file",
    "CANNOT_READ_FILE_FOOTER",
    "Could not read footer for file",
    "Malformed ORC file",
    "EOFException",
    "ZipException",
    "not a gzip",
)
_NO_MEMORY: Final = re.compile(
    r"OutOfMemoryError|Cannot grow BufferHolder|exited with code 52\b|exit code 52\b|exceeding memory limits"
)
"""How Spark tells that a task, or the process that it ran in, had too little memory."""
_OUT_OF_MEMORY: Final = (
    "a task ran out of memory. Each task needs some thirty times the memory of the longest record, and a file that is "
    "read whole (multiLine, UTF-16) counts as one: give more with --driver-memory (local[*]) or --executor-memory, or "
    "split what is so long"
)
_TIME: Final = re.compile(r"(?s)(long overflow|nanos > 999999999).*\.(parquet|orc)\.")
"""How the readers of Parquet and ORC tell of a time beyond all that Spark knows; ORC's names no file."""
_PATH: Final = re.compile(r"\b[a-z][a-z0-9+.-]*:/[^\s,'\"]+")


class UnreadableTimeError(ConfigurationError):
    """A time in a Parquet file lies beyond all that Spark can read as such; as a number it can be read."""


def explain_unreadable_input(
    error: BaseException, spark: SparkSession, source: Source, lake_root: str | None = None
) -> ConfigurationError | None:
    """Take an error for what it is where Spark could not read a file, or had too little memory: the user's to mend.

    Args:
        error: of Spark's, as a rule.
        spark: looks at the file.
        source: the mapping's.
        lake_root: a file below it is the lake's, and none of `--input`; None where nothing of the lake is read.

    Returns:
        None where it is about no file.
    """
    text = str(error)
    if _NO_MEMORY.search(text):
        return ConfigurationError(_OUT_OF_MEMORY)
    is_time = source.format in COLUMNAR_FORMATS and _TIME.search(text) is not None
    if not is_time and not any(sign in text for sign in _SIGNS):
        return None
    text = "\n".join([text, *java_messages(error)])
    path = next((_plain(match.group().rstrip(".")) for match in _PATH.finditer(text)), None)
    if is_time:
        kind = UnreadableTimeError if source.format == "parquet" else ConfigurationError
        where = "--input: a file" if path is None else f"--input {escape_path(path)}:"
        return kind(f"{where} cannot be read: {cause_in_words(text)}")
    if path is None:
        return ConfigurationError(f"--input: a file cannot be read: {cause_in_words(text) or IS_DAMAGED}")
    if lake_root is not None and path.startswith(f"{_absolute(lake_root, spark)}/"):
        cause = cause_in_words(text) or IS_DAMAGED
        return ConfigurationError(f"--lake {lake_root}: its file {escape_path(path)} cannot be read: {cause}")
    return ConfigurationError(f"--input {escape_path(path)}: {_problem(path, text, spark, source)}")


def _problem(path: str, text: str, spark: SparkSession, source: Source) -> str:
    known = cause_in_words(text)
    if known in (None, IS_DAMAGED):
        with suppress(OSError):
            if problem := problem_of_file(FileSystem(spark), path, source):
                return problem
    return f"cannot be read: {known or IS_DAMAGED}"


def _absolute(root: str, spark: SparkSession) -> str:
    with suppress(OSError):
        local = FileSystem(spark).local_path(root)
        return _plain(root) if local is None else f"file:{local}"
    return _plain(root)


def _plain(path: str) -> str:
    """Write a path or URI in the one way in which two can be compared: as this project writes paths.

    Examples:
        >>> _plain("file:///a%20log/x"), _plain("s3a://bucket/a")
        ('file:/a log/x', 's3a://bucket/a')
    """
    return re.sub(r"^file:/+", "file:/", unquote(path))
