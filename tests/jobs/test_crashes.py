"""Whatever is killed, at whatever moment: after another run every event is there, and few came twice.

`CRASH_RUNS=50 make test-long ARGS="-s tests/jobs/test_crashes.py"` tries it fifty times; CI a few.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pyspark.sql import SparkSession

from jobs import build_events, put_events
from tests.jobs.processes import (
    PATIENCE,
    Process,
    below,
    cluster,
    emulated,
    end,
    kill,
    last_summary,
    processes,
    start,
    wait_for,
)

pytestmark = pytest.mark.long  # a cluster, and a spark-submit each

RUNS = int(os.environ.get("CRASH_RUNS", "4"))
EVENTS, VISITORS = 18_000, 900
RATE = 300
IN_FLIGHT = 32
TWICE = 10 * (2 * IN_FLIGHT + round(RATE * 1.5))
"""Events that a crash may send twice: those in flight, and those of the last second and a half, whose receipts were not
written yet."""
MAPPING = """
[source]
format = "json"
schema = "who STRING, at BIGINT, item STRING"
[event]
eventType = "'view'"
sentAt    = "timestamp_millis(at)"
userId    = "who"
itemId    = "item"
"""
VICTIMS = {
    "worker": lambda each: "pyspark" in each.command and "daemon" in each.command,
    "executor": lambda each: "CoarseGrainedExecutorBackend" in each.command,
    "driver": lambda each: "jobs/put_events.py" in each.command and "java" not in each.command.split()[0],
    "jvm": lambda each: "SparkSubmit" in each.command,
}


class Lake(NamedTuple):
    """A lake with one batch, to be copied."""

    root: Path
    eventIds: set[str]


@pytest.fixture(scope="module")
def batch(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Twenty events of each visitor, in one session: two requests."""
    folder = tmp_path_factory.mktemp("crashes")
    (folder / "mapping.toml").write_text(MAPPING)
    with (folder / "log.jsonl").open("w") as log:
        for number in range(EVENTS):
            record = {"who": f"v{number % VISITORS}", "at": 1704067200000 + number * 1000, "item": f"i{number}"}
            log.write(json.dumps(record) + "\n")
    names = ["--input", str(folder / "log.jsonl"), "--mapping", str(folder / "mapping.toml")]
    assert build_events.main([*names, "--lake", str(folder / "lake"), "--batch", "2024-01-01"]) == 0
    rows = spark.read.parquet(str(folder / "lake" / "events")).select("eventId").collect()
    assert len(rows) == EVENTS
    return Lake(folder / "lake", {row.eventId for row in rows})


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with cluster(tmp_path_factory.mktemp("cluster")) as url:
        yield url


SPECULATION = (
    "spark.speculation=true",
    "spark.speculation.interval=100ms",
    "spark.speculation.multiplier=1.1",
    "spark.speculation.quantile=0.5",
    "spark.speculation.minTaskRuntime=100ms",
)


