"""What `make setup` says: what it found before it installs, and in words what is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def executable(path: Path, script: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{script}\n")
    path.chmod(0o755)
    return str(path)


def java(home: Path, version: str) -> str:
    """A Java that says what it is, and can do no more."""
    properties = f"    java.specification.version = {version}\\n    java.home = {home}\\n"
    home.mkdir()
    executable(home / "bin" / "java", f'printf "{properties}" >&2')
    (home / "release").write_text(f'JAVA_VERSION="{version}.0.1"\n')
    return str(home)


@pytest.fixture
def uv(tmp_path: Path) -> Path:
    """A folder for the path whose uv installs nothing, and notes what it was asked for."""
    executable(tmp_path / "tools" / "uv", f'echo "$@" >> "{tmp_path}/asked"; [ "$1" != pip ] || exit ${{FAILS:-0}}')
    return tmp_path / "tools"


def setup(uv: Path, python: str, **names: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{uv}:{os.environ['PATH']}", **names}
    (uv.parent / "a venv").mkdir()
    command = ["bash", ROOT / ".ci" / "setup", uv.parent / "a venv", python, "--editable", ".[dev]"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_it_says_what_it_found_what_it_does_and_that_it_is_done(uv: Path, tmp_path: Path) -> None:
    home = java(tmp_path / "java's 17", "17")
    ended = setup(uv, sys.executable, JAVA_HOME=home)
    assert ended.returncode == 0, ended.stderr
    python, found, installing, done = ended.stdout.splitlines()
    assert python == f"setup: Python {sys.version.split()[0]} ({sys.executable})"
    assert found == f"setup: Java 17.0.1 ({home})"
    assert installing.startswith(f"setup: installing Spark, the project and its libraries into {tmp_path}/a venv by uv")
    assert done.startswith("setup: done in ")
    assert "pip install" in (tmp_path / "asked").read_text()


def test_what_it_writes_sets_java_and_leaves_settings_that_are_there(uv: Path, tmp_path: Path) -> None:
    home = java(tmp_path / "java's 17", "17")
    setup(uv, sys.executable, JAVA_HOME=home)
    shown = 'set -eu; . "$0"; echo "$JAVA_HOME"; echo "${SPARK_SUBMIT_OPTS:-}"'
    command = ["sh", "-c", shown, str(tmp_path / "a venv" / "environment")]
    names = {name: value for name, value in os.environ.items() if name not in {"SPARK_CONF_DIR", "SPARK_SUBMIT_OPTS"}}
    log = f'"-Dlog4j2.configurationFile={ROOT / "tools" / "log4j2.properties"}"'
    for more, expected in (({}, log), ({"SPARK_CONF_DIR": "/etc/spark"}, ""), ({"SPARK_SUBMIT_OPTS": "-Da"}, "-Da")):
        ended = subprocess.run(command, env=names | more, capture_output=True, text=True, check=True)
        assert ended.stdout.splitlines() == [home, expected]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            '[ "$1" != -V ] || echo Python 3.9.18; exit $(($# - 1))',
            "is Python 3.9.18, too old: install Python 3.11 or newer",
        ),
        ("exit 127", "that runs: install Python 3.11 or newer, or say make PYTHON=/path/to/python3.11"),
    ],
)
def test_a_python_that_will_not_do_is_named(uv: Path, tmp_path: Path, script: str, said: str) -> None:
    python = executable(tmp_path / "python", script)
    ended = setup(uv, python)
    assert ended.returncode == 2 and not (tmp_path / "asked").exists()
    (line,) = ended.stderr.splitlines()
    assert line.startswith("setup: ") and python in line and said in line


def test_a_download_that_fails_ends_in_what_it_needs(uv: Path, tmp_path: Path) -> None:
    ended = setup(uv, sys.executable, JAVA_HOME=java(tmp_path / "java", "21"), FAILS="1")
    assert ended.returncode == 2 and not (tmp_path / "a venv" / "environment").exists()
    assert ended.stderr.startswith("setup: uv could not install all of it") and "HTTPS_PROXY" in ended.stderr


def test_a_java_that_is_too_new_is_passed_over(tmp_path: Path) -> None:
    newer, fit = java(tmp_path / "25", "25"), java(tmp_path / "21", "21")
    names = {**os.environ, "JAVA_HOME": newer, "PATH": f"{fit}/bin:{os.environ['PATH']}"}
    found = subprocess.run(["bash", ROOT / ".ci" / "java"], env=names, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [fit]
