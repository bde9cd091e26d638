"""A build, a delivery and a replay are killed at every place of their work, and made good by the next run.

Each is ended by SIGKILL or SIGTERM at an act on the store (tests/jobs/kill_points.py), then run again; after that every
table is compared, row for row, with that of a run which nothing disturbed. CI tries a few places;
`make kill-sweep` tries `KILL_POINTS=40` of each job with each signal.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from unittest import mock

import pytest
from pyspark.sql import DataFrame, SparkSession

import emulator
from emulator import EmulatorSettings, Faults, Server
from jobs import build_events
from jobs.lake.tables import Lake
from jobs.report.report import Report
from tests.jobs.kill_points import JOBS, MOMENTS, Acts, KillPoint
from tests.jobs.processes import PATIENCE, ROOT, end, environment

POINTS: Final = int(os.environ.get("KILL_POINTS", "0"))
"""Places of each job with each signal; 0 for the few that `make test` (SIGTERM) and `make test-long` (SIGKILL) try."""
IN_CI: Final[dict[str, tuple[float, ...]]] = {"SIGKILL": (0.6,), "SIGTERM": (0.4,)}
"""Those few, as shares of a job's places."""
LONG: Final[dict[str, Any]] = {"SIGKILL": pytest.mark.long, "SIGTERM": ()}
"""What is killed is a process of its own, which starts a JVM."""
MAPPING: Final = """
[source]
format = "json"
schema = "who STRING, at BIGINT, item STRING"
[event]
eventType = "'view'"
sentAt    = "timestamp_millis(at)"
visitorId = "who"
userId    = "who"
itemId    = "item"
"""
DAYS: Final = ("2024-01-01", "2024-01-02")
RATE: Final = 25
TWICE: Final = 10 * (2 * 256 + round(RATE * 1.5))
TABLES: Final = ("events", "quarantine", "_visits")

Name = Literal["build", "put", "replay"]


@dataclass(frozen=True)
class Scene:
    """A job about to run.

    Attributes:
        job: its name.
        lake: what it begins with; it is copied for each run.
        arguments: the command line, without what differs from run to run.
    """

    job: Name
    lake: Path
    arguments: tuple[str, ...]

    def command(self, lake: Path, url: str) -> list[str]:
        """The command line for a copy of the lake."""
        where = ["--lake", str(lake)]
        service = ["--tracking-id", "t", "--region", "eu-west-1", "--max-rate", str(RATE), "--endpoint-url", url]
        return [*self.arguments, *where, *(service if self.job != "build" else [])]


class Outcome(NamedTuple):
    """What a run has left.

    Attributes:
        acts: of the run.
        summary: what it says, without what differs from run to run.
        tables: the rows of each table, as whoever follows the manifests reads them, and as `spark.read.parquet` does.
    """

    acts: list[Any]
    summary: dict[str, Any]
    tables: dict[str, list[str]]


