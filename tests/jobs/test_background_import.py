"""An import beside the work: it comes to its end before the interpreter does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.jobs.processes import ROOT

SLOW = "import pathlib, time\ntime.sleep(0.5)\npathlib.Path('imported').touch()\n"
JOB = "from jobs.background_import import start_import\nstart_import({module!r})\nraise SystemExit(3)\n"


def run(folder: Path, module: str) -> subprocess.CompletedProcess[str]:
    """Start an import in a process that ends at once."""
    (folder / "slow.py").write_text(SLOW)
    (folder / "faulty.py").write_text("raise ValueError\n")
    command = [sys.executable, "-c", JOB.format(module=module)]
    names = {"PYTHONPATH": f"{ROOT}:{folder}"}
    return subprocess.run(command, cwd=folder, env=names, capture_output=True, text=True, check=False)


def test_a_process_does_not_end_in_the_midst_of_an_import(tmp_path: Path) -> None:
    ended = run(tmp_path, "slow")
    assert (tmp_path / "imported").exists()
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", "")


def test_an_import_that_fails_says_nothing_of_its_own(tmp_path: Path) -> None:
    ended = run(tmp_path, "faulty")
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", "")
