"""The operator, with a shell script for spark-submit: exit codes, summaries, how a job is asked to end.

`make test-airflow` runs them in `.venv-airflow`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow", reason="Airflow is not in this environment: run `make test-airflow`")

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from clickstream_job import ClickstreamJobOperator, JobHook


class Task:
    """Stands for a task instance: what is left in XCom."""

    def __init__(self) -> None:
        self.left: dict[str, Any] = {}

    def xcom_push(self, key: str, value: object) -> None:
        self.left[key] = value


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spark-submit, to be written by the test."""
    script = tmp_path / "bin" / "spark-submit"
    script.parent.mkdir()
    script.touch(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    monkeypatch.setenv("AIRFLOW_CONN_SPARK_DEFAULT", json.dumps({"conn_type": "spark", "host": "local[*]"}))
    return script


@pytest.fixture
def run(tmp_path: Path, spark: Path) -> Run:
    """Run an operator whose spark-submit is a shell script; gives its summary."""
    for file in ("release/jobs/put_events.py", "release/dist/clickstream_events.zip"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()

    def submit(script: str, task: Task | None = None) -> dict[str, Any]:
        spark.write_text(f"#!/bin/sh\n{script}\n")
        options = {"--batch": "2024-01-02", "--tracking-id": "-t", "--region": ""}
        operator = ClickstreamJobOperator(task_id="t", home=f"{tmp_path}/release", job="put_events", options=options)
        task = task or Task()
        operator.execute({"ti": task})
        return task.left["return_value"]

    return submit


SUMMARY = '{"job": "put_events", "batch": "2024-01-02", "exitCode": 9, "deadLettered": 3, "error": "why it ended"}'


@pytest.mark.parametrize("code", [0, 4])
def test_done_is_done_with_dead_letters_or_without(run: Run, code: int) -> None:
    summary = run(f"echo loading; echo '{SUMMARY}'; echo shutting down; exit {code}")
    assert (summary["exitCode"], summary["deadLettered"]) == (code, 3)


@pytest.mark.parametrize("code", [2, 3])
def test_what_somebody_must_mend_is_not_tried_again(run: Run, code: int) -> None:
    task = Task()
    with pytest.raises(AirflowFailException, match=f"put_events ended with exit code {code}: why it ended"):
        run(f"echo '{SUMMARY}'; exit {code}", task)
    assert task.left["return_value"]["exitCode"] == code


@pytest.mark.parametrize("end", ["exit 1", "exit 5", "exit 137", "kill -9 $$"])
def test_whatever_else_ends_it_is_tried_again(run: Run, end: str) -> None:
    task = Task()
    with pytest.raises(AirflowException) as raised:
        run(end, task)
    assert not isinstance(raised.value, AirflowFailException)
    assert task.left["return_value"]["exitCode"] not in (0, 2, 3, 4)


def test_the_command_line_leaves_out_what_is_empty(run: Run, tmp_path: Path) -> None:
    run(f'for each in "$@"; do echo "$each" >> {tmp_path}/said; done')
    said = (tmp_path / "said").read_text().splitlines()
    assert said[-3:] == [f"{tmp_path}/release/jobs/put_events.py", "--batch=2024-01-02", "--tracking-id=-t"]
    assert said[said.index("--deploy-mode") + 1] == "client" and said[said.index("--master") + 1] == "local[*]"


def test_a_missing_zip_is_told_before_spark_starts(run: Run, tmp_path: Path) -> None:
    (tmp_path / "release" / "dist" / "clickstream_events.zip").unlink()
    with pytest.raises(AirflowFailException, match=r"clickstream_events\.zip; `make zip`"):
        run("exit 0")


def test_a_worker_without_spark_says_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AirflowFailException, match="no spark-submit"):
        run("exit 0")


def test_a_connection_that_is_not_there_is_told_instead_of_taken_for_yarn(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_SPARK_DEFAULT")
    words = "there is no connection 'spark_default': airflow connections add spark_default --conn-type spark"
    with pytest.raises(AirflowFailException, match=words):
        run(f"touch {tmp_path}/submitted")
    assert not (tmp_path / "submitted").exists()


TRAP = """#!/bin/sh
trap 'echo asked >> "$0.asked"' TERM
ps -o pgid= $$ > "$0.group"
echo up
sleep 1 & wait; wait
exit 5
"""


class KilledHook(JobHook):
    """Is killed twice as soon as its job says that it is up, as Airflow does it from a handler of signals."""

    def _noting_the_summary(self, lines: Iterator[str]) -> Iterator[str]:
        for line in super()._noting_the_summary(lines):
            if line.strip() == "up":
                self.on_kill()
                self.on_kill()
            yield line


def test_a_job_is_asked_to_end_once_and_airflows_own_signals_do_not_reach_it(tmp_path: Path, spark: Path) -> None:
    spark.write_text(TRAP)
    hook = KilledHook()
    with pytest.raises(AirflowException):
        hook.submit("job.py")
    assert hook.exit_code == 5
    assert Path(f"{spark}.asked").read_text() == "asked\n"
    assert int(Path(f"{spark}.group").read_text()) != os.getpgrp()
