"""A JVM in a POSIX locale, as cron and bare images start one, loses no file and writes to no other folder."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jobs.lake.filesystem import NO_UTF8
from tests.jobs.conftest import MAPPING
from tests.jobs.processes import ROOT, environment, last_summary


def submit(folder: Path, log: str, lake: str) -> tuple[int, dict[str, Any]]:
    """Run spark-submit as cron does; paths are given in the bytes of UTF-8."""
    script = str(ROOT / "jobs" / "build_events.py")
    options = ["--master", "local[1]", "--conf", "spark.ui.enabled=false", script]
    job = [
        "--mapping",
        str(folder / "m.toml"),
        "--batch",
        "b",
        "--input",
        str(folder / log),
        "--lake",
        str(folder / lake),
    ]
    bare = {name: value for name, value in environment().items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    command = [os.fsencode(word) for word in ["spark-submit", *options, *job]]
    ended = subprocess.run(command, env={**bare, "LC_ALL": "C"}, capture_output=True, check=False, cwd=folder)
    return ended.returncode, last_summary(ended.stdout.decode(), ended.stderr.decode(errors="replace"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.toml").write_text(MAPPING)
    for log, names in {"ascii": ["plain"], "both": ["plain", "événements"]}.items():
        (tmp_path / log).mkdir()
        for name in names:
            records = [{"who": name, "kind": "view", "at": 1704067200000 + n} for n in range(11)]
            (tmp_path / log / f"{name}.json").write_text("\n".join(map(json.dumps, records)))
    return tmp_path


@pytest.mark.long
def test_names_in_ascii_are_read_in_any_locale(folder: Path) -> None:
    code, summary = submit(folder, "ascii", "lake")
    assert (code, summary["read"], summary["events"]) == (0, 11, 11)


def test_a_file_that_java_cannot_name_ends_the_run(folder: Path) -> None:
    code, summary = submit(folder, "both", "lake")
    assert (code, summary["error"]) == (2, f"--input {folder}/both/événements.json: {NO_UTF8}")
    assert not list((folder / "lake").rglob("*.parquet"))


@pytest.mark.long
def test_a_lake_that_java_cannot_name_is_not_written_elsewhere(folder: Path) -> None:
    before = sorted(os.listdir(folder))
    code, summary = submit(folder, "ascii", "läke")
    assert code == 2 and summary["error"].endswith(NO_UTF8)
    assert sorted(os.listdir(folder)) == before
