"""Standard output and error that nobody reads: closed, a pipe that broke, a full disk. The exit code is the job's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.processes import PATIENCE, ROOT

JOBS = ("build_events", "put_events", "replay_events")
WRONG = ("--lake", "", "--batch", "no label")
"""Arguments that end each job with 2 before Spark is started."""
WAYS = {
    "stdout closed": "{} >&-",
    "stderr closed": "{} 2>&-",
    "both closed": "{} >&- 2>&-",
    "all closed": "{} <&- >&- 2>&-",
    "stdout full": "{} >/dev/full",
    "both full": "{} >/dev/full 2>&1",
}
# Work that says much, on both streams, before and after Spark would be there.
TALKING = """
import logging, sys
from types import SimpleNamespace
from jobs.errors import GateFailedError
from jobs.cli.run import Run, run_job
from jobs.cli.terminal import write_lines

def parse(argv):
    for number in range(20_000):
        logging.getLogger("t").warning("line %d", number)
    write_lines(sys.stdout, *["plan"] * 20_000)
    raise GateFailedError("no")

sys.exit(run_job(Run("talking", {}), parse, None, []))
"""


def shell(command: str, **streams: int) -> int:
    return subprocess.run(["bash", "-c", command], cwd=ROOT, check=False, **streams).returncode


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("way", WAYS)
def test_a_job_ends_with_its_own_code(job: str, way: str) -> None:
    command = " ".join([sys.executable, f"jobs/{job}.py", *(f"'{word}'" for word in WRONG)])
    assert shell(f"export PYTHONPATH={ROOT}; {WAYS[way].format(command)}", stderr=subprocess.DEVNULL) == 2


@pytest.mark.parametrize("way", [">&-", "2>&-", ">&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1"])
def test_work_that_says_much_does_too(tmp_path: Path, way: str) -> None:
    (tmp_path / "talking.py").write_text(TALKING)
    command = f"PYTHONPATH={ROOT} {sys.executable} {tmp_path / 'talking.py'} {way}"
    assert shell(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) == 3


@pytest.mark.parametrize("streams", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_work_whose_reader_has_gone_does_too(tmp_path: Path, streams: tuple[str, ...]) -> None:
    (tmp_path / "talking.py").write_text(TALKING)
    reading, writing = os.pipe()
    ends = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **dict.fromkeys(streams, writing)}
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "talking.py")], env={**os.environ, "PYTHONPATH": str(ROOT)}, **ends
    )
    os.close(writing)
    os.read(reading, 10)  # as head does
    os.close(reading)
    assert process.wait(PATIENCE) == 3


def test_the_usage_is_no_failure_where_its_reader_has_gone() -> None:
    command = f"PYTHONPATH={ROOT} {sys.executable} jobs/put_events.py --help | head -c 1; exit ${{PIPESTATUS[0]}}"
    assert shell(command, stdout=subprocess.DEVNULL) == 0


def test_what_is_lacking_is_told_by_2_where_nobody_reads(tmp_path: Path) -> None:
    """Outside of the project's folder nothing of ours can be imported."""
    for name in ("put_events", "build_events", "replay_events"):
        command = f"cd {tmp_path}; {sys.executable} -I {ROOT / 'jobs' / name}.py >&- 2>&-"
        assert shell(command) == 2


def test_a_closed_stream_is_no_room_for_another_file(tmp_path: Path) -> None:
    script = """
import os, sys
from jobs.cli.terminal import safe_streams, write_lines
with safe_streams():
    opened = open(sys.argv[1], "w")
    write_lines(sys.stdout, "lost")
    write_lines(sys.stderr, "lost")
    os.write(2, b"lost")
    opened.write("kept")
"""
    (tmp_path / "s.py").write_text(script)
    target = tmp_path / "out"
    assert shell(f"PYTHONPATH={ROOT} {sys.executable} {tmp_path / 's.py'} {target} <&- >&- 2>&-") == 0
    assert target.read_text() == "kept"
