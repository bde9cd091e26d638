"""Spark's JVM and its context: starts them, cancels jobs, and asks the JVM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import pyspark
from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession


def start_jvm() -> None:
    """Start Spark's JVM, or connect to the one that started this process, without opening a session.

    The public way, SparkSession.builder, starts the JVM and waits for a cluster in one call. An interruption of that
    call would leave a running JVM.
    """
    SparkContext._ensure_initialized()


def launched_jvm() -> Any:
    """Give the JVM that Spark runs in, which exists before a session; None before it has started.

    No public API gives the JVM before a session is open. A signal in that time must not end Spark.
    """
    return SparkContext._jvm


def is_classic(spark: SparkSession) -> bool:
    """Whether a session has a JVM. One of Spark Connect, which a notebook may have opened, has none.

    The public `is_remote` exists from Spark 4.0 on, and is about the process, not the session.
    """
    return hasattr(spark, "_jsparkSession")


def cancel_jobs() -> None:
    """Cancel all jobs of the running context, if there is one. Any thread may call it.

    SparkContext.getOrCreate would start a context if there is none, and SparkSession.getActiveSession finds only the
    session of the calling thread.
    """
    context = SparkContext._active_spark_context
    if context is not None:
        context.cancelAllJobs()


def stop_console_progress(spark: SparkSession) -> None:
    """Stop Spark's own progress bar.

    The public setting, spark.ui.showConsoleProgress, works only before the context starts, when it is not known yet
    whether the run will draw its own bar.
    """
    context: Any = spark.sparkContext
    bar = context._jsc.sc().progressBar()
    if bar.isDefined():
        bar.get().stop()


def keep_log_to_warnings() -> None:
    """Limit Spark's own log to warnings, so that the job's lines are visible, unless `spark.log.level` is set.

    A SparkContext logs some sixty lines while it starts, so the level is set before. No public API does that.
    """
    active = SparkContext._active_spark_context
    if (active.getConf() if active else SparkConf()).get("spark.log.level") is not None:
        return
    jvm: Any = SparkContext._jvm
    utils = getattr(getattr(jvm.org.apache.spark.util, "Utils$"), "MODULE$")
    utils.initializeLogIfNecessary(False)  # otherwise Spark's first line initialises it, with log4j2's level
    utils.setLogLevel(jvm.org.apache.logging.log4j.Level.WARN)


@dataclass(frozen=True, slots=True)
class UnsupportedJava:
    """A Java that this Spark cannot run on.

    Attributes:
        version: e.g. 25.
        home: its folder.
        spark: the version of Spark.
    """

    version: str
    home: str
    spark: str


def unsupported_java() -> UnsupportedJava | None:
    """Find out whether this Spark cannot run on this Java; None if it can.

    On a Java that is too new for this Spark, the first call that fails asks Hadoop for the current user. A session
    would fail there too, but with Java's message. No public API says which versions of Java a Spark supports.
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
    """List the keys of all SQL settings that were set explicitly.

    The public `RuntimeConfig.getAll` exists from Spark 4.0 on, not in 3.5; the statement SET runs a query.
    """
    session: Any = spark._jsparkSession
    return [str(key) for key in session.sessionState().conf().settings().keySet()]


def count_pattern_groups(spark: SparkSession, pattern: str) -> int:
    r"""Count the groups of a Java regular expression.

    Spark compiles a pattern only when a query runs, and does not give the number of groups. Python's syntax differs.

    Raises:
        ValueError: the pattern is not a Java regular expression; the message says so.
    """
    try:
        compiled = _jvm(spark).java.util.regex.Pattern.compile(pattern)
    except PySparkException as error:  # pyspark's class for Java's IllegalArgumentException
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
