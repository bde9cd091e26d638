"""The one place that builds a SparkSession."""

from __future__ import annotations

import logging
from typing import Final

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError

SETTINGS: Final = {
    # A value that does not convert becomes null and is judged; with ANSI on, one record could fail the job.
    "spark.sql.ansi.enabled": "false",
    # Times without an offset mean the same on every cluster.
    "spark.sql.session.timeZone": "UTC",
    # With the default, a time that Spark 2 read otherwise raises instead of becoming null.
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    # One bad value must not empty the record around it.
    "spark.sql.json.enablePartialResults": "true",
    # A batch called 2024-01-02 is a label, not a date.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    # What is persisted may be coalesced like any other plan: not 200 files for a small batch.
    "spark.sql.optimizer.canChangeCachedPlanOutputPartitioning": "true",
    # The JVM never compiles a longer method, which is then interpreted for every row: a plan with many rules makes one.
    # Longer ones are cut into short ones by evaluating operator by operator.
    "spark.sql.codegen.hugeMethodLimit": "8000",
    # What is persisted is read a few times within the minute: to look for ways to press it costs more than it saves.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    # Spark 4 notes for each Column which line of Python made it: thousands of calls to the JVM before the first job.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    # INT96, Spark 3's default, is not read alike by everybody.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # A file that cannot be read is an error to be told, never a smaller batch.
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    # A Python worker holds a batch of requests as objects, of up to 100 KB each.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    # pandas writes times in nanoseconds, which Spark takes for an error; as BIGINT they can be mapped.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # Bytes that are no text of their encoding become U+FFFD, and every encoding that Java knows is read, as in Spark 3.
    "spark.sql.legacy.codingErrorAction": "true",
    "spark.sql.legacy.javaCharsets": "true",
    # Writes go to a folder of their own, that nobody reads before its manifest.
    "spark.sql.sources.partitionOverwriteMode": "static",
}


def open_session(app: str) -> SparkSession:
    """Open Spark, or take the session there is, with the settings that the laws rest on.

    Raises:
        ConfigurationError: there is no Java.
    """
    # pyspark 4 logs every analysis error with its stack trace before raising it; the reader gets our words.
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.getLogger("botocore.credentials").setLevel(logging.ERROR)  # it logs stack traces of what it raises too
    builder = SparkSession.builder.appName(app)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    try:
        return _quiet(builder.getOrCreate())
    except PySparkException as error:
        if "JAVA_GATEWAY_EXITED" in str(error):
            raise _no_java() from error
        raise
    except FileNotFoundError as error:  # spark-class itself was not found
        raise _no_java() from error


def _quiet(spark: SparkSession) -> SparkSession:
    """Keep Spark's own log to warnings, so that the job's lines are seen; `spark.log.level` says otherwise."""
    if spark.sparkContext.getConf().get("spark.log.level") is None:
        spark.sparkContext.setLogLevel("WARN")
    return spark


def _no_java() -> ConfigurationError:
    return ConfigurationError(
        "Spark did not start: it needs Java 17 or 21; install it (Debian: apt-get install openjdk-17-jre-headless) "
        "or set JAVA_HOME"
    )
