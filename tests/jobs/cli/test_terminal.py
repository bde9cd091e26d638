"""Whose standard error is drawn on: a terminal's, also spark-submit's; never a log's, nor a shell's."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
JOB = "from jobs.cli.terminal import find_terminal as find; on = find(); on and print('drawn', file=on, flush=True)"
# As spark-submit does: it starts Python with pipes of its own.
LAUNCHER = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {JOB!r}], stdout=-1, stderr=-1, check=True)"


def launch(stderr: int, *, by_spark_submit: bool = True) -> None:
    names = {name: value for name, value in os.environ.items() if name != "PYSPARK_GATEWAY_PORT"}
    names |= {"PYSPARK_GATEWAY_PORT": "1"} if by_spark_submit else {}
    command = [sys.executable, "-c", LAUNCHER]
    subprocess.run(command, cwd=ROOT, env=names, stderr=stderr, stdout=subprocess.DEVNULL, check=True)


def test_the_terminal_that_spark_submit_was_started_from_is_drawn_on() -> None:
    ours, theirs = pty.openpty()
    try:
        launch(theirs)
        assert os.read(ours, 100).split() == [b"drawn"]
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "put.log"
    log.write_text("what was there\n")
    with log.open("a") as stream:
        launch(stream.fileno())
    assert log.read_text() == "what was there\n"


def test_a_log_of_a_job_that_python_started_is_not_drawn_on_its_shells_terminal() -> None:
    ours, theirs = pty.openpty()
    try:
        launch(theirs, by_spark_submit=False)
        os.write(theirs, b"nothing before this")
        assert os.read(ours, 100) == b"nothing before this"
    finally:
        os.close(ours)
        os.close(theirs)
