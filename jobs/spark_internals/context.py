"""Spark's JVM and its context: starting, cancelling, and what the JVM itself knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pyspark
from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession


def start_jvm() -> None:
    """Start Spark's JVM, or connect to the one that has started this process; no session is opened.

    The public way, SparkSession.builder, starts the JVM and waits for a cluster in one call: an interruption of that
    call leaves a JVM that nobody ends.
    """
    SparkContext._ensure_initialized()


def launched_jvm() -> Any:
    """Give the JVM that Spark runs in, which is there before a session is; None while there is none.

    No public API tells of a JVM before its session is open. A signal that comes meanwhile must not end Spark.
    """
    return SparkContext._jvm


def is_classic(spark: SparkSession) -> bool:
    """Whether a session has a JVM: that of Spark Connect, which a notebook may have opened, has none.

    The public `is_remote` is there from Spark 4.0 on, and tells of the process, not of the session.
    """
    return hasattr(spark, "_jsparkSession")


def cancel_jobs() -> None:
    """Cancel all jobs of the running context, if there is one; from any thread.

    SparkContext.getOrCreate would start a context where there is none, and SparkSession.getActiveSession finds the
    session of the calling thread alone.
    """
    context = SparkContext._active_spark_context
    if context is not None:
        context.cancelAllJobs()


def stop_console_progress(spark: SparkSession) -> None:
    """Stop Spark's own progress bar.

    The public setting, spark.ui.showConsoleProgress, counts only before the context starts, when nobody knows yet
    whether the run will draw a bar of its own.
    """
    context: Any = spark.sparkContext
    bar = context._jsc.sc().progressBar()
    if bar.isDefined():
        bar.get().stop()


def keep_log_to_warnings() -> None:
    """Keep Spark's own log to warnings, so that the job's lines are seen; `spark.log.level` says otherwise.

    A SparkContext logs some sixty lines while it starts. So the level is set before there is one, which no public API
    does.
    """
    active = SparkContext._active_spark_context
    if (active.getConf() if active else SparkConf()).get("spark.log.level") is not None:
        return
    jvm: Any = SparkContext._jvm
    utils = getattr(getattr(jvm.org.apache.spark.util, "Utils$"), "MODULE$")
    utils.initializeLogIfNecessary(False)  # otherwise Spark's first line does, and takes the level from log4j2's file
    utils.setLogLevel(jvm.org.apache.logging.log4j.Level.WARN)


@dataclass(frozen=True, slots=True)
class UnsupportedJava:
    """A Java that this Spark cannot run on.

    Attributes:
        version: as in 25.
        home: its folder.
        spark: the version of Spark.
    """

    version: str
    home: str
    spark: str


def unsupported_java() -> UnsupportedJava | None:
    """Ask Hadoop for the current user: the first thing that fails on a Java that is too new for this Spark.

    A session fails by it too, but only with Java's words; no public API says which Javas a Spark supports.
    """
    jvm: Any = SparkContext._jvm
    try:
        jvm.org.apache.hadoop.security.UserGroupInformation.getCurrentUser()
    except Py4JJavaError as error:
        if error.java_exception.getClass().getName() == "java.lang.UnsupportedOperationException":
            version, home = (
                str(jvm.java.lang.System.getProperty(f"java.{name}")) for name in ("specification.version", "home")
            )
            return UnsupportedJava(version, home, pyspark.__version__)
        # A login that fails is Spark's to report.
    return None


def set_keys(spark: SparkSession) -> list[str]:
    """List the keys of all settings of SQL that somebody has set.

    The public `RuntimeConfig.getAll` is there from Spark 4.0 on, not in 3.5; the statement SET runs a query.
    """
    session: Any = spark._jsparkSession
    return [str(key) for key in session.sessionState().conf().settings().keySet()]


def count_pattern_groups(spark: SparkSession, pattern: str) -> int:
    r"""Count the groups of a regular expression of Java's.

    Spark compiles a pattern only when a query runs, and tells no number of groups. Python's patterns are others.

    Raises:
        ValueError: the pattern is not a Java regular expression; the message says so.
    """
    try:
        compiled = _jvm(spark).java.util.regex.Pattern.compile(pattern)
    except PySparkException as error:  # pyspark's name for Java's IllegalArgumentException
        cause = str(error).split("\n")[0]
        raise ValueError(f"is not a Java regular expression: {cause}") from None
    return int(compiled.matcher("").groupCount())


_OPTIONS: Final = {
    "csv": "org.apache.spark.sql.catalyst.csv.CSVOptions",
    "json": "org.apache.spark.sql.catalyst.json.JSONOptions",
    "text": "org.apache.spark.sql.execution.datasources.text.TextOptions",
    "parquet": "org.apache.spark.sql.execution.datasources.parquet.ParquetOptions",
    "orc": "org.apache.spark.sql.execution.datasources.orc.OrcOptions",
}
_FILE_OPTIONS: Final = "org.apache.spark.sql.execution.datasources.FileIndexOptions"


def reader_options(spark: SparkSession, kind: str) -> list[str]:
    """List the options that this version's reader of a format, such as `csv`, knows.

    No public API lists them, and a reader ignores all others.
    """
    found: set[str] = set()
    for name in (_OPTIONS[kind], _FILE_OPTIONS):
        options = getattr(_jvm(spark), name).getAllOptions()
        found.update(str(options.mkString("\n")).split("\n"))
    return sorted(found)


def _jvm(spark: SparkSession) -> Any:
    return spark._jvm
