"""Builds the SparkSession; no other module does."""

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
    # Spark 4 records for each Column which line of Python made it: thousands of calls to the JVM before the first job.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
}
"""Settings that only a new session accepts. None of them changes a row."""
LOCAL_SETTINGS: Final = {
    # Where driver and executor are one process, an executor that ends itself takes the words and the exit code with it.
    "spark.executor.killOnFatalError.depth": "0",
}
"""What a new session takes whose master is `local`; on a cluster, an executor without memory is better replaced."""
SETTINGS: Final = {
    # --- The meaning of a mapping's expressions, types and literals.
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
    # A function that was added to the session must not replace Spark's own of the same name.
    "spark.sql.functionResolution.sessionOrder": "second",
    "spark.sql.path.enabled": "false",
    # Times without an offset mean the same on every cluster.
    "spark.sql.session.timeZone": "UTC",
    # With the default, a time that Spark 2 read differently raises instead of becoming null.
    "spark.sql.legacy.timeParserPolicy": "CORRECTED",
    # Errors are reported in Spark's words, and recognised by them.
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
    # Spark's newer readers do not say which file a row is from.
    "spark.sql.sources.useV1SourceList": "avro,csv,json,kafka,orc,parquet,text",
    # A batch called 2024-01-02 is a label, not a date.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    # A file that cannot be read is an error, never a smaller batch.
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoredPathSegmentRegex": "^[._]",
    "spark.sql.files.archive.reader.enabled": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
    "spark.sql.files.ignoreInvalidPartitionPaths": "false",
    # pandas writes times in nanoseconds, which Spark takes for an error; as BIGINT they can be mapped.
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    # As in Spark 3, invalid bytes of an encoding become U+FFFD, and every encoding that Java knows is read.
    "spark.sql.legacy.codingErrorAction": "true",
    "spark.sql.legacy.javaCharsets": "true",
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.parquet.int96AsTimestamp": "true",
    "spark.sql.parquet.int96TimestampConversion": "false",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.fieldId.read.enabled": "false",
    "spark.sql.parquet.respectSummaryFiles": "false",
    "spark.sql.parquet.writeLegacyFormat": "false",
    # Dates before 1582 are read as their file has them, on every version of Spark.
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.int96RebaseModeInWrite": "CORRECTED",
    # Programs read INT96, Spark 3's default, differently.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.orc.impl": "native",
    # A run writes to folders of its own, which no reader uses before the manifest is written.
    "spark.sql.sources.partitionOverwriteMode": "static",
    # --- How plans are executed.
    "spark.sql.retainGroupColumns": "true",
    # A round robin must give the same result if a task runs again.
    "spark.sql.execution.sortBeforeRepartition": "true",
    # What is persisted may be coalesced like any other plan: not 200 files for a small batch.
    "spark.sql.optimizer.canChangeCachedPlanOutputPartitioning": "true",
    # What Spark cannot compile, it interprets.
    "spark.sql.codegen.fallback": "true",
    "spark.sql.codegen.factoryMode": "FALLBACK",
    # The JVM never compiles a method of more bytes, but interprets it for every row. A plan with many rules makes such
    # a method; with this limit Spark evaluates operator by operator instead.
    "spark.sql.codegen.hugeMethodLimit": "8000",
    # A shared expression is evaluated once. If it were copied to each use, the plan would outgrow any heap.
    "spark.sql.optimizer.collapseProjectAlwaysInline": "false",
    "spark.sql.subexpressionElimination.enabled": "true",
    # Persisted rows are read a few times within a minute: compressing them costs more than it saves.
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    # Java's serializer keeps the last 100 batches in memory while it writes persisted rows: with Spark's 10,000 rows
    # each, a task that holds a million rows of one visitor runs out of a heap of 1 GB.
    "spark.sql.inMemoryColumnarStorage.batchSize": "1000",
    # A Python worker holds a batch of requests as objects, of up to 100 KB each.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
}
"""The settings that rows and laws depend on. They override spark-defaults.conf, --conf and notebooks."""
_CONNECT_VARIABLES: Final = {"SPARK_REMOTE": None, "SPARK_CONNECT_MODE_ENABLED": None, "SPARK_API_MODE": "connect"}
_CONNECT_SETTINGS: Final = {"spark.remote": None, "spark.api.mode": "connect"}
_LEGACY_PREFIX: Final = "spark.sql.legacy."
"""The prefix of settings that restore an old meaning of expressions and formats. Only those above are kept."""


