"""The jobs on a real cluster whose executors have boto3, pyarrow and the zip, and nothing else of ours."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.jobs.conftest import Ended
from tests.jobs.processes import PATIENCE, ROOT, cluster, emulated, end, last_summary, start
from tests.jobs.pythons import OURS, can_import, python_with, python_with_dependencies
from tests.jobs.test_crashes import called, received

pytestmark = pytest.mark.long  # Pythons of their own, a cluster, and a spark-submit each

SESSIONS, EVENTS = 20, 15
"""Two requests a session: of ten events, and of five."""
BATCH = "2024-01-01"
NO_ZIP = "give spark-submit --py-files clickstream_events.zip, and run this again"


class Place(NamedTuple):
    """A cluster, and what its driver and executors run on."""

    master: str
    folder: Path
    driver: Path
    installed: Path
    executor: Path
    archive: Path

    def submit(self, driver: Path, script: Path, *arguments: str, folder: Path = ROOT, archive: bool = True) -> Ended:
        """Submit a job in client mode; give how it ended."""
        ours = ("spark.ui.enabled=false", "spark.sql.shuffle.partitions=2", "spark.driver.host=127.0.0.1")
        confs = [part for setting in ours for part in ("--conf", setting)]
        brings = ["--py-files", str(self.archive)] if archive else []
        pythons = {"PYSPARK_DRIVER_PYTHON": str(driver), "PYSPARK_PYTHON": str(self.executor)}
        command = ["spark-submit", "--master", self.master, *confs, *brings, str(script), *arguments]
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        job = start(*command, log=log, folder=folder, more=pythons)
        try:
            return ended(job.wait(PATIENCE), log.read_text())
        finally:
            end(job)

    def put(self, url: str) -> list[str]:
        where = ["--lake", str(self.folder / "lake"), "--batch", BATCH, "--tracking-id", "t", "--region", "eu-west-1"]
        return [*where, "--endpoint-url", url]


def ended(code: int, said: str) -> Ended:
    lines = [line.removeprefix("error: ") for line in said.splitlines() if line.startswith("error")]
    return Ended(code, last_summary(said), lines)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, wheel: Path, cluster_zip: Path) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("cluster")
    driver, installed = (python_with_dependencies(folder / name) for name in ("driver", "installed"))
    zipfile.ZipFile(wheel).extractall(next((folder / "installed" / "lib").glob("python3*/site-packages")))
    executor = python_with(folder / "executor", "boto3", "pyarrow")
    with cluster(folder) as master:
        yield Place(master, folder, driver, installed, executor, cluster_zip)


@pytest.fixture(scope="module")
def batch(place: Place) -> Ended:
    """A batch, built by the repository's script: the driver has what we depend on, and the zip."""
    events = [{"aid": n, "ts": 1704067200000 + n * 1000, "type": "clicks"} for n in range(EVENTS)]
    records = [json.dumps({"session": session, "events": events}) for session in range(SESSIONS)]
    (place.folder / "log.jsonl").write_text("\n".join(records))
    names = ["--input", str(place.folder / "log.jsonl"), "--mapping", "otto", "--lake", str(place.folder / "lake")]
    return place.submit(place.driver, ROOT / "jobs" / "build_events.py", *names, "--batch", BATCH)


def test_nothing_of_ours_is_on_driver_and_executors(place: Place) -> None:
    for python in (place.driver, place.executor):
        assert can_import(python, *OURS, "emulator", "demo") == []
    assert can_import(place.executor, "boto3", "pyarrow", "pyspark", "pandas", "great_expectations") == [
        "boto3",
        "pyarrow",
    ]


def test_a_batch_is_built_by_the_repositorys_script(batch: Ended) -> None:
    assert (batch.code, batch.summary["gate"]) == (0, "passed")
    assert (batch.summary["events"], batch.summary["requests"]) == (SESSIONS * EVENTS, SESSIONS * 2)


def test_without_the_zip_the_executors_cannot_send_and_with_it_they_do(batch: Ended, place: Place) -> None:
    """The driver has the wheel installed first, then a script in a folder of its own and the zip."""
    away = place.folder / "away"
    away.mkdir()
    shutil.copy(ROOT / "jobs" / "put_events.py", away)
    wheels = next((place.folder / "installed" / "lib").glob("python3*/site-packages/jobs/put_events.py"))
    with emulated(place.folder / "emulator.log") as url:
        forgotten = place.submit(place.installed, wheels, *place.put(url), folder=away, archive=False)
        assert called(url) == 0
        sent = place.submit(place.driver, Path("put_events.py"), *place.put(url), folder=away)
        arrived = received(url)
    assert (forgotten.code, forgotten.summary["pending"]) == (2, SESSIONS * EVENTS)
    assert forgotten.said == [
        f"the executors cannot import the project: {SESSIONS * EVENTS} events are pending; {NO_ZIP}"
    ]
    assert (sent.code, sent.summary["delivered"], sent.summary["pending"]) == (0, SESSIONS * EVENTS, 0)
    assert len(arrived) == SESSIONS * EVENTS == sum(arrived.values())


@pytest.mark.parametrize("job", ["build_events", "put_events", "replay_events"])
def test_without_the_zip_a_driver_that_has_nothing_of_ours_says_so(place: Place, job: str) -> None:
    script = ROOT / "jobs" / f"{job}.py"
    run = subprocess.run([place.driver, script, "--help"], capture_output=True, text=True, check=False)
    told = "the driver's Python lacks jobs: --py-files clickstream_events.zip brings jobs, pip the rest"
    assert (run.returncode, run.stderr) == (2, f"error: {told}\n")
    assert json.loads(run.stdout) == {"job": job, "batch": None, "exitCode": 2, "error": told}


def test_the_installed_wheel_runs_without_spark_submit(batch: Ended, place: Place) -> None:
    log = place.folder / "module.log"
    with emulated(place.folder / "second-emulator.log") as url:
        command = [str(place.installed), "-m", "jobs.put_events", *place.put(url), "--resend"]
        pythons = {"PYSPARK_PYTHON": str(place.installed), "PYSPARK_SUBMIT_ARGS": "--master local[2] pyspark-shell"}
        job = start(*command, log=log, folder=place.folder, more=pythons)
        try:
            sent = ended(job.wait(PATIENCE), log.read_text())
        finally:
            end(job)
        assert len(received(url)) == SESSIONS * EVENTS
    assert (sent.code, sent.summary["delivered"]) == (0, SESSIONS * EVENTS)
