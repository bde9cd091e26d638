"""All of Spark's settings, and what else each can be set to. Started alone, it tries every value of each by itself."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pyspark.sql import SparkSession

from jobs.cli.session import open_session
from tests.jobs.settings_rows import rows, write_inputs

Outcome = Callable[[Mapping[str, str]], list[str]]

OTHERS: dict[str, str] = {
    r"spark\.sql\.(streaming|pipelines)\..*": "no job streams",
    r"spark\.sql\.(hive|thrift[sS]erver|cli|repl)\..*": "no job reads a Hive table, or is a server or a shell",
    r"spark\.sql\.(sources|parquet)\..*[cC]ommit.*[cC]lass": "how a store commits is the platform's; it does or fails",
    r"spark\.sql\.catalog\..*|spark\.sql\.defaultCatalog": "no job names a table of a catalog",
    r"spark\.sql\.(artifact|maven)\..*": "where a session's own jars lie",
    r"spark\.sql\.adaptive\.customCostEvaluatorClass|spark\.sql\.extendedExplainProviders": "classes of the user's",
    r"spark\.sql\.execution\.pyspark\.python": "the Python of the workers: PYSPARK_PYTHON",
    r"spark\.sql\.pyspark\.udf\.profiler|spark\.sql\.redaction\..*": "what profiles and logs show",
    r"spark\.sql\.planChangeLog\..*": "what is logged of planning",
    r"spark\.sql\.analyzer\.singlePassResolver\..*": "an unfinished part of Spark, which fails aloud",
    r"spark\.sql\.(analyzer|optimizer)\.maxIterations": "too few leave a plan unplanned, which fails aloud",
    r"spark\.sql\.adaptive\.optimizer\.excludedRules": "rules for speed, which know sizes alone",
    r"spark\.sql\.sources\.useListFilesFileSystemList": "which store lists files by one call",
    r"spark\.sql\.sources\.default": "each read and write names its format",
    r"spark\.sql\.timeTravel.*Key": "names of options for versions of tables",
    r"spark\.sql\.variant\.forceShreddingSchemaForTest|spark\.sql\.udt\.allowedDynamicUDTClasses": "no such types",
    r"spark\.sql\.ui\..*": "what the page of the application shows",
    r"spark\.sql\.view\..*|spark\.sql\.legacy\..*[vV]iew.*": "no job makes a view",
    r"spark\.sql\.(orc|parquet|avro)\.compression\.codec": "read alike; a missing codec fails aloud",
    r"spark\.sql\.defaultCacheStorageLevel": "where somebody's own cache() keeps rows; jobs name where theirs lie",
    r"spark\.sql\.defaultColumn\.allowedProviders": "no table has default columns",
    r"spark\.sql\.defaultPath": "counts only with spark.sql.path.enabled, which the jobs set to false",
    r"spark\.sql\.experimental\.optimizer\.pyTranspilers": "no expression is written in Python",
}
"""Settings that are the user's affair, by a pattern of their names: why none of them changes a row silently."""
_RULES = (
    "ConstantFolding",
    "PushDownPredicates",
    "CollapseProject",
    "ColumnPruning",
    "SimplifyCasts",
    "NullPropagation",
)
TEXTS: dict[str, tuple[str, ...]] = {
    "spark.sql.session.timeZone": ("Asia/Tokyo",),
    "spark.sql.files.maxPartitionBytes": ("2048",),
    "spark.sql.files.openCostInBytes": ("1",),
    "spark.sql.shuffle.partitions": ("1", "7"),
    "spark.sql.windowExec.buffer.in.memory.threshold": ("2",),
    "spark.sql.windowExec.buffer.spill.threshold": ("4",),
    "spark.sql.columnNameOfCorruptRecord": ("sku",),
    "spark.sql.codegen.aggregate.fastHashMap.capacityBit": ("10", "20"),
    "spark.sql.files.ignoredPathSegmentRegex": ("json|parquet", ""),
    "spark.sql.sources.useV1SourceList": ("",),
    "spark.sql.optimizer.excludedRules": (
        ",".join(f"org.apache.spark.sql.catalyst.optimizer.{rule}" for rule in _RULES),
    ),
    "spark.sql.optimizer.nestedPredicatePushdown.supportedFileSources": ("",),
}
"""Values for settings that take any text."""
STATIC: dict[str, str] = {
    r"spark\.sql\.(hive|streaming)\..*|spark\.sql\.catalogImplementation|spark\.sql\.catalog\..*": "no such tables",
    r"spark\.sql\.(ui|event|debug|codegen\.comments|codegen\.cache\.maxEntries).*": "what is shown, and for how long",
    r"spark\.sql\..*(maxThreadThreshold|RelationCacheSize|schemaStringLengthThreshold)": "sizes of pools and caches",
    r"spark\.sql\.(warehouse\.dir|globalTempDatabase|sources\.disabledJdbcConnProviderList)": "no tables",
    r"spark\.sql\.(extensions|queryExecutionListeners|defaultUrlStreamHandlerFactory).*": "code of the platform's",
    r"spark\.sql\.(metadataCacheTTLSeconds|legacy\.sessionInitWithConfigDefaults)": "how a session starts",
    r"spark\.sql\.cache\.serializer": "how what is persisted lies on disk",
    r"spark\.sql\.(avro\.schemaUrlAllowedSchemes|kafka\.disallowedOptions)": "no job reads Avro or Kafka",
    r"spark\.sql\.(restrictedMode\.enabled|reflect\.allowList)": "functions that no mapping may use",
    r"spark\.sql\.artifact\..*|spark\.sql\.legacy\.hive\..*": "where a session's jars lie; a server of Hive's",
    r"spark\.python\.sql\.dataFrameDebugging\.enabled": "which line of Python an error names; jobs set it",
}
"""Settings that only a new session takes, likewise: none of them changes what an expression or a format means."""


