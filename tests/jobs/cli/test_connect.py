"""Spark Connect, which has no JVM, is refused in words: exit code 2, and no stack trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.cli.session import open_session
from jobs.errors import ConfigurationError
from tests.jobs.processes import ROOT, environment

SUBMIT = str(Path(sys.executable).with_name("spark-submit"))
WORDS = "asks for Spark Connect, which has no JVM, and the jobs need one"
ARGUMENTS = [
    "jobs/put_events.py",
    *["--lake", "build/none", "--batch", "b", "--tracking-id", "t", "--region", "eu-west-1"],
]
VARIABLES = [("SPARK_REMOTE", "sc://127.0.0.1:1"), ("SPARK_CONNECT_MODE_ENABLED", "1"), ("SPARK_API_MODE", "Connect")]


def check(command: list[str], *asked_by: str, **variables: str) -> None:
    ended = subprocess.run(
        command, cwd=ROOT, env={**environment(), **variables}, capture_output=True, text=True, check=False
    )
    summary: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert (ended.returncode, summary["exitCode"]) == (2, 2), ended.stderr
    assert summary["error"].startswith(tuple(f"{one}: {WORDS}" for one in asked_by))
    said = ended.stdout + ended.stderr  # spark-submit writes both to the first
    assert f"error: {summary['error']}" in said.splitlines() and "Traceback" not in said


@pytest.mark.parametrize(("name", "value"), VARIABLES)
def test_a_variable_that_asks_for_connect(name: str, value: str) -> None:
    check([sys.executable, *ARGUMENTS], f"{name}={value}", **{name: value})


@pytest.mark.parametrize("setting", ["spark.api.mode=connect", "spark.remote=sc://127.0.0.1:1"])
def test_a_setting_that_asks_for_connect(setting: str) -> None:
    by_variable = setting.replace("spark.remote", "SPARK_REMOTE")  # as Spark 3.5 hands it on
    check([SUBMIT, "--conf", setting, *ARGUMENTS], setting, by_variable)


def test_a_notebooks_session_of_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """As pyspark's builder gives one where a notebook has opened it."""
    connect = SimpleNamespace()
    builder = SimpleNamespace(getOrCreate=lambda: connect)
    builder.appName = builder.config = lambda *_: builder
    monkeypatch.setattr(SparkSession, "builder", builder)
    with pytest.raises(ConfigurationError, match=WORDS):
        open_session("tests")