def write_log(path: Path, day: str, visitors: int, each: int, torn: int) -> Path:
    """So many visitors' events, ten minutes apart from 23:00 of the day before on, and lines that are no record."""
    first = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=1)
    with path.open("w") as log:
        for number in range(visitors * each):
            at = int((first + timedelta(minutes=10 * (number // visitors))).timestamp() * 1000)
            who = number % visitors
            log.write(json.dumps({"who": f"v{who}", "at": at + who, "item": f"{day}-{number}"}) + "\n")
        log.write('{"who": "v\n' * torn)
    return path


@pytest.fixture(scope="module")
def scenes(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scene]:
    """Two days: the second, built once already, is to be built again; or both are to be delivered."""
    folder = tmp_path_factory.mktemp("scenes")
    mapping, lake = folder / "mapping.toml", folder / "lake"
    mapping.write_text(MAPPING)
    common = ("--mapping", str(mapping), "--look-back", "1")
    built = [write_log(folder / f"{day}.jsonl", day, 20, 14, 3) for day in DAYS]
    for day, log in zip(DAYS, built, strict=True):
        assert build_events.main(["--input", str(log), *common, "--lake", str(lake), "--batch", day]) == 0
    more = write_log(folder / "more.jsonl", DAYS[1], 24, 15, 5)
    interval = ("--interval", f"{DAYS[1]}T00:00/2024-01-03T00:30")
    return {
        "build": Scene("build", lake, ("--input", str(more), *common, *interval, "--batch", DAYS[1])),
        "put": Scene("put", lake, ("--batch", DAYS[1])),
        "replay": Scene("replay", lake, ("--from", DAYS[0], "--to", DAYS[1])),
    }


@pytest.fixture(autouse=True)
def _sigterm_ends_no_test() -> Iterator[None]:
    """A signal that comes when the job has just ended must not end the tests."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def undisturbed(
    spark: SparkSession, scenes: dict[str, Scene], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Outcome]:
    """What each job leaves where nothing disturbs it."""
    found: dict[str, Outcome] = {}

    def run(job: str) -> Outcome:
        if job not in found:
            lake = tmp_path_factory.mktemp(f"undisturbed-{job}") / "lake"
            shutil.copytree(scenes[job].lake, lake)
            with serving() as server:
                acts = Acts()
                with acts.watched():
                    ended = run_here(scenes[job], lake, server.endpoint_url)
                found[job] = Outcome(acts.done, told(ended), rows_of(spark, lake, server))
        return found[job]

    return run


def serving() -> Any:
    """An emulator that refuses a few events for good."""
    return emulator.running(EmulatorSettings(latency_ms=20, faults=Faults(poison_rate=0.02)))


def run_here(scene: Scene, lake: Path, url: str) -> dict[str, Any]:
    """Run a job in the tests' own session; give its summary."""
    with mock.patch("sys.stdout") as stdout, mock.patch("jobs.cli.run.start_report", Report):
        JOBS[scene.job](scene.command(lake, url))
    written = "".join(str(call.args[0]) for call in stdout.write.call_args_list)
    return dict(json.loads(written.splitlines()[-1]))


def run_and_die(scene: Scene, lake: Path, url: str, point: KillPoint, log: Path) -> int:
    """Run a job in a process that kills itself; give how that ended."""
    command = [sys.executable, "-m", "tests.jobs.kill_points", str(point.number), point.moment, scene.job]
    submit = os.environ["PYSPARK_SUBMIT_ARGS"]
    more = {**environment(), "PYSPARK_SUBMIT_ARGS": submit}
    with log.open("w") as out:
        process = subprocess.Popen(
            [*command, *scene.command(lake, url)],
            cwd=ROOT,
            env=more,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            return process.wait(PATIENCE)
        finally:
            if process.poll() is None:
                end(process)


def told(summary: dict[str, Any]) -> dict[str, Any]:
    """What a summary says of the batch, also after more than one run."""
    counted = {name: summary[name] for name in ("exitCode", "events") if name in summary}
    if "delivered" in summary:
        acknowledged = summary["delivered"] + summary["alreadyDelivered"]
        return counted | {"acknowledged": acknowledged} | {name: summary[name] for name in ("deadLettered", "pending")}
    names = ("read", "candidates", "quarantined", "duplicates", "sessions", "users", "reasons", "gate")
    return counted | {name: summary[name] for name in names}


def lines(rows: DataFrame) -> list[str]:
    return sorted(json.dumps(row.asDict(recursive=True), default=str, sort_keys=True) for row in rows.collect())


def rows_of(spark: SparkSession, lake: Path, server: Server) -> dict[str, list[str]]:
    """Read every table, by the manifests and by path; of what differs from run to run only what it comes to."""
    store = Lake(spark, str(lake))
    found: dict[str, list[str]] = {}
    for day in DAYS:
        manifest = store.manifests.current(day)
        assert manifest is not None
        says = {
            name: value for name, value in asdict(manifest).items() if name not in ("runId", "version", "dataBytes")
        }
        found[f"manifest of {day}"] = [json.dumps(says, sort_keys=True)]
        for table in TABLES:
            folder = lake / table / f"batch={day}" / f"runId={manifest.runId}"
            found[f"{table} of {day}"] = lines(spark.read.parquet(str(folder)))
            assert [path.name for path in folder.parent.iterdir()] == [folder.name], "rows that no manifest names"
    for table in ("events", "quarantine"):  # Spark reads no folder of a name like _visits
        found[f"{table} by path"] = lines(spark.read.parquet(str(lake / table)).drop("runId"))
    found["order"] = [f"{label} {store.manifests.order().interval(label)}" for label in store.manifests.order().labels]
    if (lake / "receipts").exists():
        receipts = spark.read.parquet(str(lake / "receipts"))
        ended = receipts.selectExpr("batch", "explode(eventIds) AS eventId", "status").distinct()
        # What was sent twice has two receipts, which say the same.
        found["receipts"] = lines(ended)
        if (lake / "dead_letters").exists():
            letters = spark.read.parquet(str(lake / "dead_letters"))
            found["dead letters"] = lines(letters.drop("runId", "deliveryId"))
    found["received"] = sorted({str(event["eventId"]) for event in server.events("t")})
    return found


def places(acts: int) -> list[KillPoint]:
    """All places of a job that has so many acts: before the first, then during and after each."""
    first = KillPoint(1, "before")
    return [first, *(KillPoint(number, moment) for number in range(1, acts + 1) for moment in MOMENTS[1:])]


def chosen() -> list[Any]:
    """The job, the signal and the share of its places of each case, spread evenly."""
    shares = {name: [place / POINTS for place in range(POINTS)] if POINTS else few for name, few in IN_CI.items()}
    return [
        pytest.param(job, name, share, id=f"{job}-{name}-{share:.3f}", marks=LONG[name])
        for job in JOBS
        for name, all_shares in shares.items()
        for share in all_shares
    ]


@pytest.mark.parametrize(("job", "by", "share"), chosen())
def test_what_is_killed_is_made_good_by_the_next_run(
    spark: SparkSession,
    scenes: dict[str, Scene],
    undisturbed: Callable[[str], Outcome],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    job: str,
    by: str,
    share: float,
) -> None:
    scene, expected, lake = scenes[job], undisturbed(job), tmp_path / "lake"
    every = places(len(expected.acts))
    point = every[int(share * len(every))]
    shutil.copytree(scene.lake, lake)
    with serving() as server:
        url = server.endpoint_url
        if by == "SIGKILL":
            code = run_and_die(scene, lake, url, point, tmp_path / "killed.log")
            assert code in (-signal.SIGKILL, expected.summary["exitCode"]), (tmp_path / "killed.log").read_text()[
                -3000:
            ]
        else:
            with Acts(point, lambda: os.kill(os.getpid(), signal.SIGTERM)).watched():
                code = run_here(scene, lake, url)["exitCode"]
            assert code in (5, expected.summary["exitCode"])
        again = run_here(scene, lake, url)
        with capsys.disabled():
            act = expected.acts[point.number - 1]
            place = f"{point.moment} act {point.number} of {len(expected.acts)}"
            what = f"{act.method} {'/'.join(Path(act.path).parts[-3:])}"
            sys.stdout.write(f"\n{job} {by} {place} ({what}): {code} ")
        found = rows_of(spark, lake, server)
        twice = sum(count - 1 for count in Counter(str(event["eventId"]) for event in server.events("t")).values())
    assert told(again) == expected.summary
    for table, rows in expected.tables.items():
        assert found[table] == rows, table
    assert found.keys() == expected.tables.keys()
    assert twice <= TWICE
    if job == "build":  # a delivery of which nothing is left takes no lock, and leaves what a dead one held
        assert not list((lake / "_locks").glob("*/*.claim"))
    with suppress(FileNotFoundError):
        shutil.rmtree(tmp_path)  # hundreds of lakes
