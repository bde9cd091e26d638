"""One visitor with much of the log is told before the windows run; small batches are not looked at."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.building import skew
from tests.jobs.conftest import MAPPING


def write(folder: Path, robots: int, people: int) -> Path:
    (folder / "mapping.toml").write_text(MAPPING)
    records = [
        {"who": "secret-robot" if n < robots else f"v{n}", "kind": "view", "at": 1704153600000 + n * 1000, "item": "i"}
        for n in range(robots + people)
    ]
    (folder / "log.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    return folder / "log.jsonl"


@pytest.mark.long
def test_a_robot_with_half_of_a_large_log_is_told_by_its_field_and_share_alone(
    build: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skew, "LARGE_INPUT", 1)
    with caplog.at_level(logging.WARNING, "jobs.building.skew"):
        ended = build(write(tmp_path, robots=60, people=60), mapping=tmp_path / "mapping.toml")
    told = [record.getMessage() for record in caplog.records if record.name == "jobs.building.skew"]
    assert ended.code == 0 and len(told) == 1
    assert told[0].startswith("one visitorId has 60 of the first 120 candidates (50 %):")
    assert "secret" not in told[0]


@pytest.mark.long
def test_an_ordinary_log_is_not_warned_of(
    build: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skew, "LARGE_INPUT", 1)
    with caplog.at_level(logging.WARNING, "jobs.building.skew"):
        assert build(write(tmp_path, robots=3, people=60), mapping=tmp_path / "mapping.toml").code == 0
    assert not [record for record in caplog.records if record.name == "jobs.building.skew"]


def test_a_small_batch_is_not_looked_at(
    spark: SparkSession, build: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a small batch was sampled")

    monkeypatch.setattr(skew, "select_records", never)
    assert build(write(tmp_path, robots=60, people=60), mapping=tmp_path / "mapping.toml").code == 0
