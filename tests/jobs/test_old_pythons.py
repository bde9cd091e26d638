"""A Python that is too old for the jobs is told so in words, though it cannot even import them."""

from __future__ import annotations

import ast
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.jobs.processes import ROOT

JOBS = ("build_events", "put_events", "replay_events")
OLD = {"__future__", "collections", "collections.abc", "contextlib", "dataclasses", "datetime", "importlib.util"}
OLD |= {"json", "logging", "os", "sys", "typing"}
"""Modules that old Pythons have too."""


def old_pythons() -> list[Path]:
    """Interpreters before 3.11 that are on this machine."""
    places = (Path("/usr/bin"), Path("/usr/local/bin"), *Path.home().glob(".pyenv/versions/3.*/bin"))
    names = ("python3.8", "python3.9", "python3.10")
    return [place / name for place in places for name in names if (place / name).is_file()]


def imported(statements: list[ast.stmt]) -> set[str]:
    """Modules that statements import, and names that they take from modules."""
    names = {alias.name for node in statements if isinstance(node, ast.Import) for alias in node.names}
    for node in statements:
        if isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("job", JOBS)
def test_an_old_python_can_read_the_script_as_far_as_its_check(job: str) -> None:
    tree = ast.parse((ROOT / "jobs" / f"{job}.py").read_text(), feature_version=(3, 8))
    check = next(place for place, node in enumerate(tree.body) if isinstance(node, ast.If))
    assert "run_preflight(" in ast.unparse(tree.body[check])
    names = {name for name in imported(tree.body[:check]) if not name.startswith(tuple(f"{old}." for old in OLD))}
    assert names <= OLD and "datetime.UTC" not in imported(tree.body[:check])


@pytest.mark.parametrize("name", ["__init__.py", "cli/__init__.py", "cli/preflight.py"])
def test_an_old_python_can_import_the_check(name: str) -> None:
    tree = ast.parse((ROOT / "jobs" / name).read_text(), feature_version=(3, 8))
    names = {name for name in imported(tree.body) if not name.startswith(tuple(f"{old}." for old in OLD))}
    assert names <= OLD


@pytest.mark.parametrize("job", JOBS)
def test_what_it_says(job: str) -> None:
    pythons = old_pythons()
    if not pythons:
        pytest.skip("no Python before 3.11 is on this machine")
    command = [str(pythons[0]), str(ROOT / "jobs" / f"{job}.py"), "--help"]
    ours = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=ours)
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert (ended.returncode, summary["job"], summary["exitCode"]) == (2, job, 2)
    assert ended.stderr == f"error: {summary['error']}\n" and "is older than 3.11" in summary["error"]
