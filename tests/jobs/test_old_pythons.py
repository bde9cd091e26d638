"""A Python that is too old for the jobs is told so in words, though it cannot even import them."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path

import pytest

from tests.jobs.processes import ROOT

JOBS = ("build_events", "put_events", "replay_events")
OF_OLD_PYTHONS = {"__future__", "collections", "collections.abc", "contextlib", "dataclasses", "importlib.util"}
OF_OLD_PYTHONS |= {"json", "logging", "os", "sys", "typing"}


def old_pythons() -> list[Path]:
    """Interpreters before 3.11 that are on this machine."""
    places = (Path("/usr/bin"), Path("/usr/local/bin"), *Path.home().glob(".pyenv/versions/3.*/bin"))
    names = ("python3.8", "python3.9", "python3.10")
    return [place / name for place in places for name in names if (place / name).is_file()]


@pytest.mark.parametrize("job", JOBS)
def test_an_old_python_can_read_the_script_as_far_as_its_check(job: str) -> None:
    tree = ast.parse((ROOT / "jobs" / f"{job}.py").read_text(), feature_version=(3, 8))
    check = next(place for place, node in enumerate(tree.body) if isinstance(node, ast.If))
    before = [node for node in tree.body[:check] if isinstance(node, ast.Import | ast.ImportFrom)]
    assert "version_info" in ast.unparse(tree.body[check])
    names = {node.module or "" for node in before if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in before if isinstance(node, ast.Import) for alias in node.names}
    imported = {alias.name for node in before if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert names - {"datetime"} <= OF_OLD_PYTHONS and "UTC" not in imported


@pytest.mark.parametrize("job", JOBS)
def test_what_it_says(job: str) -> None:
    pythons = old_pythons()
    if not pythons:
        pytest.skip("no Python before 3.11 is on this machine")
    command = [str(pythons[0]), str(ROOT / "jobs" / f"{job}.py"), "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    summary = json.loads(ended.stdout.splitlines()[-1])
    assert (ended.returncode, summary["job"], summary["exitCode"]) == (2, job, 2)
    assert ended.stderr == f"error: {summary['error']}\n" and "is older than 3.11" in summary["error"]
