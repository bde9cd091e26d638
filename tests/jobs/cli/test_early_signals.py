"""A signal that comes while a job is still imported, on either way that one comes: 5, a summary, no stack trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs.processes import PATIENCE, ROOT, below, end, environment, processes, start, wait_for

# As the jobs begin; what is imported afterwards takes for ever.
JOB = """
import sys, time
from pathlib import Path
from jobs.cli.early_signals import EarlySignals
EarlySignals("a_job", "nothing was done; run it again").listen()
if "PYSPARK_GATEWAY_PORT" in __import__("os").environ:
    time.sleep(3)  # until the JVM's signals are taken over
Path(sys.argv[1]).touch()
time.sleep(60)
"""
SUMMARY = {"job": "a_job", "batch": None, "exitCode": 5, "error": "interrupted: nothing was done; run it again"}


def check(log: Path) -> None:
    lines = log.read_text().splitlines()
    assert json.loads(next(line for line in lines if line.startswith("{"))) == SUMMARY
    assert f"error: {SUMMARY['error']}" in lines
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_python_alone(tmp_path: Path, number: int) -> None:
    (tmp_path / "job.py").write_text(JOB)
    more = {"PYTHONPATH": str(ROOT)}
    process = start(sys.executable, str(tmp_path / "job.py"), str(tmp_path / "on"), log=tmp_path / "log", more=more)
    try:
        wait_for((tmp_path / "on").exists)
        process.send_signal(number)
        assert process.wait(PATIENCE) == 5
    finally:
        end(process)
    check(tmp_path / "log")


WAYS = [
    pytest.param(lambda process: process.terminate(), id="a scheduler that knows spark-submit alone"),
    pytest.param(
        lambda process: os.killpg(process.pid, signal.SIGINT), id="Ctrl-C in a terminal", marks=pytest.mark.long
    ),
]


@pytest.mark.parametrize("ask_to_end", WAYS)
def test_spark_submit(tmp_path: Path, ask_to_end: Callable[[subprocess.Popen[str]], None]) -> None:
    (tmp_path / "job.py").write_text(JOB)
    more, submit = {"PYTHONPATH": str(ROOT)}, str(Path(sys.executable).with_name("spark-submit"))
    command = [submit, "--driver-memory", "512m", str(tmp_path / "job.py"), str(tmp_path / "on")]
    process = start(*command, log=tmp_path / "log", more=more)
    try:
        wait_for((tmp_path / "on").exists)
        family = [each.pid for each in below(process.pid)]
        ask_to_end(process)
        assert process.wait(PATIENCE) == 5
        wait_for(lambda: not [pid for pid in family if Path(f"/proc/{pid}/cmdline").exists() and pid != process.pid])
    finally:
        end(process)
    check(tmp_path / "log")


def test_a_signal_that_comes_while_java_starts_leaves_no_java_behind(tmp_path: Path) -> None:
    where = ["--lake", str(tmp_path), "--batch", "b", "--tracking-id", "t", "--region", "eu-west-1"]
    process = start(sys.executable, "jobs/put_events.py", *where, log=tmp_path / "log")
    try:
        wait_for(lambda: [each for each in below(process.pid) if each.pid != process.pid])
        process.terminate()
        family = {each.pid for each in below(process.pid)}
        assert process.wait(PATIENCE) == 5
        wait_for(lambda: not family & {each.pid for each in processes()})
    finally:
        end(process)
    assert "interrupted: nothing was sent in this run; run it again" in (tmp_path / "log").read_text()


def test_a_process_that_nohup_started_goes_on_when_its_terminal_goes_away(tmp_path: Path) -> None:
    script = JOB.replace("time.sleep(60)", "time.sleep(1); sys.exit(7)")
    (tmp_path / "job.py").write_text(script)
    command = ["nohup", sys.executable, str(tmp_path / "job.py"), str(tmp_path / "on")]
    process = subprocess.Popen(command, env={**environment(), "PYTHONPATH": str(ROOT)}, stdout=-3, stderr=-3, text=True)
    try:
        wait_for((tmp_path / "on").exists)
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE) == 7
    finally:
        end(process)


def test_a_signal_that_comes_when_the_run_has_ended_says_nothing_more(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from jobs.errors import GateFailedError
from jobs.cli.early_signals import EarlySignals
EarlySignals("a_job", "nothing was done; run it again").listen()
from jobs.cli.run import Run, run_job

def parse(argv):
    raise GateFailedError("no")

code = run_job(Run("a_job", {}), parse, None, [])
os.kill(os.getpid(), signal.SIGTERM)
sys.exit(code)
"""
    (tmp_path / "job.py").write_text(script)
    ended = subprocess.run(
        [sys.executable, str(tmp_path / "job.py")],
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 3
    (line,) = ended.stdout.splitlines()
    assert json.loads(line)["exitCode"] == 3