def settings_of(spark: SparkSession) -> dict[str, str | None]:
    """All that Spark's SQL knows and a session can set, internal ones too, with the default as text."""
    return {key: default for key, default, static in _entries(spark) if not static}


def static_of(spark: SparkSession) -> list[str]:
    """All that only a new session takes."""
    return [key for key, _, static in _entries(spark) if static]


def _entries(spark: SparkSession) -> Iterator[tuple[str, str | None, bool]]:
    jvm: Any = spark._jvm
    known = jvm.java.lang.Class.forName("org.apache.spark.sql.internal.SQLConf$").getField("MODULE$").get(None)
    entries = known.getConfigEntries().iterator()
    while entries.hasNext():
        entry = entries.next()
        default = str(entry.defaultValueString())
        yield str(entry.key()), None if "<" in default else default, bool(known.isStaticConfigKey(entry.key()))


def other_values(spark: SparkSession, key: str, default: str | None) -> list[str]:
    """What a setting can be set to: the other truth, each word it knows, or a smaller and a larger number."""
    if key in TEXTS:
        return list(TEXTS[key])
    refusal = _refusal(spark, key, "bogus")
    if refusal is None:
        return []
    if _refusal(spark, key, "true") is None:
        return [value for value in ("true", "false") if value != default]
    words = re.search(r"should be one of (.*?)(,? but was|\. SQLSTATE|$)", refusal)
    named = [word for word in re.findall(r"[A-Za-z0-9_]+", words.group(1)) if word != default] if words else []
    tried = [value for value in [*named, *_numbers(default or "7")] if _refusal(spark, key, value) is None]
    return list(dict.fromkeys(value for value in tried if value != default))


def _numbers(default: str) -> list[str]:
    """Half and twice as much, in the same unit: less would make thousands of tasks of a small file."""
    number, unit = re.match(r"(-?\d*\.?\d*)(.*)", default).groups()  # type: ignore[union-attr]
    if not number.lstrip("-"):
        return []
    if "." in number:
        return [f"{float(number) / 2}{unit}", f"{float(number) * 2}{unit}"]
    return [f"{max(int(number) // 2, 1)}{unit}", f"{max(int(number) * 2, 2)}{unit}"]


