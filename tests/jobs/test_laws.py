"""Laws 1 and 2: every record is accounted for, and the same input gives the same ids on whatever cluster."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

MAPPING = """
[source]
format = "json"
schema = "visitor STRING, user STRING, id STRING, kind STRING, at STRING, item STRING"
[record]
where = "kind IS NULL OR kind <> 'heartbeat'"
[event]
eventType = "kind"
sentAt = "to_timestamp(at)"
visitorId = "visitor"
userId = "user"
itemId = "item"
EVENT_ID
"""
START = datetime(2024, 1, 2, tzinfo=UTC)


def log_lines(seed: int) -> list[str]:
    """600 records of 12 visitors, of which every tenth is repeated and some are wrong in one way or another."""
    dice = random.Random(seed)
    lines = []
    for n in range(600):
        record: dict[str, Any] = {
            "visitor": f"v{dice.randrange(12)}",
            "user": dice.choice([None, "u1", "undefined"]),
            "id": dice.choice([None, f"given-{dice.randrange(400)}"]),
            "kind": dice.choice(["view", "click", "heartbeat", None]),
            "at": (START + timedelta(seconds=dice.randrange(86_400))).isoformat(),
            "item": "i" * dice.choice([1, 256, 257]),
        }
        line = json.dumps(record)
        lines += [line if n % 17 else line[:-3]] * (2 if n % 10 == 0 else 1)
    return lines


def write(folder: Path, lines: list[str], files: int) -> Path:
    folder.mkdir()
    for number in range(files):
        (folder / f"part-{number:02d}.jsonl").write_text("\n".join(lines[number::files]) + "\n")
    return folder


def ids(spark: SparkSession, lake: Path) -> set[tuple[str, str, str]]:
    rows = spark.read.parquet(str(lake / "events")).select("eventId", "sessionId", "visitorId").collect()
    assert len({row.eventId for row in rows}) == len(rows)
    return {tuple(row) for row in rows}


@pytest.mark.parametrize("event_id", ["", pytest.param('eventId = "id"', marks=pytest.mark.long)])
def test_the_same_input_gives_the_same_ids_whatever_the_partitioning_and_the_order_of_files(
    spark: SparkSession, build: Callable[..., Any], lake: Path, tmp_path: Path, event_id: str
) -> None:
    mapping = tmp_path / "m.toml"
    mapping.write_text(MAPPING.replace("EVENT_ID", event_id))
    lines = log_lines(7)
    found = []
    for number, partitions in enumerate((1, 3, 16)):
        random.Random(number).shuffle(lines)
        folder = write(tmp_path / f"raw{number}", lines, files=partitions)
        spark.conf.set("spark.sql.shuffle.partitions", partitions)
        spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", False)
        try:
            ended = build(folder, mapping=mapping)
        finally:
            spark.conf.set("spark.sql.shuffle.partitions", 4)
            spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", True)
        counted = {name: value for name, value in ended.summary.items() if name not in ("runId", "seconds")}
        found.append((ids(spark, lake), counted))
    assert found[0] == found[1] == found[2]
    assert len(found[0][0]) > 100


@pytest.mark.parametrize("partitions", [1, 3, 16])
@pytest.mark.long
def test_sessions_are_those_of_the_definition_whatever_the_partitioning(
    spark: SparkSession, build: Callable[..., Any], lake: Path, tmp_path: Path, clickstream: Any, partitions: int
) -> None:
    (tmp_path / "m.toml").write_text(clickstream.mapping)
    lines = [json.dumps(click.record()) for click in clickstream.clicks]
    random.Random(partitions).shuffle(lines)
    spark.conf.set("spark.sql.shuffle.partitions", partitions)
    spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", False)
    try:
        raw = write(tmp_path / "raw", lines, files=partitions)
        build(raw, mapping=tmp_path / "m.toml", more=("--interval", "2024-01-01/2024-01-10"))
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", 4)
        spark.conf.set("spark.sql.adaptive.coalescePartitions.enabled", True)
    assert {row[:2] for row in ids(spark, lake)} == clickstream.sessions()


def test_every_record_is_accounted_for(
    spark: SparkSession, build: Callable[..., Any], lake: Path, tmp_path: Path
) -> None:
    mapping = tmp_path / "m.toml"
    mapping.write_text(MAPPING.replace("EVENT_ID", ""))
    lines = log_lines(3)
    ended = build(write(tmp_path / "raw", lines, 3), mapping=mapping, more=("--on-gate-failure", "warn"))
    summary = ended.summary
    records = [json.loads(line) if line.endswith("}") else None for line in lines]
    heartbeats = sum(1 for record in records if record and record["kind"] == "heartbeat")
    broken = records.count(None)
    assert summary["read"] == len(lines)
    assert summary["filtered"] == heartbeats
    assert summary["candidates"] == len(lines) - heartbeats
    assert summary["candidates"] == summary["events"] + summary["quarantined"] + summary["duplicates"]
    assert summary["reasons"]["malformed_record"] == broken
    assert summary["events"] == spark.read.parquet(str(lake / "events")).count()
    assert summary["quarantined"] == spark.read.parquet(str(lake / "quarantine")).count()
