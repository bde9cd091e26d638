"""The terminal that a job was started from, if somebody is looking."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from pyspark.sql import SparkSession


def find_terminal() -> TextIO | None:
    """Find what to draw on: this process's standard error, or spark-submit's, where one is a terminal.

    Under spark-submit what a Python program writes goes through a pipe to the JVM that started it, so it is that
    process's standard error that counts. Where there is no /proc, no terminal is found then.
    """
    if sys.stderr.isatty():
        return sys.stderr
    parents = Path(f"/proc/{os.getppid()}/fd/2")
    with suppress(OSError):
        if stat.S_ISCHR(parents.stat().st_mode):  # a log file must not even be opened for writing
            descriptor = os.open(parents, os.O_WRONLY | os.O_NOCTTY)
            if os.isatty(descriptor):
                return os.fdopen(descriptor, "w", encoding="utf-8")
            os.close(descriptor)
    return None


def stop_console_progress(spark: SparkSession) -> None:
    """Stop Spark's own progress bar, which would write over ours."""
    bar = spark.sparkContext._jsc.sc().progressBar()
    if bar.isDefined():
        bar.get().stop()
