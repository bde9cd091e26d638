"""How runs end where others do not: no executor is free, the lock is lost, a viewer fails, a batch is rebuilt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

import emulator
from delivery.control.dispatcher import Dispatcher
from delivery.http.endpoint import TrackerEndpoint
from delivery.rate.aimd import AimdRateController
from emulator import EmulatorSettings, Server
from jobs.cli.deadline import Deadline
from jobs.cli.job_guard import JobGuard
from jobs.deliver.delivery_config import DeliveryConfig
from jobs.deliver.delivery_monitor import MonitorHooks
from jobs.deliver.spark_job import send
from jobs.errors import UnfinishedError
from jobs.lake.filesystem import FileSystem
from jobs.ledger import ledger
from jobs.ledger.ledger import Ledger, read_receipts
from jobs.ledger.receipts import Receipts
from jobs.locking.claims import Claims
from jobs.locking.locks import Lock, LockClock, hold_lock
from tests.jobs.conftest import Job
from tests.jobs.deliver.test_sending import parts
from tests.jobs.lakes import day, days, lay
from tests.jobs.ledger.test_receipts import row
from tests.jobs.processes import wait_for
from tests.jobs.raw_services import Events, raw_service, response

Serve = Callable[..., Server]
BATCH = "2024-01-02"


@contextmanager
def every_slot_taken(spark: SparkSession, folder: Path) -> Iterator[list[int]]:
    """Keep both slots busy; gives the list that tells how many rows the busy job brought in the end."""
    flag, rows = str(folder / "free"), []

    def wait(batches: Iterator[Any]) -> Iterator[Any]:
        while not Path(flag).exists():
            time.sleep(0.05)
        yield from batches

    def run() -> None:
        rows.append(len(spark.range(0, 2, 1, 2).mapInArrow(wait, "id BIGINT").collect()))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        tracker = spark.sparkContext.statusTracker()

        def active() -> int:
            stages = map(tracker.getStageInfo, tracker.getActiveStageIds())
            return sum(stage.numActiveTasks for stage in stages if stage)

        wait_for(lambda: active() == 2)
        yield rows
    finally:
        Path(flag).touch()
        thread.join()


def test_a_sending_that_waits_for_executors_ends_before_it_has_any_and_no_other_job_with_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    frame, asked = parts(spark, [20, 20]), threading.Event()
    with emulator.running() as server, every_slot_taken(spark, tmp_path) as rows:
        watch = MonitorHooks(lambda _: None, lambda: None, asked)
        threading.Timer(1.0, asked.set).start()
        sent = send(
            frame,
            TrackerEndpoint("t", "eu-west-1", server.endpoint_url),
            DeliveryConfig(50.0, 8),
            Dispatcher(AimdRateController(50.0)),
            watch,
        )
        assert rows == [], "the job that has the slots goes on"
    assert sent.failure is not None and sent.error is None and sent.progress.calls.attempts == 0
    assert rows == [2]


@pytest.mark.parametrize("kind", ["a deadline", "a lost lock"])
def test_planning_that_waits_for_executors_ends_before_it_has_any(
    spark: SparkSession, tmp_path: Path, kind: str
) -> None:
    reason = UnfinishedError(kind)
    guard = JobGuard(spark.sparkContext, lambda: reason, grace=1.0)
    with every_slot_taken(spark, tmp_path) as rows:
        with pytest.raises(UnfinishedError, match=kind), guard.guarding():
            spark.range(10).count()
        assert rows == []
    assert rows == [2]


def test_jobs_that_end_in_time_are_left_alone(spark: SparkSession) -> None:
    guard = JobGuard(spark.sparkContext, lambda: UnfinishedError("it is to end"), grace=60.0)
    with guard.guarding():
        assert spark.range(10).count() == 10
    assert spark.sparkContext.getLocalProperty("spark.jobGroup.id") is None


def test_what_ends_a_sending_without_executors_is_told_by_5_and_a_summary(
    spark: SparkSession, lake: Path, tmp_path: Path, replay: Job, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slots are taken when the sending begins; its deadline passes; what comes after it has no slots either."""
    lay(spark, lake, days(1, 2, 4))
    server, original, at, planned_at = serve(), Ledger.plan, datetime(2024, 1, 2, tzinfo=UTC), list[float]()

    def now() -> datetime:
        """Be an hour before the deadline until there is a plan, then a second before it."""
        return at + timedelta(seconds=time.monotonic() - planned_at[0] - 1.0 if planned_at else -3_600.0)

    monkeypatch.setattr("jobs.replay_events.find_deadline", lambda *_: Deadline(at, "--max-duration", now))
    monkeypatch.setattr("jobs.deliver.delivery_monitor._IDLE_SECONDS", 1.0)
    monkeypatch.setattr("jobs.deliver.delivery_run.JobGuard", partial(JobGuard, grace=2.0))
    with ExitStack() as stack:

        def plan(ledger: Ledger, *arguments: Any) -> Any:
            planned = original(ledger, *arguments)
            stack.enter_context(every_slot_taken(spark, tmp_path))
            planned_at.append(time.monotonic())
            return planned

        monkeypatch.setattr(Ledger, "plan", plan)
        ended = replay(lake, day(0), day(0), "--max-duration", "1h", url=server.endpoint_url)
    assert (ended.code, ended.summary["exitCode"], ended.summary["pending"]) == (5, 5, 8)
    assert ended.said[0].startswith("--max-duration: ")
    monkeypatch.undo()
    assert replay(lake, day(0), day(0), url=server.endpoint_url).summary["delivered"] == 8


