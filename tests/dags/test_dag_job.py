"""The operator, with a shell script for spark-submit: exit codes, summaries, how a job is asked to end.

`make test-airflow` runs them in `.venv-airflow`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow", reason="Airflow is not in this environment: run `make test-airflow`")

from airflow.sdk.exceptions import AirflowException, AirflowFailException

from clickstream_job import ClickstreamJobOperator, JobHook, check_ending, read_summary


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

    def submit(script: str, task: Task | None = None, **more: object) -> dict[str, Any]:
        spark.write_text(f"#!/bin/sh\n{script}\n")
        options = {"--batch": "2024-01-02", "--tracking-id": "-t", "--region": ""}
        operator = ClickstreamJobOperator(
            task_id="t", home=f"{tmp_path}/release", job="put_events", options=options, **more
        )
        task = task or Task()
        operator.execute({"ti": task})
        return task.left["return_value"]

    return submit


SUMMARY = json.dumps(
    {"job": "put_events", "batch": "2024-01-02", "runId": "r", "events": 300, "deadLettered": 3, "exitCode": 9}
    | {"error": "why it ended"}
)
JOB = f"echo loading; echo '{SUMMARY}'; echo shutting down"


def test_done_is_done(run: Run) -> None:
    summary = run(f"{JOB}; exit 0")
    assert (summary["exitCode"], summary["deadLettered"]) == (0, 3)


@pytest.mark.parametrize("allowed", ["0.01", "0.5", "1"])
def test_dead_letters_up_to_the_share_that_is_allowed_are_no_failure(run: Run, allowed: str) -> None:
    summary = run(f"{JOB}; exit 4", max_dead_letter_share=allowed)
    assert (summary["exitCode"], summary["deadLettered"]) == (4, 3)


@pytest.mark.parametrize(("allowed", "percent"), [("0.0099", "0.99 %"), ("0", "0 %")])
def test_more_dead_letters_than_that_fail_at_once_in_words_with_counts(run: Run, allowed: str, percent: str) -> None:
    task = Task()
    words = r"^batch 2024-01-02: the service refused 3 of 300 events for good \(1 %\), "
    with pytest.raises(AirflowFailException, match=rf"{words}more than max_dead_letter_share \({percent}\);"):
        run(f"{JOB}; exit 4", task, max_dead_letter_share=allowed)
    assert task.left["return_value"]["exitCode"] == 4


def test_without_a_share_no_dead_letter_is_allowed(run: Run) -> None:
    with pytest.raises(AirflowFailException, match="3 of 300 events"):
        run(f"{JOB}; exit 4")


@pytest.mark.parametrize("code", [0, 4])
def test_a_job_that_is_done_but_told_nothing_is_not_taken_for_done(run: Run, code: int) -> None:
    with pytest.raises(AirflowException, match=f"exit code {code}, but its log has no summary") as raised:
        run(f"echo loading; exit {code}", max_dead_letter_share="1")
    assert not isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize("share", ["nan", "-0.1", "1.1", "inf", "None", "", "1 %"])
def test_a_share_that_is_none_is_told_before_anything_is_sent(run: Run, tmp_path: Path, share: str) -> None:
    with pytest.raises(AirflowFailException, match=r"max_dead_letter_share is .*: it must be from 0 to 1"):
        run(f"touch {tmp_path}/submitted; {JOB}; exit 4", max_dead_letter_share=share)
    assert not (tmp_path / "submitted").exists()


@pytest.mark.parametrize(("counts", "fails"), [((0, 0), False), ((0, 3), True), ((300, 0), False), ((300, 299), True)])
def test_a_batch_without_events_has_a_share_too(counts: tuple[int, int], fails: bool) -> None:
    events, refused = counts
    summary = {
        "job": "put_events",
        "batch": "b",
        "runId": "r",
        "exitCode": 4,
        "events": events,
        "deadLettered": refused,
    }
    for allowed in (0.5, math.nan) if fails else (math.nan,):
        with pytest.raises(AirflowFailException, match=f"refused {refused} of {events} events"):
            check_ending(summary, allowed)
    if not fails:
        check_ending(summary, 0.5)


def test_a_summary_that_counts_nothing_is_not_taken_for_done() -> None:
    with pytest.raises(AirflowException, match="does not say how many events were refused") as raised:
        check_ending({"job": "put_events", "runId": "r", "exitCode": 4}, 1.0)
    assert not isinstance(raised.value, AirflowFailException)


def test_a_summary_is_found_behind_what_had_no_end_of_line(run: Run) -> None:
    assert run(f"printf '[Stage 3:=> (3 + 1) / 4]'; {JOB.removeprefix('echo loading; ')}; exit 0")["events"] == 300


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
    flags = {"--allow-empty": "True", "--rekey": ""}
    run(f'for each in "$@"; do echo "$each" >> {tmp_path}/said; done; {JOB}', flags=flags)
    said = (tmp_path / "said").read_text().splitlines()
    given = ["--batch=2024-01-02", "--tracking-id=-t", "--allow-empty"]
    assert said[-4:] == [f"{tmp_path}/release/jobs/put_events.py", *given]
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


def test_a_job_is_asked_to_end_once_and_airflows_own_signals_do_not_reach_it(
    tmp_path: Path, spark: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed twice as soon as it says that it is up, as Airflow does it from a handler of signals."""
    spark.write_text(TRAP)
    hook = JobHook()

    def kill_when_up(line: str) -> dict[str, Any] | None:
        if line.strip() == "up":
            hook.on_kill()
            hook.on_kill()
        return read_summary(line)

    monkeypatch.setattr("clickstream_job.read_summary", kill_when_up)
    with pytest.raises(AirflowException):
        hook.submit("job.py")
    assert hook.exit_code == 5
    assert Path(f"{spark}.asked").read_text() == "asked\n"
    assert int(Path(f"{spark}.group").read_text()) != os.getpgrp()
