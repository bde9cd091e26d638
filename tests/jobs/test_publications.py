"""A batch's last good publication is never lost: what a failed build leaves, what is swept, who may build."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from emulator import Server
from jobs import build_events
from jobs.errors import UnfinishedError
from jobs.lake.filesystem import FileSystem
from jobs.lake.manifests import Manifest, Manifests
from jobs.lake.tables import Lake
from jobs.locking.claims import Claims, batch_lock
from jobs.locking.holders import this_process
from jobs.locking.locks import hold_lock
from tests.jobs.conftest import Ended, Job
from tests.jobs.lakes import DAY_ONE, day, days, lay
from tests.jobs.processes import PATIENCE, ROOT, end, environment, last_summary, start, wait_for

MAPPING = """
[source]
format = "json"
schema = "who STRING, at STRING, item STRING"
[event]
eventType = "'view'"
sentAt    = "to_timestamp(at)"
visitorId = "who"
itemId    = "item"
"""
BATCH = "2024-01-02"
TABLES = ("events", "quarantine", "_visits")

Day = Callable[..., Ended]


class AheadByTenMinutes(datetime):
    """The clock of another host."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(minutes=10)


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "m.toml"
    path.write_text(MAPPING)
    return path


@pytest.fixture
def shop(build: Job, mapping: Path, tmp_path: Path) -> Day:
    """Build a day of so many good records, a second apart from noon on, and so many without a time."""

    def run(good: int, bad: int = 0, batch: str = BATCH, at: str = "12:00", more: tuple[str, ...] = ()) -> Ended:
        first = DAY_ONE.fromisoformat(f"{batch[:10]}T{at}:00+00:00")
        times = [(first + timedelta(seconds=n)).isoformat() for n in range(good)] + ["nonsense"] * bad
        records = [{"who": "v", "at": time, "item": f"i{n}"} for n, time in enumerate(times)]
        (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in records))
        return build(tmp_path / "log.jsonl", mapping=mapping, batch=batch, more=more)

    return run


def runs_of(lake: Path, batch: str = BATCH) -> dict[str, set[str]]:
    """Whose rows lie in each table of a batch."""
    found = {table: (lake / table / f"batch={batch}").glob("runId=*") for table in TABLES}
    return {table: {path.name.removeprefix("runId=") for path in paths} for table, paths in found.items()}


def only(*runs: str) -> dict[str, set[str]]:
    """What `runs_of` gives where all tables hold rows of these runs alone."""
    return {table: set(runs) for table in TABLES}


def events(spark: SparkSession, lake: Path) -> int:
    return spark.read.parquet(str(lake / "events")).count()


def test_a_build_that_cannot_begin_says_whose_events_and_whose_page_the_batch_has(
    spark: SparkSession, shop: Day, build: Job, lake: Path, tmp_path: Path, reports: Callable[..., list[str]]
) -> None:
    run = shop(40, 1).summary["runId"]
    failed = shop(400, 600).summary["runId"]
    (tmp_path / "none.toml").write_text("[source]\n")
    ended = build(tmp_path, mapping=tmp_path / "none.toml", batch=BATCH)
    assert (ended.code, ended.summary["kept"], ended.summary["gate"]) == (2, run, None)
    page = next(text for text in reports(BATCH) if ended.summary["runId"] in text)
    assert f"What run {run} published stays as it is." in page
    assert f"is that of run {failed}: it shows every check" in page