class GoneTerminal:
    """A terminal that goes away after some lines."""

    def __init__(self) -> None:
        self.lines = 0

    def write(self, _text: str) -> None:
        self.lines += 1
        if self.lines > 2:
            raise OSError(5, "Input/output error")

    def flush(self) -> None:
        pass


def test_a_terminal_that_goes_away_in_mid_delivery_ends_nothing(
    built: Any, put: Job, serve: Serve, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server, terminal, _ = serve(latency_ms=20.0), GoneTerminal(), built(each=200)
    monkeypatch.setattr("jobs.deliver.delivery_run.find_terminal", lambda: terminal)
    ended = put(server.endpoint_url, more=("--max-rate", "20"))
    assert (ended.code, ended.summary["delivered"], ended.said) == (0, 600, [])
    assert terminal.lines == 3
    assert sum("can no longer show the bar" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("failing", ["show", "count_calls", "keep"])
def test_a_viewer_that_fails_ends_nothing_and_costs_no_receipt(
    spark: SparkSession, failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept: Events = []

    def fail(_: object) -> None:
        raise OSError("it went away")

    viewers = (
        {"show": (fail,)} if failing == "show" else {{"count_calls": "on_calls", "keep": "on_receipts"}[failing]: fail}
    )
    with emulator.running() as server:
        watch = MonitorHooks(kept.extend, lambda: None, threading.Event(), **viewers)
        service = TrackerEndpoint("t", "eu-west-1", server.endpoint_url)
        sent = send(parts(spark, [40]), service, DeliveryConfig(400.0, 8), Dispatcher(AimdRateController(400.0)), watch)
    assert sent.error is None and sent.failure is None and len(kept) == 40
    assert sum("not shown completely" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), UnicodeError("of ours")])
def test_a_mistake_of_ours_in_mid_delivery_costs_no_receipt(spark: SparkSession, error: Exception) -> None:
    kept: Events = []
    with emulator.running(EmulatorSettings(latency_ms=20.0)) as server:

        def check() -> None:
            if server.summary()["accepted"] > 20:
                raise error

        watch = MonitorHooks(kept.extend, check, threading.Event())
        service = TrackerEndpoint("t", "eu-west-1", server.endpoint_url)
        sent = send(
            parts(spark, [200, 200]), service, DeliveryConfig(50.0, 8), Dispatcher(AimdRateController(50.0)), watch
        )
        accepted = server.summary()["accepted"]
    assert sent.error is error and len(kept) == accepted < 400


@pytest.mark.parametrize("suspended", [True, False])
def test_a_run_that_lost_its_lock_tells_what_it_sent_and_why_it_ended(
    built: Any, put: Job, serve: Serve, monkeypatch: pytest.MonkeyPatch, suspended: bool
) -> None:
    server, _ = serve(latency_ms=20.0), built(each=200)
    beat, failures, is_away = Claims.beat, count(), threading.Event()

    def is_late() -> bool:
        return bool(server.summary()["accepted"] >= 20)

    def beat_while_there(claims: Claims, run_id: str) -> bool:
        if suspended or not is_late():
            return beat(claims, run_id)
        if next(failures):  # the lock has noted the failure before this one
            is_away.set()
        raise OSError("IOException: the store is away")

    def monotonic() -> float:
        return time.monotonic() + 60.0 * (is_late() if suspended else is_away.is_set())

    with monkeypatch.context() as patch:
        patch.setattr(Claims, "beat", beat_while_there)
        patch.setattr("jobs.locking.locks.BEAT_SECONDS", 0.1)
        patch.setattr("jobs.deliver.delivery_run.hold_lock", partial(hold_lock, clock=LockClock(monotonic)))
        ended = put(server.endpoint_url, more=("--max-rate", "10"))
    received = len(list(server.events()))
    assert ended.code == 5 and 200 <= received < 600
    assert (ended.summary["delivered"], ended.summary["pending"]) == (received, 600 - received)
    assert ended.summary["attempts"] == server.summary()["calls"] > 0
    why = (
        "this run was silent (it was suspended"
        if suspended
        else "could not be written (IOException: the store is away)"
    )
    assert why in ended.said[0] and "run this again, it resumes" in ended.said[0]
    again = put(server.endpoint_url)
    assert (again.code, again.summary["alreadyDelivered"]) == (0, received)
    assert server.summary()["duplicateEventIds"] == 0


def test_the_lock_is_looked_at_before_what_others_rest_on_is_changed(
    built: Any, put: Job, serve: Serve, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is lost at each look in turn; nothing of another holder's is touched after it."""
    server, _ = serve(), built()
    looks, lost_at = 0, 0
    real = Lock.ensure

    def ensure(lock: Lock) -> None:
        nonlocal looks
        looks += 1
        if looks == lost_at:
            for claim in (lake / "_locks").rglob("*.claim"):  # as another run does that takes it over
                claim.unlink()
        real(lock)

    monkeypatch.setattr(Lock, "ensure", ensure)
    # Before the plan is fixed; after it; and, now that there is one, before the batch is noted as done.
    for lost_at in (1, 2, 2):
        looks = 0
        before = set((lake / "_plans").rglob("*.done"))
        ended = put(server.endpoint_url)
        assert ended.code == 5 and "another run took it over" in ended.said[0], lost_at
        assert set((lake / "_plans").rglob("*.done")) == before
    assert server.summary()["calls"] <= 9  # of nine requests that were delivered before the last look
    lost_at = 0
    assert put(server.endpoint_url).code == 0
    assert len(list(server.events())) == 75


def test_a_sweep_deletes_nothing_that_came_after_the_lock_was_lost(spark: SparkSession, tmp_path: Path) -> None:

    folder = tmp_path / "receipts"
    folder.mkdir()
    (folder / "00000001.plan.dead-000001-100.parquet").write_bytes(b"cut")
    receipts = Receipts(FileSystem(spark), str(folder), str(tmp_path / "refusals"))

    def suspended() -> None:
        (folder / "00000002.plan.new-000001-100.parquet").write_bytes(b"being written")

    receipts.sweep(suspended)
    assert [path.name for path in folder.iterdir()] == ["00000002.plan.new-000001-100.parquet"]

    def lost() -> None:
        raise UnfinishedError("lost")

    with pytest.raises(UnfinishedError):
        receipts.sweep(lost)
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    "where",
    [
        "final_statuses",
        "dead_letter_rows",
        *(pytest.param(where, marks=pytest.mark.long) for where in ("sent_span", "pack_requests")),
    ],
)
def test_a_rebuild_while_put_events_runs_is_told_and_the_next_run_does_it(
    built: Any, put: Job, lake: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def answer(events: Events) -> bytes:
        if any(event.get("itemId") == "a3" for event in events):
            return response(400, b"x-amzn-requestid: r\r\n", b'{"__type": "InvalidInputException", "message": "no"}')
        return response(200, b"x-amzn-requestid: r\r\n", b"")

    built()

    real, rebuilt = getattr(ledger, where), []

    def rebuilding(*arguments: Any) -> Any:
        found = real(*arguments)
        if not rebuilt:
            rebuilt.append(built())
        return found

    with raw_service(answer) as url:
        if where == "final_statuses":
            put(url)  # so that there are receipts
            monkeypatch.setattr(ledger, where, rebuilding)
            ended = put(url, more=("--resend",))
        else:
            monkeypatch.setattr(ledger, where, rebuilding)
            ended = put(url)
        assert rebuilt
        assert ended.code == 5 and ended.said == [f"batch {BATCH}: it has just been rebuilt: run this again"]
        again = put(url)
    assert (again.code, again.summary["pending"]) == (4, 0)


HOSTILE = {
    "a3": (b"", b'{"__type": "InvalidInputException\\ud83d", "message": "half \\ud83d"}'),
    "a9": (b"", b'{"__type": "InvalidInputException", "message": "\\u0000\\u001b[31m"}'),
    "b2": (b"", b'{"__type": "InvalidInputException", "message": "\xff\xfe"}'),
    "b7": (b"", b'{"__type": "InvalidInputException", "message": "%b"}' % (b"w" * 900_000)),
    "c5": (b"x-amzn-errortype: InvalidInputException\xff\x01\r\n", b"<html>\x00"),
}


def test_a_service_whose_words_are_any_bytes_costs_no_receipt(
    spark: SparkSession, built: Any, put: Job, lake: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def answer(events: Events) -> bytes:
        bad = [HOSTILE[event["itemId"]] for event in events if event["itemId"] in HOSTILE]
        headers = b"x-amzn-requestid: \xff\x02%b\r\n" % (b"r" * 500)
        return response(400, headers + bad[0][0], bad[0][1]) if bad else response(200, headers, b"")

    built()
    with raw_service(answer) as url:
        first, second = put(url), put(url)
    counts = {name: first.summary[name] for name in ("delivered", "deadLettered", "pending")}
    assert (first.code, counts) == (4, {"delivered": 70, "deadLettered": 5, "pending": 0})
    assert (second.code, second.summary["attempts"], second.summary["alreadyDelivered"]) == (4, 0, 70)
    letters = spark.read.parquet(str(lake / "dead_letters")).collect()
    assert {letter.itemId for letter in letters} == set(HOSTILE)
    for letter in letters:
        assert letter.errorCode.startswith("InvalidInputException") and len(letter.errorMessage) <= 4_096
        assert (letter.errorCode + letter.errorMessage).replace("\ufffd", "").isprintable()


def test_a_row_that_cannot_be_written_costs_no_other_its_receipt(spark: SparkSession, tmp_path: Path) -> None:

    receipts = Receipts(FileSystem(spark), str(tmp_path / "receipts"), str(tmp_path / "refusals"))
    odd = row("odd", "refused", "half \ud83d") | {"errorCode": "X\udcff", "awsRequestId": 7, "latencyMs": 2**70}
    receipts.write(1, "plan", "run", [row("a"), odd, row("b")])
    (path,) = (tmp_path / "receipts").glob("*.parquet")
    rows = {each["requestId"]: each for each in pq.read_table(path).to_pylist()}
    assert set(rows) == {"a", "odd", "b"}
    assert rows["odd"]["eventIds"] == ["odd-1", "odd-2"] and rows["odd"]["status"] == "refused"
    assert (rows["odd"]["errorCode"], rows["odd"]["awsRequestId"], rows["odd"]["latencyMs"]) == ("X\ufffd", None, None)
    assert rows["a"]["awsRequestId"] == "aws" and rows["b"]["latencyMs"] == 51
    (words,) = (tmp_path / "refusals").glob("*.parquet")
    assert pq.read_table(words)["errorMessage"].to_pylist() == ["half \ufffd"]


@pytest.mark.parametrize("value", ["http://proxy..corp:3128", "http://proxy:99999", "socks5://proxy:1"])
def test_a_proxy_that_is_none_is_told_before_the_first_call(
    built: Any, put: Job, serve: Serve, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    server, _ = serve(), built()
    for name in ("NO_PROXY", "no_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", value)
    ended = put(server.endpoint_url)
    assert ended.code == 2 and ended.said[0].startswith("the connection to the service: HTTP_PROXY: ")
    assert server.summary()["calls"] == 0


@pytest.mark.parametrize("is_listed", [False, True])
def test_a_plan_that_another_run_ends_while_it_is_read_is_told(
    spark: SparkSession,
    lake: Path,
    put: Job,
    replay: Job,
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    is_listed: bool,
) -> None:
    lay(spark, lake, days(1, 2, 4))
    server = serve()

    def stop(*_: object) -> Any:
        raise UnfinishedError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr("jobs.deliver.delivery_run.send", stop)
        assert put(server.endpoint_url, batch=day(0)).code == 5
    others: list[Any] = []

    def after_another_run(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if not others:
                others.append(None)
                others.append(put(server.endpoint_url, batch=day(0)))
            return real(*arguments)

        return call

    if is_listed:  # the files of its requests are gone when they are opened
        monkeypatch.setattr("jobs.ledger.ledger.read_receipts", after_another_run(read_receipts))
    else:
        monkeypatch.setattr(Ledger, "tally", after_another_run(Ledger.tally))
    ended = replay(lake, day(0), day(0), url=server.endpoint_url)
    assert others[1].code == 0
    if is_listed:
        said = f"batch {day(0)}: another run has just delivered it: run this again"
        assert (ended.code, ended.said) == (5, [said])
        ended = replay(lake, day(0), day(0), url=server.endpoint_url)
    assert (ended.code, ended.summary["alreadyDelivered"], ended.summary["delivered"]) == (0, 8, 0)


def test_dead_letters_that_cannot_be_counted_change_no_exit_code(
    built: Any, put: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(events: Events) -> bytes:
        if any(event["itemId"] == "a3" for event in events):
            return response(400, b"x-amzn-requestid: r\r\n", b'{"__type": "InvalidInputException", "message": "no"}')
        return response(200, b"x-amzn-requestid: r\r\n", b"")

    def vanished(*_: object) -> Any:
        raise RuntimeError("a file is gone")

    built()
    monkeypatch.setattr("jobs.deliver.dead_letters.DeadLetters.codes", vanished)
    with raw_service(answer) as url:
        ended = put(url)
    assert (ended.code, ended.summary["deadLettered"], ended.said) == (4, 1, [])
    assert any("--retry-dead-letters" in record.getMessage() for record in caplog.records)
