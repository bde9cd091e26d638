"""Fixtures of the whole run: one SparkSession, for tests and for the doctests of the Column helpers."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from pyspark.sql import SparkSession

from jobs.cli.session import open_session

# Before any JVM starts: tests listen and connect on loopback only, and take nothing from the machine's AWS set-up.
os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
# The emulator's test credentials; Python workers inherit them when the JVM starts.
os.environ["AWS_ACCESS_KEY_ID"] = "AKIDEMULATOR"
os.environ["AWS_SECRET_ACCESS_KEY"] = "emulator-secret"
os.environ.pop("AWS_SESSION_TOKEN", None)
os.environ["PYSPARK_SUBMIT_ARGS"] = (
    "--master local[2] --driver-memory 2g --conf spark.ui.enabled=false --conf spark.sql.shuffle.partitions=4 "
    # Many tests run the same jobs: the code that was generated for one is kept for the others.
    "--conf spark.ui.showConsoleProgress=false --conf spark.sql.codegen.cache.maxEntries=5000 pyspark-shell"
)
# Tests run each plan a few times: what a JVM spends on compiling it well, and on collecting garbage beside it, never
# pays. What it compiled stays: in the 48 MB that this compiler has by itself, much is thrown out and compiled anew.
# An archive of classes (tools/load_classes.py) halves what it spends on loading them; one that does not fit is ignored.
os.environ["SPARK_SUBMIT_OPTS"] = os.environ["SPARK_DAEMON_JAVA_OPTS"] = (
    "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:ReservedCodeCacheSize=240m "
    f'"-XX:SharedArchiveFile={Path(sys.prefix, "classes.jsa")}" -Xshare:auto -Xlog:disable -Xlog:all=error:stderr'
)

# No test asserts how long something takes: machines are shared.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")

SAMPLES = Path(__file__).parent / ".." / "shared" / "samples"


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """The run's one session, with the jobs' own settings."""
    session = open_session("tests")
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.fixture(autouse=True)
def _doctest_names(request: pytest.FixtureRequest, doctest_namespace: dict[str, Any]) -> None:
    """Give doctests `spark` and `F`; a module that shows no Column starts no JVM."""
    item = request.node
    if isinstance(item, pytest.DoctestItem) and any("spark." in e.source for e in item.dtest.examples):  # type: ignore[union-attr]
        from pyspark.sql import functions  # noqa: PLC0415 - only doctests need it

        doctest_namespace["spark"] = request.getfixturevalue("spark")
        doctest_namespace["F"] = functions


@pytest.fixture
def samples() -> Path:
    """The folder of real logs; they are no part of the project, so elsewhere their tests are skipped."""
    if not SAMPLES.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the sample logs are missing: {SAMPLES.resolve()}")
        pytest.skip(f"the sample logs are not at {SAMPLES.resolve()}")
    return SAMPLES.resolve()
