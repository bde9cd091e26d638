"""The one place that builds a SparkSession."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from pyspark import SparkConf
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs.errors import ConfigurationError
from jobs.spark_internals import context
from jobs.spark_internals.errors import SPARK_ERRORS

STATIC_SETTINGS: Final = {
    # Spark 4 notes for each Column which line of Python made it: thousands of calls to the JVM before the first job.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
}
"""What only a new session takes; none of it changes a row."""
LOCAL_SETTINGS: Final = {
    # Where driver and executor are one process, an executor that ends itself takes the words and the exit code with it.
    "spark.executor.killOnFatalError.depth": "0",
}
"""What a new session takes whose master is `local`; on a cluster, an executor without memory is better replaced."""
SETTINGS: Final = {
    # --- What an expression, a type or a literal of a mapping means.
    # A value that does not convert becomes null and is judged; with ANSI on, one record could fail the job.
    "spark.sql.ansi.enabled": "false",
    "spark.sql.ansi.doubleQuotedIdentifiers": "false",
    "spark.sql.ansi.enforceReservedKeywords": "false",
    "spark.sql.parser.escapedStringLiterals": "false",
    "spark.sql.parser.quotedRegexColumnNames": "false",
    "spark.sql.allowNamedFunctionArguments": "true",
    "spark.sql.caseSensitive": "false",
    # ${...} in a mapping is text: it must not read a setting.
    "spark.sql.variable.substitute": "false",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.charAsVarchar": "false",
    "spark.sql.preserveCharVarcharTypeInfo": "false",
    "spark.sql.mapKeyDedupPolicy": "EXCEPTION",
    "spark.sql.decimalOperations.allowPrecisionLoss": "true",
    "spark.sql.function.concatBinaryAsString": "false",
    "spark.sql.function.eltOutputAsString": "false",
    "spark.sql.chunkBase64String.enabled": "true",
    "spark.sql.icu.caseMappings.enabled": "true",
    "spark.sql.variant.allowDuplicateKeys": "false",
    "spark.sql.variant.validateUnicodeInJsonParsing": "true",
    "spark.sql.xml.variant.respectInferSchema": "true",
    "spark.sql.timestampNanosTypes.enabled": "false",
    # A function that somebody has added to the session must not stand before Spark's own of the same name.
    "spark.sql.functionResolution.sessionOrder": "second",
    "spark.sql.path.enabled": "false",
    # Times without an offset mean the same on every cluster.
    "spark.sql.session.timeZone": "UTC",
    # With the default, a time that Spark 2 read otherwise raises instead of becoming null.
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    # Errors are told in Spark's words, and recognised by them.
    "spark.sql.error.messageFormat": "PRETTY",
    # --- How text is read and written.
    # One bad value must not empty the record around it.
    "spark.sql.json.enablePartialResults": "true",
    "spark.sql.json.enableExactStringParsing": "true",
    "spark.sql.jsonGenerator.ignoreNullFields": "true",
    "spark.sql.jsonGenerator.writeNullIfWithDefaultValue": "true",
    "spark.sql.columnNameOfCorruptRecord": "_corrupt_record",
    # Which columns a query asks for must not decide whether a line is malformed.
    "spark.sql.csv.parser.columnPruning.enabled": "true",
    "spark.sql.csv.filterPushdown.enabled": "true",
    "spark.sql.json.filterPushdown.enabled": "true",
    # Hadoop leaves out longer lines without a word.
    "mapreduce.input.linerecordreader.line.maxlength": str(2**31 - 1),
    # --- How files are found, read and written.
    # Spark's newer readers do not tell which file a row is from.
    "spark.sql.sources.useV1SourceList": "avro,csv,json,kafka,orc,parquet,text",
    # A batch called 2024-01-02 is a label, not a date.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    # A file that cannot be read is an error to be told, never a smaller batch.
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoredPathSegmentRegex": "^[._]",
    "spark.sql.files.archive.reader.enabled": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.files.ignoreInvalidPartitionPaths": "false",
    # pandas writes times in nanoseconds, which Spark takes for an error; as BIGINT they can be mapped.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # Bytes that are no text of their encoding become U+FFFD, and every encoding that Java knows is read, as in Spark 3.
    "spark.sql.legacy.codingErrorAction": "true",
    "spark.sql.legacy.javaCharsets": "true",
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.parquet.int96AsTimestamp": "true",
    "spark.sql.parquet.int96TimestampConversion": "false",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.fieldId.read.enabled": "false",
    "spark.sql.parquet.respectSummaryFiles": "false",
    "spark.sql.parquet.writeLegacyFormat": "false",
    # Days of the years before 1582 are what their file says, on every version of Spark.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
    # INT96, Spark 3's default, is not read alike by everybody.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.orc.impl": "native",
    # Writes go to a folder of their own, that nobody reads before its manifest.
    "spark.sql.sources.partitionOverwriteMode": "static",
    # --- What a plan gives.
    "spark.sql.retainGroupColumns": "true",
    # Requests are dealt out one by one: a task that runs again must deal them out alike.
    "spark.sql.execution.sortBeforeRepartition": "true",
    # What is persisted may be coalesced like any other plan: not 200 files for a small batch.
    "spark.sql.optimizer.canChangeCachedPlanOutputPartitioning": "true",
    # What Spark cannot compile, it interprets.
    "spark.sql.codegen.fallback": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
    # The JVM never compiles a longer method, which is then interpreted for every row: a plan with many rules makes one.
    # Longer ones are cut into short ones by evaluating operator by operator.
    "spark.sql.codegen.hugeMethodLimit": "8000",
    # An expression that others use is evaluated once: written out wherever it is used, the plan outgrows any heap.
    "spark.sql.optimizer.collapseProjectAlwaysInline": "false",
    "spark.sql.subexpressionElimination.enabled": "true",
    # What is persisted is read a few times within the minute: to look for ways to press it costs more than it saves.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    # Java's serializer keeps the last 100 batches in memory while it writes what is persisted: with Spark's 10,000 rows
    # each, a task that holds a million rows of one visitor runs out of a heap of 1 GB.
    "spark.sql.inMemoryColumnarStorage.batchSize": "1000",
    # A Python worker holds a batch of requests as objects, of up to 100 KB each.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
}
"""What rows, and the laws, rest on. Whatever spark-defaults.conf, --conf or a notebook says, these hold."""
_CONNECT_VARIABLES: Final = {"SPARK_REMOTE": None, "SPARK_CONNECT_MODE_ENABLED": None, "SPARK_API_MODE": "connect"}
_CONNECT_SETTINGS: Final = {"spark.remote": None, "spark.api.mode": "connect"}
_LEGACY: Final = "spark.sql.legacy."
"""Settings of this name bring back what expressions and formats meant once: only those above are ever set."""


def start_jvm() -> None:
    """Start Spark's JVM, or connect to the one that has started this process.

    Apart from the session, which may wait long for a cluster: where it is interrupted, the JVM goes on without us.

    Raises:
        ConfigurationError: there is no Java, Spark cannot run on it, or Spark Connect is asked for.
    """
    _refuse_connect(os.environ, _CONNECT_VARIABLES)
    with _java_missing_in_words():
        context.start_jvm()
    _refuse_connect(dict(SparkConf().getAll()), _CONNECT_SETTINGS)
    context.keep_log_to_warnings()
    _require_supported_java()


def open_session(app: str) -> SparkSession:
    """Open Spark, or take the session there is, with the settings that the laws rest on.

    Raises:
        ConfigurationError: there is no Java, Spark cannot run on it, or the session is one of Spark Connect.
    """
    # pyspark 4 logs every analysis error with its stack trace before raising it; the reader gets our words.
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.getLogger("botocore.credentials").setLevel(logging.ERROR)  # it logs stack traces of what it raises too
    start_jvm()
    builder = SparkSession.builder.appName(app)
    is_local = (SparkConf().get("spark.master", "local[*]") or "").startswith("local")
    for key, value in (STATIC_SETTINGS | (LOCAL_SETTINGS if is_local else {})).items():
        builder = builder.config(key, value)
    with _java_missing_in_words():
        spark = builder.getOrCreate()
    if not context.is_classic(spark):
        raise _no_connect("the session that there is")
    context.stop_console_progress(spark)
    return _pinned(spark)


def _refuse_connect(given: Mapping[str, str], names: Mapping[str, str | None]) -> None:
    """Refuse what makes pyspark open a session of Spark Connect, which has no JVM.

    Args:
        given: environment variables or settings.
        names: which of them ask for Connect; with which value, or None for any.
    """
    for name, value in names.items():
        if name in given and value in (None, given[name].lower()):
            raise _no_connect(f"{name}={given[name]}")


@contextmanager
def _java_missing_in_words() -> Iterator[None]:
    try:
        yield
    except PySparkException as error:
        if "JAVA_GATEWAY_EXITED" in str(error):
            raise _no_java() from error
        raise
    except FileNotFoundError as error:  # spark-class itself was not found
        raise _no_java() from error


def _pinned(spark: SparkSession) -> SparkSession:
    """Set on a session what rows rest on; one that was there already (a notebook's) may say otherwise."""
    for key in context.set_keys(spark):
        if key.startswith(_LEGACY) and key not in SETTINGS:
            spark.conf.unset(key)
    for key, value in SETTINGS.items():
        if _value(spark, key) != value:  # to set some, even to what they are, makes Spark warn
            spark.conf.set(key, value)
    return spark


def _value(spark: SparkSession, key: str) -> str | None:
    try:
        return spark.conf.get(key)
    except SPARK_ERRORS:  # this version of Spark has no such setting
        return None


def _require_supported_java() -> None:
    """Refuse a Java that this Spark cannot run on.

    Raises:
        ConfigurationError: it is one.
    """
    java = context.unsupported_java()
    if java is not None:
        raise ConfigurationError(
            f"{java.home}: Spark {java.spark} cannot run on Java {java.version}; set JAVA_HOME to a Java 17 or 21 "
            "(`source .venv/environment` does, after `make setup`)"
        )


def _no_connect(asked_by: str) -> ConfigurationError:
    return ConfigurationError(
        f"{asked_by}: asks for Spark Connect, which has no JVM, and the jobs need one: start them by spark-submit on "
        "classic Spark, without this setting (docs/deploy.md)"
    )


def _no_java() -> ConfigurationError:
    java = f"JAVA_HOME ({os.environ['JAVA_HOME']})" if os.environ.get("JAVA_HOME") else f"PATH ({shutil.which('java')})"
    return ConfigurationError(
        f"Spark did not start on the Java of {java}: it needs Java 17 or 21; install it "
        "(Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
    )