def start_jvm() -> None:
    """Start Spark's JVM, or connect to the one that has started this process.

    This is a step of its own, because opening the session may wait long for a cluster. If that wait is interrupted, the
    JVM keeps running.

    Raises:
        ConfigurationError: there is no Java, Spark cannot run on it, or Spark Connect is asked for.
    """
    _refuse_connect(os.environ, _CONNECT_VARIABLES)
    with _explaining_missing_java():
        context.start_jvm()
    _refuse_connect(dict(SparkConf().getAll()), _CONNECT_SETTINGS)
    context.keep_log_to_warnings()
    _require_supported_java()


def open_session(app: str) -> SparkSession:
    """Open a Spark session, or take the existing one, with the settings that the laws depend on.

    Raises:
        ConfigurationError: there is no Java, Spark cannot run on it, or the session is one of Spark Connect.
    """
    # pyspark 4 logs every analysis error with its stack trace before it raises it; the jobs report it in their words.
    for name in ("SQLQueryContextLogger", "DataFrameQueryContextLogger"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    logging.getLogger("botocore.credentials").setLevel(logging.ERROR)  # it logs stack traces of what it raises too
    start_jvm()
    builder = SparkSession.builder.appName(app)
    is_local = (SparkConf().get("spark.master", "local[*]") or "").startswith("local")
    for key, value in (STATIC_SETTINGS | (LOCAL_SETTINGS if is_local else {})).items():
        builder = builder.config(key, value)
    with _explaining_missing_java():
        spark = builder.getOrCreate()
    if not context.is_classic(spark):
        raise _make_connect_error("the session that there is")
    context.stop_console_progress(spark)
    return _pin_settings(spark)


def _refuse_connect(given: Mapping[str, str], names: Mapping[str, str | None]) -> None:
    """Refuse settings that make pyspark open a session of Spark Connect, which has no JVM.

    Args:
        given: environment variables or settings.
        names: the names that ask for Connect, with the value that does; None for any value.
    """
    for name, value in names.items():
        if name in given and value in (None, given[name].lower()):
            raise _make_connect_error(f"{name}={given[name]}")


@contextmanager
def _explaining_missing_java() -> Iterator[None]:
    try:
        yield
    except PySparkException as error:
        if "JAVA_GATEWAY_EXITED" in str(error):
            raise _make_java_error() from error
        raise
    except FileNotFoundError as error:  # spark-class itself was not found
        raise _make_java_error() from error


def _pin_settings(spark: SparkSession) -> SparkSession:
    """Apply the settings to a session. An existing one, e.g. of a notebook, may have others."""
    for key in context.set_keys(spark):
        if key.startswith(_LEGACY_PREFIX) and key not in SETTINGS:
            spark.conf.unset(key)
    for key, value in SETTINGS.items():
        if _get_setting(spark, key) != value:  # setting some of them, even to their current value, makes Spark warn
            spark.conf.set(key, value)
    return spark


def _get_setting(spark: SparkSession, key: str) -> str | None:
    try:
        return spark.conf.get(key)
    except SPARK_ERRORS:  # this version of Spark does not know the setting
        return None


def _require_supported_java() -> None:
    """Refuse a Java that this Spark cannot run on.

    Raises:
        ConfigurationError: Spark cannot run on this Java.
    """
    java = context.unsupported_java()
    if java is not None:
        raise ConfigurationError(
            f"{java.home}: Spark {java.spark} cannot run on Java {java.version}; set JAVA_HOME to a Java 17 or 21 "
            "(`source .venv/environment` does, after `make setup`)"
        )


def _make_connect_error(asked_by: str) -> ConfigurationError:
    return ConfigurationError(
        f"{asked_by}: asks for Spark Connect, which has no JVM, and the jobs need one: start them by spark-submit on "
        "classic Spark, without this setting (docs/deploy.md)"
    )


def _make_java_error() -> ConfigurationError:
    java = f"JAVA_HOME ({os.environ['JAVA_HOME']})" if os.environ.get("JAVA_HOME") else f"PATH ({shutil.which('java')})"
    return ConfigurationError(
        f"Spark did not start on the Java of {java}: it needs Java 17 or 21; install it "
        "(Debian: apt-get install openjdk-17-jre-headless) or set JAVA_HOME"
    )
