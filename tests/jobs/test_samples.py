"""The real logs: every figure that was reckoned independently of this project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

pytestmark = pytest.mark.long  # real logs, read whole

CUT_OTTO = """
[source]
format = "json"
schema = "session BIGINT, events ARRAY<STRUCT<aid: BIGINT, ts: BIGINT, type: STRING>>"
[record]
explode = "events"
[event]
eventType = "element.type"
sentAt    = "timestamp_millis(element.ts)"
itemId    = "CAST(element.aid AS STRING)"
visitorId = "CAST(session AS STRING)"
"""


def figures(summary: dict[str, Any], *names: str) -> list[Any]:
    return [summary[name] for name in names]


def types(spark: SparkSession, lake: Path) -> dict[str, int]:
    events = spark.read.parquet(str(lake / "events"))
    return {row["eventType"]: row["count"] for row in events.groupBy("eventType").count().collect()}


def visitors(spark: SparkSession, lake: Path) -> int:
    return spark.read.parquet(str(lake / "events")).select("visitorId").distinct().count()


def test_otto_with_its_own_sessions(spark: SparkSession, build: Callable[..., Any], samples: Path, lake: Path) -> None:
    ended = build(samples / "otto.jsonl", mapping="otto", batch="sample")
    assert ended.code == 0
    assert figures(ended.summary, "read", "events", "quarantined", "duplicates") == [20, 862, 0, 0]
    assert figures(ended.summary, "sessions", "requests") == [20, 99]
    assert types(spark, lake) == {"clicks": 800, "carts": 52, "orders": 10}


def test_otto_with_sessions_cut(build: Callable[..., Any], samples: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "cut_otto.toml"
    mapping.write_text(CUT_OTTO)
    ended = build(samples / "otto.jsonl", mapping=mapping, batch="sample")
    assert figures(ended.summary, "events", "sessions", "requests") == [862, 144, 181]


def test_open_bandit(spark: SparkSession, build: Callable[..., Any], samples: Path, lake: Path) -> None:
    ended = build(samples / "open_bandit_men.csv", mapping="open_bandit", batch="sample")
    assert figures(ended.summary, "read", "events", "quarantined", "duplicates") == [5000, 5000, 0, 0]
    assert figures(ended.summary, "sessions", "requests") == [2668, 2732]
    assert types(spark, lake) == {"view": 4958, "click": 42}
    assert visitors(spark, lake) == 209


def test_apache_access_log(spark: SparkSession, build: Callable[..., Any], samples: Path, lake: Path) -> None:
    ended = build(samples / "apache_access.log", mapping="apache_combined", batch="sample")
    assert figures(ended.summary, "read", "events", "quarantined", "duplicates") == [8000, 7980, 2, 18]
    assert ended.summary["reasons"] == {"itemId_too_long": 1, "malformed_record": 1}
    assert figures(ended.summary, "sessions", "requests") == [2411, 2607]
    assert visitors(spark, lake) == 1455


def test_every_file_of_nasty_json_ends_as_event_filtered_or_quarantined(
    spark: SparkSession, build: Callable[..., Any], samples: Path, tmp_path: Path
) -> None:
    mapping = tmp_path / "any.toml"
    mapping.write_text("""
[source]
format = "json"
schema = "a STRING"
[event]
eventType = "'seen'"
sentAt = "timestamp_seconds(1704067200)"
visitorId = "coalesce(a, 'nobody')"
itemId = "a"
""")
    files = sorted((samples / "nasty" / "json_parsing").iterdir())
    assert len(files) == 318
    ended = build(samples / "nasty" / "json_parsing", mapping=mapping, more=("--on-gate-failure", "warn"))
    lines = sum(len(_lines(file.read_bytes())) for file in files)
    assert ended.code == 0
    assert ended.summary["read"] == lines
    ends = figures(ended.summary, "filtered", "events", "quarantined", "duplicates")
    assert sum(ends) == lines


def _lines(content: bytes) -> list[bytes]:
    """Cut as Hadoop's line reader does: at LF, CR or both, the last line with or without an end; a BOM is no line."""
    text = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    parts = text.split(b"\n")
    return parts[:-1] if parts[-1] in (b"", b"\xef\xbb\xbf") else parts