def submit(master: str, lake: Path, url: str, log: Path, settings: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    ours = ("spark.ui.enabled=false", "spark.sql.shuffle.partitions=4", "spark.driver.host=127.0.0.1")
    confs = [part for setting in (*ours, *settings) for part in ("--conf", setting)]
    return start("spark-submit", "--master", master, *confs, "jobs/put_events.py", *options(lake, url), log=log)


def options(lake: Path, url: str) -> list[str]:
    where = ["--lake", str(lake), "--batch", "2024-01-01", "--tracking-id", "t", "--region", "eu-west-1"]
    return [*where, "--endpoint-url", url, "--max-rate", str(RATE), "--max-in-flight", str(IN_FLIGHT)]


def again(lake: Path, url: str, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Run it once more, in the tests' own Spark session, and give its summary."""
    capfd.readouterr()
    put_events.main(options(lake, url))
    return last_summary(capfd.readouterr().out)


def received(url: str) -> Counter[str]:
    with urllib.request.urlopen(f"{url}/_emulator/events") as answer:
        return Counter(json.loads(line)["eventId"] for line in answer)


def called(url: str) -> int:
    with urllib.request.urlopen(f"{url}/_emulator/summary") as answer:
        return int(json.load(answer)["calls"])


def twice(arrived: Counter[str]) -> int:
    return sum(count - 1 for count in arrived.values())


def executors(master: str) -> list[Process]:
    """The cluster's executors: of the one driver that runs there."""
    running = {each.pid: each for each in processes()}
    workers = {pid for pid, each in running.items() if "worker.Worker" in each.command and master in each.command}
    return [each for each in running.values() if "ExecutorBackend" in each.command and each.parent in workers]


def python_of(executor: Process) -> list[int]:
    """The Python that an executor has started: nothing as long as it was given no task."""
    return [each.pid for each in below(executor.pid) if "pyspark" in each.command and each.pid != executor.pid]


def victims(kind: str, driver: subprocess.Popen[str], master: str) -> list[int]:
    """What there is to be killed of a kind, of this driver and of its executors."""
    family = [each for root in (driver.pid, *(each.pid for each in executors(master))) for each in below(root)]
    found = {each.pid: each for each in family if VICTIMS[kind](each)}
    if kind == "worker":  # those that send are started by others of that name
        found = {pid: each for pid, each in found.items() if each.parent in found}
    return sorted(found)


@pytest.mark.parametrize("run", range(RUNS))
def test_whatever_is_killed_at_whatever_moment_is_made_good_by_another_run(
    batch: Lake, master: str, tmp_path: Path, run: int, capfd: pytest.CaptureFixture[str]
) -> None:
    dice = random.Random(run)
    kind = list(VICTIMS)[run % len(VICTIMS)]
    moment = dice.uniform(0.0, 0.8 * EVENTS / 10 / RATE)
    lake, log = tmp_path / "lake", tmp_path / "put.log"
    shutil.copytree(batch.root, lake)
    with emulated(tmp_path / "emulator.log", "--latency-ms", "50") as url:
        first = submit(master, lake, url, log)
        try:
            wait_for(lambda: called(url))
            time.sleep(moment)
            while not (found := victims(kind, first, master)):
                assert first.poll() is None, f"it ended before there was a {kind} to kill"
            kill(dice.choice(found))
            code = first.wait(PATIENCE)
        finally:
            end(first)
        before = sum(received(url).values())
        ended = again(lake, url, capfd)
        arrived = received(url)
    with capfd.disabled():
        sys.stdout.write(
            f"\n{kind} killed {moment:.1f} s after the first call: it ended with {code}, {before} events had come; in "
            f"the end {len(arrived)} of {EVENTS}, {twice(arrived)} of them twice (bound {TWICE})\n"
        )
    assert set(arrived) == batch.eventIds
    assert twice(arrived) <= TWICE
    assert ended["exitCode"] == 0
    assert ended["events"] == EVENTS == ended["alreadyDelivered"] + ended["delivered"]


def test_a_task_that_stands_still_is_taken_over_by_its_copy_and_does_not_come_back(
    batch: Lake, master: str, tmp_path: Path
) -> None:
    lake, log = tmp_path / "lake", tmp_path / "put.log"
    shutil.copytree(batch.root, lake)
    with emulated(tmp_path / "emulator.log", "--latency-ms", "50") as url:
        driver = submit(master, lake, url, log, SPECULATION)
        frozen: list[int] = []
        try:
            wait_for(lambda: called(url) > 200)
            frozen = next(filter(None, map(python_of, executors(master))))  # one may have come too late for a task
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            code = driver.wait(PATIENCE)
            in_the_end = called(url)
        finally:
            for pid in frozen:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            end(driver)
        time.sleep(1.0)  # in which a zombie would send
        assert called(url) <= in_the_end + IN_FLIGHT  # those that were begun when it was frozen; it would send hundreds
        arrived = received(url)
    assert frozen and code == 0, log.read_text()[-2000:]
    assert set(arrived) == batch.eventIds
    assert twice(arrived) <= TWICE
    ended = last_summary(log.read_text())
    assert (ended["delivered"], ended["pending"]) == (EVENTS, 0)


def test_speculation_alone_sends_nothing_twice(batch: Lake, master: str, tmp_path: Path) -> None:
    lake, log = tmp_path / "lake", tmp_path / "put.log"
    shutil.copytree(batch.root, lake)
    with emulated(tmp_path / "emulator.log", "--latency-ms", "50") as url:
        driver = submit(master, lake, url, log, (*SPECULATION, "spark.speculation.quantile=0.0"))
        try:
            assert driver.wait(PATIENCE) == 0
        finally:
            end(driver)
        arrived = received(url)
    assert set(arrived) == batch.eventIds
    assert twice(arrived) == 0


def test_a_stage_that_is_computed_again_since_its_shuffle_files_were_lost_sends_the_rest_of_each_part(
    batch: Lake, master: str, tmp_path: Path
) -> None:
    """Both executors die in mid-delivery, and with them what the parts are read from."""
    lake, log = tmp_path / "lake", tmp_path / "put.log"
    shutil.copytree(batch.root, lake)
    with emulated(tmp_path / "emulator.log", "--latency-ms", "50") as url:
        driver = submit(master, lake, url, log)
        try:
            wait_for(lambda: called(url) > 300)
            for executor in executors(master):
                for each in below(executor.pid):
                    kill(each.pid)
            code = driver.wait(PATIENCE)
        finally:
            end(driver)
        arrived = received(url)
    assert code == 0, log.read_text()[-2000:]
    assert "FetchFailed" in log.read_text()
    assert set(arrived) == batch.eventIds
    assert twice(arrived) <= TWICE
    ended = last_summary(log.read_text())
    assert (ended["delivered"], ended["pending"]) == (EVENTS, 0)
