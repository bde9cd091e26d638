"""Executors that lack something: the user is told what, and nothing is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from emulator import Server
from tests.jobs.conftest import Job
from tests.jobs.pythons import python_with

INSTALL = (
    "75 events are pending; install boto3 and pyarrow in the Python that PYSPARK_PYTHON names there, and run this again"
)


@pytest.mark.parametrize(("given", "lacking"), [("pyarrow", "boto3"), ("boto3", "pyarrow")])
def test_executors_without_a_library(
    spark: SparkSession,
    built: Callable[..., dict[str, Any]],
    put: Job,
    serve: Callable[..., Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    lacking: str,
) -> None:
    built()
    monkeypatch.setattr(spark.sparkContext, "pythonExec", str(python_with(tmp_path / "python", given)))
    server = serve()
    ended = put(server.endpoint_url)
    assert (ended.code, ended.summary["pending"], ended.summary["attempts"]) == (2, 75, 0)
    assert ended.said == [f"the executors' Python lacks {lacking}: {INSTALL}"]


def test_executors_without_the_python_that_is_named(
    spark: SparkSession,
    built: Callable[..., dict[str, Any]],
    put: Job,
    serve: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built()
    monkeypatch.setattr(spark.sparkContext, "pythonExec", "/nowhere/python")
    ended = put(serve().endpoint_url)
    told = "75 events are pending; set PYSPARK_PYTHON to a Python that exists there, and run this again"
    assert ended.code == 2
    assert ended.said == [f"the executors cannot start their Python: {told}"]
