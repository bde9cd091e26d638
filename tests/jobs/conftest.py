"""Run a job as the command line does, in the run's own session."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pyspark.sql import SparkSession

import emulator
from emulator import EmulatorSettings, Server
from jobs import build_events, put_events, replay_events
from jobs.report.report import Report
from tests.jobs.processes import ROOT, last_summary


class Ended(NamedTuple):
    """How a job ended: its exit code, its summary, and what it said on standard error."""

    code: int
    summary: dict[str, Any]
    said: list[str]


Job = Callable[..., Ended]

MAPPING = """
[source]
format = "json"
schema = "who STRING, user STRING, kind STRING, at BIGINT, item STRING"
[event]
eventType = "kind"
sentAt    = "timestamp_millis(at)"
visitorId = "who"
userId    = "user"
itemId    = "item"
[event.properties]
device = "'web'"
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built as `make zip` builds it."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def cluster_zip(wheel: Path) -> Path:
    """The zip for clusters, made as `make zip` makes it."""
    made = wheel.with_name("clickstream_events.zip")
    subprocess.run([sys.executable, str(ROOT / "tools" / "cluster_zip.py"), str(wheel), str(made)], check=True)
    return made


@pytest.fixture(autouse=True)
def _no_reports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave reports out where no test looks at them: hundreds of runs would each take half a second longer."""
    if "reports" not in request.fixturenames:
        monkeypatch.setattr("jobs.cli.run.start_report", Report)


@pytest.fixture
def reports(lake: Path) -> Callable[..., list[str]]:
    """Read the reports of a batch's runs, the oldest first."""
    return lambda batch="2024-01-02": [path.read_text() for path in sorted((lake / "runs" / batch).glob("*.html"))]


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def read_end(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Callable[[int], Ended]:
    """Take what a job has said since the last one; a test that fails shows it."""

    def read(code: int) -> Ended:
        out, err = capfd.readouterr()
        request.node.add_report_section("call", f"job, which ended with {code}", err + out)
        said = [line.removeprefix("error: ") for line in err.splitlines() if line.startswith("error: ")]
        return Ended(code, last_summary(out, err), said)

    return read


@pytest.fixture
def build(spark: SparkSession, lake: Path, read_end: Callable[[int], Ended]) -> Job:
    def run(*inputs: object, mapping: object, batch: str = "2024-01-02", more: tuple[str, ...] = ()) -> Ended:
        argv = ["--input", *map(str, inputs), "--mapping", str(mapping), "--lake", str(lake), "--batch", batch, *more]
        return read_end(build_events.main(argv))

    return run


@pytest.fixture
def put(spark: SparkSession, lake: Path, read_end: Callable[[int], Ended]) -> Job:
    def run(url: str, batch: str = "2024-01-02", tracking_id: str = "t", more: tuple[str, ...] = ()) -> Ended:
        argv = ["--lake", str(lake), "--batch", batch, "--tracking-id", tracking_id, "--region", "eu-west-1"]
        return read_end(put_events.main([*argv, "--endpoint-url", url, *more]))

    return run


@pytest.fixture
def replay(spark: SparkSession, read_end: Callable[[int], Ended]) -> Job:
    def run(lake: Path, first: str, last: str, *more: str, url: str | None = None, tracking_id: str = "t") -> Ended:
        argv = ["--lake", str(lake), "--from", first, "--to", last, "--tracking-id", tracking_id]
        where = ["--endpoint-url", url] if url else []
        return read_end(replay_events.main([*argv, "--region", "eu-west-1", *where, *more]))

    return run


@pytest.fixture
def may_be_empty(tmp_path: Path) -> tuple[str, ...]:
    """Let batches without events pass their gate."""
    path = tmp_path / "may_be_empty.toml"
    path.write_text("[no_events]\nfail_count = false\n")
    return "--thresholds", str(path)


@pytest.fixture
def retry(spark: SparkSession, lake: Path, read_end: Callable[[int], Ended]) -> Job:
    def run(mapping: object, batch: str = "2024-01-02", more: tuple[str, ...] = ()) -> Ended:
        argv = ["--retry-quarantine", "--mapping", str(mapping), "--lake", str(lake), "--batch", batch, *more]
        return read_end(build_events.main(argv))

    return run


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Start services that end with the test."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(emulator.running(EmulatorSettings(**settings)))


@pytest.fixture(scope="session")
def lakes_built() -> dict[object, tuple[Path, dict[str, Any]]]:
    """What `built` has made of an empty lake, by its arguments, with the build's summary: many tests begin with one."""
    return {}


@pytest.fixture
def built(
    build: Job,
    lake: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    lakes_built: dict[object, tuple[Path, dict[str, Any]]],
) -> Callable[..., dict[str, Any]]:
    """Build a batch: three visitors of 25 events in one session each; the third logs in half-way.

    The first batch of a lake is a copy, where another test has begun with the same one.
    """

    def run(batch: str = "2024-01-02", each: int = 25, more: tuple[str, ...] = ()) -> dict[str, Any]:
        if lake.exists():
            return build_anew(batch, each, more)
        if (batch, each, more) not in lakes_built:
            summary = build_anew(batch, each, more)
            kept = tmp_path_factory.mktemp("built") / "lake"
            shutil.copytree(lake, kept)
            lakes_built[batch, each, more] = kept, summary
        else:
            kept, summary = lakes_built[batch, each, more]
            shutil.copytree(kept, lake)
        return dict(summary)

    def build_anew(batch: str, each: int, more: tuple[str, ...]) -> dict[str, Any]:
        (tmp_path / "mapping.toml").write_text(MAPPING)
        records = [
            {"who": who, "user": f"u-{who}" if who == "c" and n >= 10 else None, "kind": "view", "item": f"{who}{n}"}
            | {"at": 1704067200000 + n * 1000}
            for who in "abc"
            for n in range(each)
        ]
        (tmp_path / f"{batch}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
        ended = build(tmp_path / f"{batch}.jsonl", mapping=tmp_path / "mapping.toml", batch=batch, more=more)
        return dict(ended.summary)

    return run
