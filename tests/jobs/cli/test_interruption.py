"""A run that is asked to end: on either way a signal can come, and as people and schedulers really ask spark-submit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from jobs.cli.interruption import Interruption
from tests.jobs.processes import PATIENCE, ROOT, end, last_summary, start, wait_for


class FakeJvm:
    """What of a JVM has to do with signals, under the names that Java gives it."""

    def __init__(self) -> None:
        self.handlers: dict[str, Any] = dict.fromkeys(("INT", "TERM", "HUP"), "shut Spark down")
        concurrent = SimpleNamespace(Semaphore=self._semaphore, TimeUnit=SimpleNamespace(MILLISECONDS=0.001))
        beans = SimpleNamespace(EventHandler=SimpleNamespace(create=lambda _interface, it, name: getattr(it, name)))
        lang = SimpleNamespace(Class=SimpleNamespace(forName=str))
        self.java = SimpleNamespace(util=SimpleNamespace(concurrent=concurrent), beans=beans, lang=lang)
        self.sun = SimpleNamespace(misc=SimpleNamespace(Signal=self._signal()))

    def hear(self, name: str = "TERM") -> None:
        self.handlers[name]()

    def _signal(self) -> Any:
        def handle(name: str, handler: Any) -> Any:
            before, self.handlers[name] = self.handlers[name], handler
            return before

        signals: Any = lambda name: name  # noqa: E731 - Java's class is called, and has a static method
        signals.handle = handle
        return signals

    @staticmethod
    def _semaphore(permits: int) -> Any:
        counter = threading.Semaphore(permits)
        wait = lambda count, unit: counter.acquire(timeout=count * unit)  # noqa: E731
        return SimpleNamespace(release=counter.release, tryAcquire=wait)


@pytest.fixture
def jvm() -> FakeJvm:
    return FakeJvm()


@pytest.fixture
def cancelled() -> list[str]:
    return []


@pytest.fixture
def interruption(jvm: FakeJvm, cancelled: list[str]) -> Iterator[Interruption]:
    """Listen to this process's signals and the JVM's, as a run does, and give them back."""
    listening = Interruption(lambda: jvm, lambda: cancelled.append("Spark's jobs"))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with listening.listening(), listening.ends_at_once():
        wait_for(lambda: "shut Spark down" not in jvm.handlers.values())
        yield listening
    assert {number: signal.getsignal(number) for number in before} == before


def ask(number: int = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


def wait_in_vain() -> None:
    """What the main thread of a run is at when a signal comes."""
    threading.Event().wait(PATIENCE)
    raise AssertionError("nothing was raised")


def hear_and_wait(jvm: FakeJvm, name: str) -> None:
    jvm.hear(name)
    wait_in_vain()


def ask_and_wait(number: int) -> None:
    ask(number)
    wait_in_vain()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_run_at_once_where_nothing_is_sent(
    interruption: Interruption, cancelled: list[str], number: int
) -> None:
    with interruption.gently(lambda: None):
        assert not interruption.is_requested
    with pytest.raises(KeyboardInterrupt):
        ask_and_wait(number)
    wait_for(lambda: cancelled == ["Spark's jobs"])


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_a_signal_that_reaches_the_jvm_alone_ends_the_run_too_and_not_the_jvm(
    interruption: Interruption, jvm: FakeJvm, cancelled: list[str], name: str
) -> None:
    with pytest.raises(KeyboardInterrupt):
        hear_and_wait(jvm, name)
    assert interruption.is_requested
    wait_for(lambda: cancelled == ["Spark's jobs"])


def test_while_the_summary_is_written_the_first_signal_does_nothing_and_the_second_ends_it(
    interruption: Interruption,
) -> None:
    with interruption.ends_by_itself():
        ask()
        wait_for(lambda: interruption.is_requested)
        time.sleep(0.3)
        with pytest.raises(KeyboardInterrupt):
            ask_and_wait(signal.SIGTERM)


def test_a_ctrl_c_that_ended_the_planning_does_not_end_the_writing_of_the_summary_by_its_other_way(
    interruption: Interruption, jvm: FakeJvm
) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask_and_wait(signal.SIGINT)
    with interruption.ends_by_itself():
        jvm.hear("INT")
        time.sleep(0.3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_while_sending_the_first_signal_tells_the_work_which_goes_on(interruption: Interruption, number: int) -> None:
    told = threading.Event()
    with interruption.gently(told.set):
        ask(number)
        assert told.wait(PATIENCE)
    assert interruption.is_requested


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_a_signal_that_reaches_the_jvm_alone_tells_the_work_too(
    interruption: Interruption, jvm: FakeJvm, name: str
) -> None:
    told = threading.Event()
    with interruption.gently(told.set):
        jvm.hear(name)
        assert told.wait(PATIENCE)
    assert interruption.is_requested


def test_the_jvm_has_its_signals_back_when_the_run_is_over(jvm: FakeJvm) -> None:
    listening = Interruption(lambda: jvm, lambda: None)
    with listening.listening():
        wait_for(lambda: "shut Spark down" not in jvm.handlers.values())
    assert jvm.handlers == dict.fromkeys(("INT", "TERM", "HUP"), "shut Spark down")


def test_a_jvm_that_is_there_later_is_listened_to_then(jvm: FakeJvm) -> None:
    found: list[FakeJvm] = []
    listening = Interruption(lambda: found[0] if found else None, lambda: None)
    with listening.listening(), listening.ends_at_once():
        time.sleep(0.2)
        found.append(jvm)
        wait_for(lambda: "shut Spark down" not in jvm.handlers.values())
        with pytest.raises(KeyboardInterrupt):
            hear_and_wait(jvm, "TERM")


@pytest.mark.parametrize("second", ["Python", "JVM"])
def test_the_second_signal_ends_it_at_once(interruption: Interruption, jvm: FakeJvm, second: str) -> None:
    again: Callable[[], None] = ask if second == "Python" else jvm.hear
    told, times = threading.Event(), []

    def stop() -> None:
        times.append(1)
        told.set()

    def ask_again_and_wait() -> None:
        again()
        wait_in_vain()

    with interruption.gently(stop):
        again()
        assert told.wait(PATIENCE)
        with pytest.raises(KeyboardInterrupt):
            ask_again_and_wait()
    assert times == [1]


def test_one_ctrl_c_that_comes_on_both_ways_is_one(interruption: Interruption, jvm: FakeJvm) -> None:
    told = threading.Event()
    with interruption.gently(told.set):
        jvm.hear("INT")
        assert told.wait(PATIENCE)
        ask(signal.SIGINT)
        time.sleep(0.3)  # counted as the second, it would have raised


def test_work_that_was_told_too_late_is_told_when_it_sends_again(interruption: Interruption) -> None:
    first, second = threading.Event(), threading.Event()
    with interruption.gently(first.set):
        ask()
        assert first.wait(PATIENCE)
    with interruption.gently(second.set):
        assert second.wait(PATIENCE)


def test_a_signal_never_waits_for_a_lock_that_the_work_holds(interruption: Interruption) -> None:
    lock, told = threading.Lock(), threading.Event()

    def stop() -> None:
        with lock:
            told.set()

    with interruption.gently(stop):
        with lock:
            ask()
            assert not told.is_set()
        assert told.wait(PATIENCE)


def test_a_jvm_that_does_not_give_its_signals_is_told_of_once_and_pythons_still_count(
    jvm: FakeJvm, caplog: pytest.LogCaptureFixture
) -> None:
    del jvm.sun
    told, listening = threading.Event(), Interruption(lambda: jvm, lambda: None)
    with listening.listening(), listening.ends_at_once(), listening.gently(told.set):
        ask()
        assert told.wait(PATIENCE)
    warnings = [record.getMessage() for record in caplog.records if "JVM" in record.getMessage()]
    assert warnings == ["the JVM's signals cannot be taken over (AttributeError): Ctrl-C ends Spark at once"]


JOB = '''
import os, sys, threading, time
from pathlib import Path
from types import SimpleNamespace

from jobs.errors import Exit, UnfinishedError
from jobs.cli.run import Run, run_job
from jobs.lake.tables import Lake

folder, seconds, phase = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]


def call(batches):
    """A call that is under way when the work is told to stop, and ends so many seconds later."""
    rows = list(batches)
    (folder / f"calling-{os.getpid()}").touch()
    while not (folder / "stop").exists():
        time.sleep(0.05)
    time.sleep(seconds)
    yield from rows


def work(spark, lake, arguments, run):
    java = spark._jvm.java.lang.ProcessHandle.current().pid()
    (folder / "drivers").write_text(f"{os.getpid()} {java}")
    run.if_interrupted = "nothing was sent; run it again"
    if phase == "plans":
        try:
            spark.range(0, 2, 1, 2).mapInArrow(call, "id BIGINT").collect()
        finally:
            run.counters["cleaned"] = spark.range(5).count()
    run.if_interrupted = "calls were under way"
    with run.interruption.gently((folder / "stop").touch):
        rows = spark.range(0, 2, 1, 2).mapInArrow(call, "id BIGINT").collect()
    run.counters["receipts"] = spark.range(len(rows)).count()
    raise UnfinishedError("stopped")


def parse(argv):
    return SimpleNamespace(lake=str(folder / "lake"), batch="b")


sys.exit(run_job(Run("sending", {}), parse, work, [], Lake))
'''


class Submitted(NamedTuple):
    """A job under spark-submit, with a call under way in each of two tasks."""

    process: subprocess.Popen[bytes]
    folder: Path
    python: int
    java: int

    def wait_until_told(self) -> None:
        wait_for((self.folder / "stop").exists)

    def end(self) -> tuple[int, dict[str, Any]]:
        """Wait for the end: the exit code of spark-submit, and the summary."""
        code = self.process.wait(PATIENCE)
        return code, last_summary(*((self.folder / name).read_text() for name in ("out", "err")))


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def submitted(folder: Path, call_seconds: float, phase: str = "sends") -> Iterator[Submitted]:
    """Submit the job to a process group of its own, as a shell does; end what is left of it."""
    (folder / "sending.py").write_text(JOB)
    settings = ["--master", "local[2]", "--driver-memory", "512m", "--conf", "spark.ui.enabled=false"]
    command = [str(Path(sys.executable).with_name("spark-submit")), *settings, str(folder / "sending.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [*command, str(folder), str(call_seconds), phase], env=environment, stdout=out, stderr=err, process_group=0
        )
    started = [process.pid]
    try:
        wait_for(lambda: len(list(folder.glob("calling-*"))) == 2 or process.poll() is not None)
        assert process.poll() is None, (folder / "err").read_text()[-2000:]
        python, java = map(int, (folder / "drivers").read_text().split())
        started += [python, *(int(path.name.removeprefix("calling-")) for path in folder.glob("calling-*"))]
        yield Submitted(process, folder, python, java)
    finally:
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


WAYS = [
    pytest.param(lambda job: os.killpg(job.process.pid, signal.SIGINT), id="Ctrl-C in a terminal"),
    pytest.param(lambda job: os.kill(job.java, signal.SIGTERM), id="a scheduler", marks=pytest.mark.long),
    pytest.param(lambda job: os.kill(job.python, signal.SIGTERM), id="an operator", marks=pytest.mark.long),
]
"""A scheduler knows spark-submit alone, an operator the driver."""


@pytest.mark.parametrize("ask_to_end", WAYS)
def test_calls_under_way_end_and_receipts_are_written_before_spark_submit_exits_with_5(
    ask_to_end: Callable[[Submitted], None], tmp_path: Path
) -> None:
    with submitted(tmp_path, call_seconds=1) as job:
        assert job.java == job.process.pid, "spark-submit is the JVM"
        ask_to_end(job)
        code, summary = job.end()
        assert (code, summary["exitCode"], summary["error"], summary["receipts"]) == (5, 5, "stopped", 2)


@pytest.mark.parametrize("ask_to_end", WAYS)
def test_a_run_that_has_not_begun_to_send_ends_with_5_a_summary_and_an_entry_under_runs(
    ask_to_end: Callable[[Submitted], None], tmp_path: Path
) -> None:
    with submitted(tmp_path, call_seconds=3600, phase="plans") as job:
        ask_to_end(job)
        code, summary = job.end()
        assert (code, summary["exitCode"], summary["error"]) == (5, 5, "interrupted: nothing was sent; run it again")
        assert summary["cleaned"] == 5, "Spark lived on to clean up"
        (kept,) = (tmp_path / "lake" / "runs" / "b").glob("sending-*.json")
        assert json.loads(kept.read_text()) == summary


MAPPING = """
[source]
format = "json"
schema = "who STRING, at BIGINT"
[event]
eventType = "'view'"
sentAt    = "timestamp_millis(at)"
visitorId = "who"
"""


@pytest.mark.long
def test_a_build_that_a_scheduler_ends_has_a_summary_and_publishes_nothing(tmp_path: Path) -> None:
    (tmp_path / "mapping.toml").write_text(MAPPING)
    line = '{{"who":"v{}","at":{}}}\n'
    with (tmp_path / "day.jsonl").open("w") as day:
        day.writelines(line.format(number % 9_999, 1_704_153_600_000 + number * 80) for number in range(1_000_000))
    lake, log = tmp_path / "lake", tmp_path / "log"
    options = ["--input", str(tmp_path / "day.jsonl"), "--mapping", str(tmp_path / "mapping.toml")]
    options += ["--lake", str(lake), "--batch", "2024-01-02"]
    submit = [str(Path(sys.executable).with_name("spark-submit")), "--master", "local[2]", "--driver-memory", "1g"]
    process = start(*submit, "--conf", "spark.ui.enabled=false", "jobs/build_events.py", *options, log=log)
    try:
        wait_for(lambda: (lake / "_batches" / "2024-01-02").exists() or process.poll() is not None)
        assert process.poll() is None, log.read_text()[-2000:]
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(PATIENCE) == 5
    finally:
        end(process)
    summary = last_summary(log.read_text())
    assert summary["exitCode"] == 5 and summary["error"].startswith("interrupted: ")
    (kept,) = (lake / "runs" / "2024-01-02").glob("build_events-*.json")
    assert json.loads(kept.read_text()) == summary
    assert not list((lake / "_batches" / "2024-01-02").glob("*.json"))
    assert not list((lake / "events").rglob("*.parquet"))


@pytest.mark.long
def test_a_second_ctrl_c_waits_for_no_call(tmp_path: Path) -> None:
    with submitted(tmp_path, call_seconds=3600) as job:
        os.killpg(job.process.pid, signal.SIGINT)
        job.wait_until_told()
        os.killpg(job.process.pid, signal.SIGINT)
        code, summary = job.end()
        assert (code, summary["error"]) == (5, "interrupted: calls were under way")
        assert "receipts" not in summary


@pytest.mark.long
def test_a_jvm_that_is_killed_leaves_no_driver_behind(tmp_path: Path) -> None:
    with submitted(tmp_path, call_seconds=3600) as job:
        os.kill(job.java, signal.SIGKILL)
        assert job.process.wait(PATIENCE) == -signal.SIGKILL
        wait_for(lambda: not is_there(job.python))
