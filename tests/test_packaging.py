"""What pyproject.toml promises: a source distribution that is whole, and Pythons that are tried."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_sdist_holds_what_git_holds(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout: there is nothing to compare with")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        held = {name.partition("/")[2] for name in opened.getnames()}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    tracked = {name for name in listed.split("\0") if (ROOT / name).is_file()}
    assert len(tracked) > 300 and tracked - held == set()
    assert {name for name in held if name.startswith((".venv", "build/", "dist/"))} == set()


def test_the_oldest_python_that_is_tried_is_the_oldest_that_is_let_in() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    listed = subprocess.run(["bash", ROOT / ".ci" / "pythons"], check=True, capture_output=True, text=True).stdout
    tried = listed.split()
    assert len(tried) >= 2 and project["requires-python"] == f">={tried[0]}"
    assert all(f"Programming Language :: Python :: {version}" in project["classifiers"] for version in tried)
