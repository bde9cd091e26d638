"""Run a job as the command line does, in the run's own session."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pyspark.sql import SparkSession

from jobs import build_events, put_events


class Ended(NamedTuple):
    """How a job ended: its exit code, its summary, and what it said on standard error."""

    code: int
    summary: dict[str, Any]
    said: list[str]


Job = Callable[..., Ended]


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def build(spark: SparkSession, lake: Path, capfd: pytest.CaptureFixture[str]) -> Job:
    def run(*inputs: object, mapping: object, batch: str = "2024-01-02", more: tuple[str, ...] = ()) -> Ended:
        argv = ["--input", *map(str, inputs), "--mapping", str(mapping), "--lake", str(lake), "--batch", batch, *more]
        return _ended(build_events.main(argv), capfd)

    return run


@pytest.fixture
def put(spark: SparkSession, lake: Path, capfd: pytest.CaptureFixture[str]) -> Job:
    def run(url: str, batch: str = "2024-01-02", tracking_id: str = "t", more: tuple[str, ...] = ()) -> Ended:
        argv = ["--lake", str(lake), "--batch", batch, "--tracking-id", tracking_id, "--region", "eu-west-1"]
        return _ended(put_events.main([*argv, "--endpoint-url", url, *more]), capfd)

    return run


def _ended(code: int, capfd: pytest.CaptureFixture[str]) -> Ended:
    out, err = capfd.readouterr()
    said = [line.removeprefix("error: ") for line in err.splitlines() if line.startswith("error: ")]
    return Ended(code, json.loads(out.splitlines()[-1]), said)


@pytest.fixture
def retry(spark: SparkSession, lake: Path, capfd: pytest.CaptureFixture[str]) -> Job:
    def run(mapping: object, batch: str = "2024-01-02", more: tuple[str, ...] = ()) -> Ended:
        argv = ["--retry-quarantine", "--mapping", str(mapping), "--lake", str(lake), "--batch", batch, *more]
        return _ended(build_events.main(argv), capfd)

    return run