def _refusal(spark: SparkSession, key: str, value: str) -> str | None:
    jvm: Any = spark._jvm
    try:
        jvm.org.apache.spark.sql.internal.SQLConf().setConfString(key, value)
    except Exception as error:
        return str(error)
    return None


@contextmanager
def set_to(spark: SparkSession, settings: Mapping[str, str]) -> Iterator[None]:
    """Set what somebody's spark-defaults.conf or notebook would; then open the session as a job does."""
    session: Any = spark._jsparkSession
    before = {str(key): str(value) for key, value in dict(session.sessionState().conf().settings()).items()}
    spark.sparkContext.setLogLevel("OFF")  # Spark warns of every old name
    for key, value in settings.items():
        spark.conf.set(key, value)
    open_session("tests")
    spark.sparkContext.setLogLevel("OFF")
    try:
        yield
    finally:
        for key in settings:
            if key in before:
                spark.conf.set(key, before[key])
            else:
                spark.conf.unset(key)
        open_session("tests")
        spark.sparkContext.setLogLevel("ERROR")


def outcome(spark: SparkSession, folder: Path) -> Outcome:
    """Make a function of settings: the rows that come of the batch, or how it failed."""
    inputs = write_inputs(folder / "in")

    def build(settings: Mapping[str, str]) -> list[str]:
        with set_to(spark, settings):
            try:
                return rows(spark, inputs, folder / "out")
            except Exception as error:
                return [f"failed: {type(error).__name__}: {str(error)[:300]}"]

    return build


def culprits(settings: dict[str, str], build: Outcome, sound: list[str]) -> list[str]:
    """Name the settings that change rows, each alone or, where none alone does, all together."""
    found = build(settings)
    if found == sound:
        return []
    if len(settings) == 1:
        return [f"{settings}: {_difference(found, sound)}"]
    keys = sorted(settings)
    halves = [{key: settings[key] for key in half} for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :])]
    return [each for half in halves for each in culprits(half, build, sound)] or [
        f"{settings} together: {_difference(found, sound)}"
    ]


def _difference(found: list[str], sound: list[str]) -> str:
    more, less = [line for line in found if line not in sound], [line for line in sound if line not in found]
    return f"{more[:2]} instead of {less[:2]}"


def tried(spark: SparkSession) -> dict[str, list[str]]:
    """Every value to be tried, by setting; nothing for the settings that are the user's affair."""
    known = settings_of(spark)
    return {
        key: other_values(spark, key, default)
        for key, default in sorted(known.items())
        if not any(re.fullmatch(pattern, key) for pattern in OTHERS)
    }


def rounds(values: Mapping[str, list[str]], groups: int) -> Iterator[dict[str, str]]:
    """Put values together, one of each setting at a time, so that few builds try them all."""
    for place in range(max(map(len, values.values()))):
        keys = [key for key, its in values.items() if len(its) > place]
        count = groups if place < 2 else 1
        for group in range(count):
            together = {key: values[key][place] for key in keys[group::count]}
            if together:
                yield together


if __name__ == "__main__":
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_SUBMIT_ARGS"] = (
        "--master local[2] --driver-memory 2g --conf spark.ui.enabled=false --conf spark.sql.shuffle.partitions=4 "
        "--conf spark.ui.showConsoleProgress=false pyspark-shell"
    )
    session = open_session("settings")
    session.sparkContext.setLogLevel("OFF")
    with TemporaryDirectory() as folder:
        build_with = outcome(session, Path(folder))
        sound_rows = build_with({})
        if sound_rows[0].startswith("failed"):
            sys.exit(sound_rows[0])
        many = (
            rounds(tried(session), 6)
            if "--together" in sys.argv
            else ({key: value} for key, its in tried(session).items() for value in its)
        )
        for one in many:
            sys.stdout.write(f"{len(one)} settings\n")
            for told in culprits(one, build_with, sound_rows):
                sys.stdout.write(f"{told[:1500]}\n")
            sys.stdout.flush()
    session.stop()
