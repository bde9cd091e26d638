"""What a job says while Spark starts: nothing where all is well; words where there is no Java that Spark can use."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.jobs.processes import ROOT, environment

TOO_NEW = [
    path.parent
    for path in Path("/usr/lib/jvm").glob("*/release")
    if (found := re.search(r'^JAVA_VERSION="(\d+)', path.read_text(), re.MULTILINE)) and int(found[1]) > 23
]


class Started(NamedTuple):
    """A job that has ended before it read anything."""

    code: int
    summary: dict[str, Any]
    said: str


def start(folder: Path, *command: str, **more: str) -> Started:
    """Build a batch of a log that is not there, with Spark's own log settings unless `more` says otherwise."""
    job = ["--input", str(folder / "none.jsonl"), "--mapping", "otto", "--lake", str(folder / "lake"), "--batch", "b"]
    names = environment() | {"PYTHONPATH": str(ROOT), "SPARK_CONF_DIR": str(folder)} | more
    ended = subprocess.run([*command, *job], cwd=folder, env=names, capture_output=True, text=True, check=False)
    return Started(ended.returncode, json.loads(ended.stdout.splitlines()[-1]), ended.stdout + ended.stderr)


SUBMIT = (str(Path(sys.executable).with_name("spark-submit")),)
JOB = str(ROOT / "jobs" / "build_events.py")


def test_sparks_info_lines_stay_out_of_a_run_by_its_default_log_settings(tmp_path: Path) -> None:
    ended = start(tmp_path, *SUBMIT, JOB)
    assert ended.code == 2 and "none.jsonl" in ended.summary["error"]
    assert "default log4j profile" in ended.said
    assert re.findall(r"^\d\d/\d\d/\d\d \S+ INFO .*", ended.said, re.MULTILINE) == []


def test_whoever_asks_for_sparks_log_gets_it(tmp_path: Path) -> None:
    ended = start(tmp_path, *SUBMIT, "--conf", "spark.log.level=INFO", JOB)
    assert "INFO SparkContext: Running Spark version" in ended.said


def test_a_checkouts_log_settings_leave_no_line_of_sparks_log(tmp_path: Path) -> None:
    log = f'"-Dlog4j2.configurationFile={ROOT / "tools" / "log4j2.properties"}"'
    ended = start(tmp_path, *SUBMIT, JOB, SPARK_SUBMIT_OPTS=log, SPARK_LOCAL_IP="")
    assert ended.code == 2 and "none.jsonl" in ended.summary["error"]
    assert re.findall(r"^\d\d/\d\d/\d\d .*|.*log4j.*", ended.said, re.MULTILINE) == []


def test_no_java_is_reported_with_the_place_that_was_looked_at(tmp_path: Path) -> None:
    ended = start(tmp_path, sys.executable, "-m", "jobs.build_events", JAVA_HOME=str(tmp_path))
    assert ended.code == 2
    assert ended.summary["error"].startswith(
        f"Spark did not start on the Java of JAVA_HOME ({tmp_path}): it needs Java"
    )
    assert "Traceback" not in ended.said


@pytest.mark.skipif(not TOO_NEW, reason="no Java is newer than Spark's Hadoop can use")
def test_a_java_that_spark_cannot_use_is_named_with_what_to_do(tmp_path: Path) -> None:
    home = str(TOO_NEW[0])
    ended = start(tmp_path, *SUBMIT, JOB, JAVA_HOME=home)
    assert ended.code == 2 and "getSubject" not in ended.said and "\tat " not in ended.said
    if "none.jsonl" not in ended.summary["error"]:  # a Spark that can use it
        said = rf"{re.escape(home)}: Spark \S+ cannot run on Java \d+; set JAVA_HOME to a Java 17 or 21"
        assert re.match(said, ended.summary["error"])