def test_a_build_that_fails_leaves_the_good_one_in_its_place_and_says_so(
    spark: SparkSession, shop: Day, put: Job, serve: Callable[..., Server], lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = shop(40, 1)
    assert (good.code, good.summary["kept"]) == (0, None)
    run = good.summary["runId"]
    failed = shop(400, 600)
    assert (failed.code, failed.summary["gate"], failed.summary["kept"]) == (3, "failed", run)
    assert failed.said[0].startswith(f"batch {BATCH}: failed its gate: sentAt_missing: 600 of 1,000")
    kept = f"batch {BATCH}: keeps what run {run} published ("
    assert [line for line in failed.said if line.startswith(kept) and "40 events" in line]
    page = (lake / f"quality/batches/{BATCH}.html").read_text()
    assert run in page and "40 events" in page and failed.summary["runId"] in page and page.count("<pre") == 20
    findings = json.loads((lake / f"quality/batches/{BATCH}.failed.json").read_text())
    assert (findings["gate"], findings["kept"]) == ("failed", run)
    assert runs_of(lake) == only(run)
    assert len(list((lake / "_batches" / BATCH).glob("*.json"))) == 2, "the failure is on record"
    caplog.clear()
    sent = put(serve().endpoint_url)
    assert (sent.code, sent.summary["delivered"]) == (0, 40)
    assert any(
        failed.summary["runId"] in line and run in line and "failed its gate" in line for line in caplog.messages
    )
    assert shop(50).summary["events"] == 50
    assert events(spark, lake) == 50


def test_the_next_day_goes_on_from_the_good_one(spark: SparkSession, shop: Day, lake: Path) -> None:
    shop(10, at="23:55")
    assert shop(400, 600, at="23:55").code == 3
    assert shop(1, batch="2024-01-03", at="00:05").code == 0
    sessions = {row["sessionId"] for row in spark.read.parquet(str(lake / "events")).select("sessionId").collect()}
    assert len(sessions) == 1, "the visit of the good build is taken up"


def test_the_quarantine_of_the_good_one_is_retried(shop: Day, retry: Job, mapping: Path, lake: Path) -> None:
    shop(40, 2)
    assert shop(400, 600).code == 3
    mapping.write_text(MAPPING.replace('"to_timestamp(at)"', "\"coalesce(to_timestamp(at), TIMESTAMP'2024-01-02')\""))
    ended = retry(mapping)
    assert (ended.code, ended.summary["events"], ended.summary["read"]) == (0, 2, 2)
    assert {len(runs) for runs in runs_of(lake).values()} == {1}


def test_a_day_that_never_passed_keeps_the_quarantine_of_its_last_build_alone(shop: Day, put: Job, lake: Path) -> None:
    first, second = shop(400, 600), shop(400, 600)
    assert (first.code, first.summary["kept"], second.code, second.summary["kept"]) == (3, None, 3, None)
    assert runs_of(lake) == {"events": set(), "quarantine": {second.summary["runId"]}, "_visits": set()}
    assert put("http://127.0.0.1:9").code == 3
    good = shop(3)
    assert good.code == 0
    assert runs_of(lake) == only(good.summary["runId"])


@pytest.mark.parametrize("name", ["20200101T000000000000Z-dead00", "29990101T000000000000Z-dead00"])
@pytest.mark.parametrize("fails", [True, False])
def test_what_killed_runs_left_is_swept_whatever_their_clocks_said(
    shop: Day, lake: Path, name: str, fails: bool
) -> None:
    good = shop(5).summary["runId"]
    for table in TABLES:
        shutil.copytree(lake / table / f"batch={BATCH}" / f"runId={good}", lake / table / f"batch={BATCH}/runId={name}")
    ended = shop(400, 600) if fails else shop(6)
    assert runs_of(lake) == only(good if fails else ended.summary["runId"])


@pytest.mark.parametrize("fails", [True, False])
@pytest.mark.long
def test_builds_of_a_host_whose_clock_is_ahead_are_older_all_the_same(
    spark: SparkSession, shop: Day, lake: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Also of the second host, whose clock is right, and of the quarantine."""
    with monkeypatch.context() as patch:
        patch.setattr("jobs.cli.run.datetime", AheadByTenMinutes)
        ahead = shop(30, 3).summary["runId"]
    assert ahead > shop(40, 4).summary["runId"], "as the clocks say"
    last = shop(50, 5).summary["runId"]
    if fails:
        with monkeypatch.context() as patch:
            patch.setattr("jobs.cli.run.datetime", AheadByTenMinutes)
            assert shop(400, 600).code == 3
    current = Lake(spark, str(lake)).manifests.current(BATCH)
    assert current is not None and current.runId == last
    assert runs_of(lake) == only(last)
    assert events(spark, lake) == 50
    assert spark.read.parquet(str(lake / "quarantine")).count() == 5


def test_of_two_builds_of_one_version_the_one_that_stands_first_stays_whatever_the_clocks_say(
    spark: SparkSession, shop: Day, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a build is suspended right after it has looked at its lock, and another one takes that over."""
    shop(2)
    store = Lake(spark, str(lake))
    rows = lake / "events" / f"batch={BATCH}"
    late = Manifest(BATCH, store.manifests.next_version(BATCH), "30000101T000000000000Z-late", "passed", 2, 0)
    shutil.copytree(next(rows.iterdir()), rows / f"runId={late.runId}")
    first = shop(3).summary["runId"]
    looks = iter([False, True])
    look = store.manifests.rivals
    for sees_it_at_once in (True, False):
        shutil.copytree(rows / f"runId={first}", rows / f"runId={late.runId}")
        with monkeypatch.context() as patch:
            if not sees_it_at_once:  # it comes between the look and the write
                patch.setattr(store.manifests, "rivals", lambda one: look(one) if next(looks) else [])
            with pytest.raises(UnfinishedError, match="another run published it meanwhile"):
                store.publish(late)
        current = store.manifests.current(BATCH)
        assert current is not None and current.runId == first
        assert runs_of(lake) == only(first)
    assert events(spark, lake) == 3


def test_a_publication_sweeps_nothing_that_came_after_it_and_nothing_of_other_batches(
    spark: SparkSession, shop: Day, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop(2)
    shop(2, batch="2024-01-03")
    half = lake / "events/batch=2024-01-03/runId=being-written"
    younger = lake / f"events/batch={BATCH}/runId=00000000T000000000000Z-younger"
    half.mkdir()
    write = Manifests.write

    def write_and_be_succeeded(self: Manifests, manifest: Manifest) -> None:
        write(self, manifest)
        younger.mkdir()

    with monkeypatch.context() as patch:
        patch.setattr(Manifests, "write", write_and_be_succeeded)
        ended = shop(3)
    assert ended.code == 0
    assert half.exists() and younger.exists()
    assert runs_of(lake)["events"] == {ended.summary["runId"], "00000000T000000000000Z-younger"}
    last = shop(4)
    assert runs_of(lake) == only(last.summary["runId"])


def test_a_failed_build_that_is_killed_before_it_sweeps_changes_nothing_for_readers(
    spark: SparkSession, shop: Day, put: Job, serve: Callable[..., Server], lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = shop(7).summary["runId"]

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Lake, "_delete_other_runs", killed)
        assert shop(400, 600).code == 5
    assert len(runs_of(lake)["events"]) == 2
    assert put(serve().endpoint_url).summary["delivered"] == 7
    assert shop(400, 600).code == 3
    assert runs_of(lake) == only(good)


@pytest.mark.long
def test_the_median_is_of_what_stands(shop: Day, lake: Path) -> None:
    def levels(batch: str, good: int) -> list[str]:
        gate = shop(good, batch=batch).summary["gate"]
        checks = json.loads((lake / f"quality/batches/{batch}.{gate}.json").read_text())["checks"]
        return [checks[name]["level"] for name in ("records", "batch_size")]

    for number in (1, 2, 3):
        shop(120, batch=f"2024-01-0{number}")
    for number in (1, 2):
        assert shop(0, 1_000, batch=f"2024-01-0{number}").code == 3
    assert levels("2024-01-04", 121) == ["passed", "passed"]
    assert levels("2024-01-05", 20) == ["warned", "warned"], "20 against a median of 120"


OLD_FIELDS = ("interval", "read", "filtered", "profile", "warnings")


def write_as_layout_2(lake: Path, manifest: Manifest) -> None:
    """Write a manifest as the version before wrote it: without what is new, its gate not in its name."""
    values = {name: value for name, value in asdict(manifest).items() if name not in OLD_FIELDS} | {"layout": 2}
    path = lake / "_batches" / manifest.batch / f"{manifest.version:08d}-{manifest.runId}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


@pytest.mark.long
def test_a_lake_of_the_version_before_goes_on_with_what_it_kept(
    spark: SparkSession, shop: Day, put: Job, retry: Job, mapping: Path, serve: Callable[..., Server], lake: Path
) -> None:
    good = shop(9, 1).summary["runId"]
    manifest = Lake(spark, str(lake)).manifests.current(BATCH)
    assert manifest is not None
    shutil.rmtree(lake / "_batches")
    write_as_layout_2(lake, manifest)
    write_as_layout_2(lake, Manifest(BATCH, 2, "30000101T000000000000Z-failed", "failed", 0, 600))
    shutil.rmtree(lake / "quarantine" / f"batch={BATCH}" / f"runId={good}")  # as a failed build did then
    assert put(serve().endpoint_url).summary["delivered"] == 9
    told = retry(mapping)
    assert told.code == 2 and "its quarantine is gone" in told.said[0]
    next_day = shop(1, batch="2024-01-03", at="00:00")
    assert next_day.code == 0
    upon = Lake(spark, str(lake)).manifests.current("2024-01-03")
    assert upon is not None and upon.upon == {BATCH: manifest.left}
    assert shop(400, 600).summary["kept"] == good
    assert shop(10).code == 0


def test_a_manifest_with_more_than_this_version_knows_of_its_layout_is_read(
    spark: SparkSession, shop: Day, lake: Path
) -> None:
    shop(2)
    (path,) = (lake / "_batches" / BATCH).glob("*.json")
    (path.parent / "00000002-later.json").write_text(json.dumps({**json.loads(path.read_text()), "laterOn": 1}))
    found = Lake(spark, str(lake)).manifests.current(BATCH)
    assert found is not None and found.events == 2


def test_a_replay_sends_what_stands_of_a_batch_whose_newest_build_failed(
    spark: SparkSession, tmp_path: Path, replay: Job, serve: Callable[..., Server]
) -> None:
    lake = lay(spark, tmp_path / "lake", days(3, 1, 4))
    lake.manifests.write(Manifest(day(1), 2, "z-failed", "failed", 0, 9))
    ended = replay(tmp_path / "lake", day(0), day(2), url=serve().endpoint_url)
    assert (ended.code, ended.summary["delivered"], ended.summary["batchesDone"]) == (0, 12, 3)


def test_the_second_build_is_told_at_its_start_who_holds_the_batch_and_since_when(
    spark: SparkSession, shop: Day, lake: Path
) -> None:
    shop(2)
    before = runs_of(lake)
    with hold_lock(FileSystem(spark), str(lake), batch_lock(BATCH), "run-of-another"):
        ended = shop(3)
        assert shop(4, batch="2024-01-03").code == 0, "another batch is nobody's yet"
    assert ended.code == 5
    assert ended.said == [ended.summary["error"]] and ended.summary["error"].startswith(
        f"batch {BATCH}: run run-of-another (host {this_process('x').host}, process {os.getpid()}, since 20"
    )
    assert ended.summary["read"] == 0 and runs_of(lake) == before, "told at its start, not after its work"
    assert shop(3).code == 0
    assert not list((lake / "_locks" / f"batch={BATCH}").glob("*.claim"))


def test_a_batch_whose_builder_was_killed_is_built_at_once(
    spark: SparkSession, shop: Day, lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        fields = Path(f"/proc/{process.pid}/stat").read_text().split()
        dead = replace(this_process("run-0"), pid=process.pid, processStart=int(fields[21]))
        Claims(FileSystem(spark), str(lake), batch_lock(BATCH)).write(dead)
        process.kill()
    assert shop(3).code == 0
    assert [line for line in caplog.messages if line.startswith(f"batch {BATCH}: run run-0 (") and "is dead" in line]


def test_a_build_that_lost_its_lock_publishes_nothing(shop: Day, lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, judge_rows = shop(2).summary["runId"], build_events.judge_rows

    def taken_for_dead(*arguments: Any) -> Any:
        shutil.rmtree(lake / "_locks")
        return judge_rows(*arguments)

    monkeypatch.setattr(build_events, "judge_rows", taken_for_dead)
    ended = shop(3)
    assert ended.code == 5 and "the build of this run is not published" in ended.said[0]
    assert runs_of(lake) == only(good)


def test_a_build_that_is_asked_to_end_publishes_nothing_and_says_that_it_starts_over(
    shop: Day, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, build_rows = shop(2).summary["runId"], build_events.build_rows

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return build_rows(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(build_events, "build_rows", interrupted)
        ended = shop(3)
    assert (ended.code, ended.summary["exitCode"]) == (5, 5)
    assert ended.said == ["interrupted: nothing was published; run it again: it starts over"]
    kept = json.loads((lake / "runs" / BATCH / f"build_events-{ended.summary['runId']}.json").read_text())
    assert kept == ended.summary
    assert runs_of(lake) == only(good)
    assert not list((lake / "_locks" / f"batch={BATCH}").glob("*.claim"))
    assert shop(3).code == 0


def test_a_build_that_is_asked_to_end_when_all_is_done_says_what_became_of_it(
    shop: Day, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = Lake.publish

    def interrupted(self: Lake, manifest: Manifest, **how: bool) -> None:
        publish(self, manifest, **how)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Lake, "publish", interrupted)
    ended = shop(3)
    assert ended.code == 0, "nothing was left to do"
    assert runs_of(lake)["events"] == {ended.summary["runId"]}


def test_who_asks_while_spark_starts_gets_a_summary_too(
    shop: Day, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, lake: Path
) -> None:
    def interrupted(_app: str) -> SparkSession:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("the signal was not heard")

    monkeypatch.setattr("jobs.cli.run.open_session", interrupted)
    ended = shop(3)
    assert ended.code == 5
    assert ended.summary["error"] == "interrupted: nothing was published; run it again: it starts over"
    assert ended.summary["batch"] == BATCH


@pytest.mark.parametrize("way", ["Ctrl-C in a terminal", "a scheduler that knows spark-submit alone"])
@pytest.mark.long
def test_under_spark_submit_a_build_ends_with_5_and_leaves_its_summary(
    spark: SparkSession, mapping: Path, tmp_path: Path, way: str
) -> None:
    line = '{"who": "v%d", "at": "2024-01-02T10:00:00Z", "item": "%s"}\n'
    (tmp_path / "log.jsonl").write_text("".join(line % (n, "i" * 200) for n in range(400_000)))
    lake, log = tmp_path / "lake", tmp_path / "out"
    submit = str(Path(sys.executable).with_name("spark-submit"))
    spark_options = ["--master", "local[1]", "--driver-memory", "1g", "--conf", "spark.ui.enabled=false"]
    job = ["--input", str(tmp_path / "log.jsonl"), "--mapping", str(mapping), "--lake", str(lake), "--batch", BATCH]
    process = start(
        *(submit, *spark_options, str(ROOT / "jobs" / "build_events.py"), *job),
        log=log,
        more={"PYTHONPATH": str(ROOT), **{k: v for k, v in environment().items() if k == "PATH"}},
    )
    try:
        wait_for(lambda: list((lake / "_locks").glob("*/*.claim")) or process.poll() is not None)
        time.sleep(2)  # well into its work
        assert process.poll() is None, log.read_text()[-2000:]
        if way.startswith("Ctrl-C"):
            os.killpg(process.pid, signal.SIGINT)
        else:
            os.kill(process.pid, signal.SIGTERM)
        code = process.wait(PATIENCE)
    finally:
        end(process)
    summary = last_summary(log.read_text())
    assert (code, summary["exitCode"]) == (5, 5)
    assert summary["error"] == "interrupted: nothing was published; run it again: it starts over"
    assert "Traceback" not in log.read_text()
    assert len(list((lake / "runs" / BATCH).glob("build_events-*.json"))) == 1
    assert runs_of(lake) == only()
    assert not Lake(spark, str(lake)).manifests.publications(BATCH).newest
