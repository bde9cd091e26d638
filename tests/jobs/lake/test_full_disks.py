"""A store that takes nothing more: full, over its quota, read-only, forbidden. What, where, and the right exit code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from emulator import Server
from jobs.build_events import main as build_main
from jobs.errors import ConfigurationError, JobError, UnfinishedError
from jobs.lake.store_errors import cannot_write, store_refusal
from jobs.put_events import main as put_main
from tests.jobs.conftest import MAPPING

Serve = Callable[..., Server]


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of a size, in memory; mounting one needs root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def log_of(folder: Path, count: int) -> list[str]:
    """A log, its mapping and where it goes, as arguments."""
    (folder / "mapping.toml").write_text(MAPPING)
    records = (
        {
            "who": f"v{n % 97}",
            "user": f"u{n % 97}",
            "kind": "view",
            "item": f"i{n * 7919 % 10_007}-{n}",
            "at": 1704153600000 + n,
        }
        for n in range(count)
    )
    (folder / "day.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return ["--input", str(folder / "day.jsonl"), "--mapping", str(folder / "mapping.toml"), "--batch", "2024-01-02"]


@pytest.fixture
def summary(capfd: pytest.CaptureFixture[str]) -> Callable[[], dict[str, Any]]:
    return lambda: json.loads(capfd.readouterr().out.splitlines()[-1])


def test_a_build_on_a_full_disk_ends_with_5_and_leaves_nothing(
    spark: SparkSession, tmp_path: Path, summary: Callable[[], dict[str, Any]]
) -> None:
    arguments = log_of(tmp_path, 60_000)
    with small_disk(tmp_path / "disk", "1m") as disk:
        lake = disk / "lake"
        assert build_main([*arguments, "--lake", str(lake)]) == 5
        told = summary()["error"]
        assert told.startswith("no space left at ") and str(lake) in told and "make room, then run it again" in told
        assert not [path for path in lake.rglob("*.parquet") if "_staging" not in path.parts]
        remount(disk, "size=64m")
        assert build_main([*arguments, "--lake", str(lake)]) == 0
        assert summary()["events"] == 60_000


def test_a_disk_that_is_full_from_the_start_is_no_fault_of_the_command_line(
    spark: SparkSession, tmp_path: Path, summary: Callable[[], dict[str, Any]]
) -> None:
    arguments = log_of(tmp_path, 10)
    with small_disk(tmp_path / "disk", "64k") as disk:
        with suppress(OSError):
            (disk / "filler").write_bytes(b"x" * 1_000_000)
        assert build_main([*arguments, "--lake", str(disk / "lake")]) == 5
        assert "no space left" in summary()["error"]


def test_a_delivery_whose_plan_finds_no_room_ends_with_5_and_sends_nothing(
    spark: SparkSession, tmp_path: Path, serve: Serve, summary: Callable[[], dict[str, Any]]
) -> None:
    arguments, server = log_of(tmp_path, 20_000), serve()
    with small_disk(tmp_path / "disk", "64m") as disk:
        lake = disk / "lake"
        assert build_main([*arguments, "--lake", str(lake)]) == 0
        used = sum(path.stat().st_blocks * 512 for path in disk.rglob("*") if path.is_file())
        remount(disk, f"size={used + 200_000}")
        put = ["--lake", str(lake), "--batch", "2024-01-02", "--tracking-id", "t", "--region", "eu-west-1"]
        summary()
        assert put_main([*put, "--endpoint-url", server.endpoint_url]) == 5
        told = summary()["error"]
        assert "no space left" in told and str(lake) in told
        assert server.summary()["calls"] == 0


def test_a_read_only_lake_is_somebodys_to_mend(
    spark: SparkSession, tmp_path: Path, summary: Callable[[], dict[str, Any]]
) -> None:
    arguments = log_of(tmp_path, 10)
    with small_disk(tmp_path / "disk", "16m") as disk:
        assert build_main([*arguments, "--lake", str(disk / "lake")]) == 0
        remount(disk, "ro")
        assert build_main([*arguments, "--lake", str(disk / "lake")]) == 2
        assert str(disk / "lake") in summary()["error"]
        remount(disk, "rw")


class JavaError:
    """Java's exception, as py4j shows it."""

    def __init__(self, words: str, cause: JavaError | None = None) -> None:
        self._words, self._cause = words, cause

    def toString(self) -> str:  # noqa: N802 - Java's name
        return self._words

    def getCause(self) -> JavaError | None:  # noqa: N802 - Java's name
        return self._cause


def failed(java: JavaError) -> Exception:
    error = RuntimeError("An error occurred while calling o42.parquet.")
    error.java_exception = java  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        ("java.io.IOException: No space left on device", UnfinishedError, "no space left at /lake"),
        (
            "java.io.FileNotFoundException: /tmp/blockmgr-1/0c/shuffle_0_0_0.data (No space left on device)",
            UnfinishedError,
            "no space left at /tmp/blockmgr-1/0c/shuffle_0_0_0.data",
        ),
        ("java.io.IOException: Disk quota exceeded", UnfinishedError, "no space left within the quota at /lake"),
        (
            "org.apache.hadoop.hdfs.protocol.DSQuotaExceededException: The DiskSpace quota of /lake is exceeded",
            UnfinishedError,
            "no space left within the quota at /lake",
        ),
        ("java.io.IOException: Read-only file system", ConfigurationError, "the file system is read-only at /lake"),
        (
            'org.apache.hadoop.security.AccessControlException: Permission denied: user=a, inode="/lake/_plans":b',
            ConfigurationError,
            "permission denied at /lake/_plans",
        ),
        ("java.nio.file.AccessDeniedException: s3a://b/lake/x", ConfigurationError, "permission denied at /lake"),
    ],
)
def test_what_the_store_says_is_found_however_deep_it_is(words: str, kind: type[JobError], told: str) -> None:
    deep = JavaError("Job aborted due to stage failure", JavaError("Task failed", JavaError(words)))
    found = store_refusal(failed(deep), "/lake")
    assert type(found) is kind and str(found).startswith(told) and "then run it again" in str(found)
    assert isinstance(store_refusal(OSError(words), "/lake"), kind)
    outer = RuntimeError("while planning")
    outer.__cause__ = failed(deep)
    assert isinstance(store_refusal(outer, "/lake"), kind)


def test_the_folder_that_a_task_wrote_to_is_named() -> None:
    words = "[TASK_WRITE_FAILED] Task failed while writing rows to file:/lake/events/batch=b/runId=r. SQLSTATE: 58030"
    found = store_refusal(failed(JavaError(words, JavaError("java.io.IOException: No space left on device"))), "/other")
    assert str(found).startswith("no space left at file:/lake/events/batch=b/runId=r, ")


def test_pythons_own_words_name_the_path() -> None:
    assert str(store_refusal(PermissionError(13, "Permission denied", "/x/y"), "/lake")).startswith(
        "permission denied at /x/y: "
    )


def test_what_no_store_said_is_a_fault_of_ours() -> None:
    assert store_refusal(ValueError("no"), "/lake") is None
    assert store_refusal(failed(JavaError("java.lang.NullPointerException")), "/lake") is None


def test_a_place_that_the_user_named() -> None:
    full = cannot_write("--lake", "/lake", OSError("IOException: No space left on device"))
    assert isinstance(full, UnfinishedError) and str(full).startswith("--lake /lake: no space left (IOException")
    other = cannot_write("--lake", "/lake", OSError("IOException: Mkdirs failed"))
    assert isinstance(other, ConfigurationError)
    assert str(other) == "--lake /lake: cannot be written (IOException: Mkdirs failed); give a folder or URI that can"
