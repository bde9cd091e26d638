"""Receipts as files: whole or none."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from jobs.lake.filesystem import FileSystem
from jobs.ledger.receipts import Receipts


def row(name: str, status: str = "delivered", message: str | None = None) -> dict[str, Any]:
    return {
        "requestId": name,
        "userId": None,
        "sessionId": "s",
        "eventIds": [f"{name}-1", f"{name}-2"],
        "status": status,
        "httpStatus": 200 if status == "delivered" else 400,
        "errorCode": None if status == "delivered" else "InvalidInputException",
        "errorMessage": message,
        "attempts": 1,
        "awsRequestId": "aws",
        "startedAt": 1_704_067_200_123_456,
        "latencyMs": 51,
    }


@pytest.fixture
def receipts(spark: SparkSession, tmp_path: Path) -> Receipts:
    return Receipts(FileSystem(spark), str(tmp_path / "receipts"), str(tmp_path / "refusals"))


def test_a_receipt_is_read_as_it_was_written(receipts: Receipts, tmp_path: Path) -> None:
    receipts.write(1, "plan", "run", [row("a"), row("b", "refused", "no")])
    (path,) = (tmp_path / "receipts").glob("*.parquet")
    first, second = pq.read_table(path).to_pylist()
    expected = {name: value for name, value in row("a").items() if name != "errorMessage"}
    assert first == {**expected, "startedAt": datetime(2024, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)}
    assert second["status"] == "refused"
    (words,) = (tmp_path / "refusals").glob("*.parquet")
    assert [each["errorMessage"] for each in pq.read_table(words).to_pylist()] == ["no"]


def test_where_all_is_whole_the_folder_is_read(receipts: Receipts, tmp_path: Path) -> None:
    assert receipts.paths() == []
    receipts.write(1, "plan", "run", [row("a")])
    receipts.write(1, "plan", "run", [row("b")])
    assert receipts.paths() == receipts.paths("plan") == [str(tmp_path / "receipts")]


def test_receipts_of_one_plan_are_told_from_others(receipts: Receipts) -> None:
    receipts.write(1, "plan-1", "run-1", [row("a")])
    receipts.write(1, "plan-1", "run-2", [row("b")])
    receipts.write(1, "plan-2", "run-2", [row("c")])
    assert len(receipts.paths("plan-1")) == 2 and len(receipts.paths("plan-2")) == 1
    assert receipts.paths("plan-3") == []


@pytest.mark.parametrize("keep", [0, 10, -1])
def test_a_file_that_was_cut_short_is_left_out_and_swept(receipts: Receipts, tmp_path: Path, keep: int) -> None:
    receipts.write(1, "plan", "run", [row("a")])
    (whole,) = (tmp_path / "receipts").glob("*.parquet")
    receipts.write(1, "plan", "run", [row("b"), row("c"), row("d")])
    (cut,) = set((tmp_path / "receipts").glob("*.parquet")) - {whole}
    cut.write_bytes(cut.read_bytes()[:keep])
    assert receipts.paths() == [str(whole)]
    receipts.sweep(lambda: None)
    assert not cut.exists() and whole.exists()
    assert receipts.paths() == [str(tmp_path / "receipts")]


def test_the_names_tell_of_which_plans_there_are_receipts_since_when(receipts: Receipts) -> None:
    receipts.write(3, "plan-1", "run-1", [row("a")])
    receipts.write(4, "plan-2", "run-2", [row("b")])
    receipts.write(12, "plan-1", "run-3", [row("c")])
    assert receipts.plans_since(3) == {"plan-1", "plan-2"} == receipts.plans_since(4)
    assert receipts.plans_since(5) == {"plan-1"} and receipts.plans_since(13) == set()
