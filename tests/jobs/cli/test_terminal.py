"""Whose standard error is drawn on: a terminal's, also spark-submit's; never a log's."""

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


def launch(stderr: int) -> None:
    subprocess.run([sys.executable, "-c", LAUNCHER], cwd=ROOT, stderr=stderr, stdout=subprocess.DEVNULL, check=True)


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
