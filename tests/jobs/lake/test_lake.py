"""The lake under fire: crashes between two writes, two runs of one batch, stores that fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import emulator
from emulator import EmulatorSettings
from jobs.errors import UnfinishedError
from jobs.lake.filesystem import FileSystem
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake

MAPPING = """
[source]
format = "json"
schema = "who STRING, at BIGINT"
[event]
eventType = "'view'"
sentAt    = "timestamp_seconds(at)"
visitorId = "who"
"""


@pytest.fixture
def built(build: Any, tmp_path: Path) -> Any:
    def run(count: int) -> Any:
        (tmp_path / "m.toml").write_text(MAPPING)
        records = [json.dumps({"who": f"v{n}", "at": 1704067200}) for n in range(count)]
        (tmp_path / "log.jsonl").write_text("\n".join(records))
        return build(tmp_path / "log.jsonl", mapping=tmp_path / "m.toml")

    return run


def events(spark: SparkSession, lake: Path) -> int:
    return spark.read.parquet(str(lake / "events")).count()


def test_a_manifest_that_a_crash_tore_is_none_and_blocks_no_other(spark: SparkSession, built: Any, lake: Path) -> None:
    built(2)
    (lake / "_batches" / "2024-01-02" / "00000002-torn.json").write_text('{"batch": "2024-')
    manifest = Lake(spark, str(lake)).manifests.newest("2024-01-02")
    assert manifest is not None and (manifest.version, manifest.events) == (1, 2)
    assert built(3).code == 0
    manifest = Lake(spark, str(lake)).manifests.newest("2024-01-02")
    assert manifest is not None and (manifest.version, manifest.events) == (3, 3)


def test_what_a_killed_run_left_is_swept_by_the_next_and_never_read_by_manifest(
    spark: SparkSession, built: Any, lake: Path
) -> None:
    built(2)
    dead = lake / "events" / "batch=2024-01-02" / "runId=20200101T000000000000Z-dead00"
    spark.read.parquet(str(lake / "events")).drop("batch", "runId").write.parquet(str(dead))
    manifest = Lake(spark, str(lake)).manifests.newest("2024-01-02")
    assert manifest is not None and manifest.events == 2
    built(3)
    assert events(spark, lake) == 3


def test_a_store_that_cannot_delete_fails_no_build(
    spark: SparkSession, built: Any, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(2)

    def refuse(_files: FileSystem, _path: str) -> None:
        raise OSError("slow down")

    with monkeypatch.context() as patch:
        patch.setattr(FileSystem, "delete", refuse)
        assert built(3).code == 0
    manifest = Lake(spark, str(lake)).manifests.newest("2024-01-02")
    assert manifest is not None
    folder = lake / "events" / "batch=2024-01-02" / f"runId={manifest.runId}"
    assert spark.read.parquet(str(folder)).count() == 3


def test_of_two_runs_of_one_batch_the_older_gives_way(spark: SparkSession, built: Any, lake: Path) -> None:
    built(2)
    store = Lake(spark, str(lake))
    newest = store.manifests.newest("2024-01-02")
    assert newest is not None
    late = Manifest("2024-01-02", newest.version, "20200101T000000000000Z-late00", "passed", 9, 0)
    with pytest.raises(UnfinishedError, match="another run published it meanwhile"):
        store.publish(late)
    assert events(spark, lake) == 2


def test_a_lake_of_a_newer_layout_is_told(built: Any, put: Any, lake: Path) -> None:
    built(1)
    (manifest,) = (lake / "_batches" / "2024-01-02").glob("*.json")
    values = json.loads(manifest.read_text())
    (manifest.parent / "00000009-newer.json").write_text(json.dumps({**values, "layout": 4}))
    ended = put("http://127.0.0.1:9")
    assert ended.code == 2 and "its layout is 4, this version knows 3: upgrade" in ended.said[0]


def test_a_lake_whose_name_has_a_globs_letters(build: Any, spark: SparkSession, tmp_path: Path) -> None:
    from jobs.build_events import main  # noqa: PLC0415 - the fixture gives a lake of its own

    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "log.jsonl").write_text('{"who": "v", "at": 1704067200}')
    argv = ["--input", str(tmp_path / "log.jsonl"), "--mapping", str(tmp_path / "m.toml"), "--batch", "b"]
    assert main([*argv, "--lake", str(tmp_path / "lake[1]{a}")]) == 0


def test_receipts_of_an_emulator_are_not_those_of_another_endpoint(built: Any, put: Any) -> None:
    built(2)
    for _ in range(2):
        with emulator.running(EmulatorSettings()) as server:
            assert put(server.endpoint_url).summary["delivered"] == 2
