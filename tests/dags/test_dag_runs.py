"""The DAG in a real Airflow, by its scheduler: days in order, what ends them, and what the service received in the end.

`make test-airflow` runs it: it needs `.venv-airflow`.
"""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from tests.dags.airflows import AIRFLOW, DAG, PATIENCE, Airflow, running
from tests.jobs.processes import ROOT, emulated, processes, wait_for

pytestmark = [
    pytest.mark.skipif(not AIRFLOW.exists(), reason="there is no .venv-airflow: run `make test-airflow`"),
    pytest.mark.timeout(1800),
]

TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
FIRST, SECOND, THIRD = ((TODAY - timedelta(days=ago)).strftime("%Y-%m-%d") for ago in (3, 2, 1))
VISITORS = 90
MORNING, EVENING = range(0, 20, 4), range(23 * 60 + 42, 24 * 60, 4)  # minutes; five events each
POISON = f"{SECOND} v7 1430"
MAPPING = """
[source]
format = "json"
schema = "who STRING, at BIGINT, item STRING"
[event]
eventType = "'view'"
sentAt    = "timestamp_millis(at)"
userId    = "who"
itemId    = "item"
"""
QUICK = """
[spark]
"spark.sql.shuffle.partitions" = "4"
"spark.ui.enabled" = "false"
"""


class Click(NamedTuple):
    day: str
    who: str
    minute: int

    @property
    def item(self) -> str:
        return f"{self.day} {self.who} {self.minute}"

    def record(self) -> dict[str, object]:
        at = datetime.fromisoformat(self.day).replace(tzinfo=UTC) + timedelta(minutes=self.minute)
        return {"who": self.who, "at": int(at.timestamp() * 1000), "item": self.item}


def clicks(day: str) -> list[Click]:
    """Two visits of everybody: one begins the day, one ends it, and goes on in the next morning's."""
    return [Click(day, f"v{number}", minute) for number in range(VISITORS) for minute in (*MORNING, *EVENING)]


class Workplace(NamedTuple):
    """An Airflow with the DAG, and the service that it sends to."""

    airflow: Airflow
    service: str
    folder: Path

    def received(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.service}/_emulator/events") as answer:
            return [json.loads(line) for line in answer]

    def items(self) -> Counter[str]:
        return Counter(event["itemId"] for event in self.received())

    def calls(self) -> int:
        with urllib.request.urlopen(f"{self.service}/_emulator/summary") as answer:
            return int(json.load(answer)["calls"])

    def wait_while_sending(self, day: str) -> None:
        """Wait until some of the day's events have come, and more are to come."""
        wait_for(lambda: any(item.startswith(day) for item in self.items()), PATIENCE)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    folder = tmp_path_factory.mktemp("airflow")
    home = folder / "home"
    (home / "dags").mkdir(parents=True)
    for file in (ROOT / "dags").glob("*.py"):
        (home / "dags" / file.name).symlink_to(file)
    (folder / "mapping.toml").write_text(MAPPING)
    write_logs(folder)
    with emulated(folder / "emulator.log", "--poison-item", POISON, "--latency-ms", "20") as service:
        (home / "dags" / "clickstream.toml").write_text(settings(folder, service))
        with running(home) as airflow:
            yield Workplace(airflow, service, folder)


def write_logs(folder: Path) -> None:
    """Two good days, and a third most of whose records have no time."""
    for day in (FIRST, SECOND, THIRD):
        records = [click.record() for click in clicks(day)]
        records += [{"who": "v1", "at": None, "item": "timeless"}] * (2000 if day == THIRD else 0)
        (folder / f"{day}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def settings(folder: Path, service: str) -> str:
    """The five lines, and three that lead to the emulator, slowly."""
    five = f"""
start_date = {FIRST}
input = "{folder}/%Y-%m-%d.jsonl"
mapping = "{folder}/mapping.toml"
lake = "{folder}/lake"
tracking_id = "t"
"""
    return five + f'endpoint_url = "{service}"\nregion = "eu-west-1"\nmax_rate = 20\n' + QUICK


def spark_submit(job: str, workplace: Workplace) -> int:
    """The process of spark-submit that runs a job of this test's."""
    ours = f"endpoint-url={workplace.service}"
    return next(
        each.pid
        for each in processes()
        if "SparkSubmit" in each.command and job in each.command and ours in each.command
    )


@pytest.fixture(scope="module")
def caught_up(workplace: Workplace) -> Workplace:
    """Three days, caught up with: the first delivery is interrupted, the second marked failed and cleared."""
    airflow = workplace.airflow
    airflow.ask(f"dags/{DAG}", "PATCH", {"is_paused": False})
    workplace.wait_while_sending(FIRST)
    os.kill(spark_submit("put_events.py", workplace), signal.SIGTERM)
    workplace.wait_while_sending(SECOND)
    second = airflow.runs()[SECOND]["dag_run_id"]
    submitted = spark_submit("put_events.py", workplace)
    airflow.ask(f"dags/{DAG}/dagRuns/{quote(second)}/taskInstances/put_events", "PATCH", {"new_state": "failed"})
    wait_for(lambda: submitted not in {each.pid for each in processes()}, PATIENCE)
    airflow.wait_until(THIRD, "build_events", "failed")
    assert len(workplace.items()) < 2 * VISITORS * 10, "the second delivery was not stopped"
    airflow.run("tasks", "clear", "--yes", "--only-failed", "-s", SECOND, "-e", SECOND, DAG)
    wait_for(lambda: airflow.runs()[SECOND]["state"] == "success", PATIENCE)
    return workplace


def test_an_interrupted_delivery_is_tried_again_and_resumes(caught_up: Workplace) -> None:
    run = caught_up.airflow.runs()[FIRST]
    task = caught_up.airflow.task(FIRST, "put_events")
    assert (task["state"], task["try_number"], run["state"]) == ("success", 2, "success")
    assert "put_events ended with exit code 5" in caught_up.airflow.log(run["dag_run_id"], "put_events", 1)
    summary = caught_up.airflow.summary(run["dag_run_id"], "put_events")
    assert summary["exitCode"] == 0 and summary["alreadyDelivered"] > 0 < summary["delivered"]
    assert summary["alreadyDelivered"] + summary["delivered"] == len(clicks(FIRST))


def test_a_task_marked_failed_ends_its_job_cleanly_and_once_cleared_sends_the_rest(caught_up: Workplace) -> None:
    run = caught_up.airflow.runs()[SECOND]["dag_run_id"]
    assert "asking the job to end" in caught_up.airflow.log(run, "put_events", 1)
    summaries = (caught_up.folder / "lake" / "runs" / SECOND).glob("put_events-*.json")
    told = [json.loads(file.read_text()) for file in summaries]
    first = min(told, key=lambda summary: summary["runId"])
    assert first["exitCode"] == 5 and "it resumes" in first["error"]
    summary = caught_up.airflow.summary(run, "put_events")
    assert summary["alreadyDelivered"] > 0 < summary["delivered"]
    assert (summary["pending"], summary["deadLettered"]) == (0, 1)


def test_every_event_came_once_whatever_was_interrupted(caught_up: Workplace) -> None:
    expected = {click.item for day in (FIRST, SECOND) for click in clicks(day)} - {POISON}
    assert caught_up.items() == Counter(expected)


def test_days_are_built_in_order_so_that_sessions_go_on_over_midnight(caught_up: Workplace) -> None:
    sessions = {(event["userId"], event["sessionId"]) for event in caught_up.received()}
    assert len(sessions) == 3 * VISITORS  # the first morning, the night between, the second evening
    starts = [caught_up.airflow.task(day, "build_events")["start_date"] for day in (FIRST, SECOND, THIRD)]
    assert starts == sorted(starts)


def test_a_build_is_given_the_interval_of_its_run(caught_up: Workplace) -> None:
    run = caught_up.airflow.runs()[FIRST]["dag_run_id"]
    assert f"--interval={FIRST}T00:00:00Z/{SECOND}T00:00:00Z" in caught_up.airflow.log(run, "build_events")


def test_few_dead_letters_are_no_failure_and_show_in_the_grid(caught_up: Workplace) -> None:
    airflow, runs = caught_up.airflow, caught_up.airflow.runs()
    assert airflow.state(FIRST, "all_accepted") == "success"
    assert airflow.state(SECOND, "all_accepted") == "skipped" and runs[SECOND]["state"] == "success"
    lines = map(json.loads, airflow.log(runs[SECOND]["dag_run_id"], "all_accepted").splitlines())
    warnings = [line["event"] for line in lines if line["level"] == "warning"]
    refused = f"batch {SECOND}: the service refused 1 of 900 events for good (0.1111 %)"
    assert warnings == [f"{refused}; dead_letters has them, with the messages of the service"]


def test_a_day_whose_gate_fails_is_not_tried_again_and_nothing_is_sent(caught_up: Workplace) -> None:
    airflow, run = caught_up.airflow, caught_up.airflow.runs()[THIRD]
    tasks = airflow.tasks(run["dag_run_id"])
    assert (tasks["build_events"]["state"], tasks["build_events"]["try_number"]) == ("failed", 1)
    assert (tasks["put_events"]["state"], run["state"]) == ("upstream_failed", "failed")
    assert airflow.summary(run["dag_run_id"], "build_events")["exitCode"] == 3
    assert not [item for item in caught_up.items() if item.startswith(THIRD)]


def test_a_cleared_day_is_built_anew_and_nothing_is_sent_again(caught_up: Workplace) -> None:
    airflow, calls, run = caught_up.airflow, caught_up.calls(), caught_up.airflow.runs()[FIRST]["dag_run_id"]
    before = airflow.summary(run, "build_events")
    airflow.run("tasks", "clear", "--yes", "-s", FIRST, "-e", FIRST, DAG)
    wait_for(lambda: airflow.runs()[FIRST]["state"] == "success", PATIENCE)
    after, put = airflow.summary(run, "build_events"), airflow.summary(run, "put_events")
    assert before["runId"] != after["runId"] and before["events"] == after["events"] == len(clicks(FIRST))
    assert (put["alreadyDelivered"], put["delivered"], put["exitCode"]) == (len(clicks(FIRST)), 0, 0)
    assert caught_up.calls() == calls


def test_a_wrong_mapping_fails_at_once(caught_up: Workplace) -> None:
    airflow = caught_up.airflow
    form = {
        "logical_date": f"{SECOND}T12:00:00Z",
        "conf": {"mapping": "/nowhere.toml"},
    }  # the last interval then: FIRST
    run = airflow.ask(f"dags/{DAG}/dagRuns", "POST", form)["dag_run_id"]
    wait_for(lambda: airflow.tasks(run)["build_events"]["state"] == "failed", PATIENCE)
    assert airflow.tasks(run)["build_events"]["try_number"] == 1
    summary = airflow.summary(run, "build_events")
    assert (summary["exitCode"], summary["batch"]) == (2, FIRST) and "/nowhere.toml" in summary["error"]


def test_a_batch_that_is_done_without_holds_up_none(caught_up: Workplace) -> None:
    """Airflow's own button, which the docs tell to press; a run that is marked leaves its failed tasks as they are."""
    airflow, run = caught_up.airflow, caught_up.airflow.runs()[THIRD]["dag_run_id"]
    mark = {"new_state": "success", "include_downstream": True}
    airflow.ask(f"dags/{DAG}/dagRuns/{quote(run)}/taskInstances/build_events", "PATCH", mark)
    assert {task["state"] for task in airflow.tasks(run).values()} == {"success"}
    assert not [item for item in caught_up.items() if item.startswith(THIRD)]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"logical_date": None}, "this run has no interval: trigger it with --logical-date"),
        ({"logical_date": f"{SECOND}T13:00:00Z", "conf": {"trackingid": "x"}}, "--conf: there is no trackingid"),
    ],
)
def test_a_run_that_cannot_be_meant_is_refused_at_once(caught_up: Workplace, form: dict[str, Any], words: str) -> None:
    airflow = caught_up.airflow
    run = airflow.ask(f"dags/{DAG}/dagRuns", "POST", form)["dag_run_id"]
    wait_for(lambda: airflow.tasks(run)["build_events"]["state"] in {"failed", "up_for_retry"}, PATIENCE)
    task = airflow.tasks(run)["build_events"]
    assert (task["state"], task["try_number"]) == ("failed", 1)
    assert words in airflow.log(run, "build_events")


def test_more_dead_letters_than_a_run_allows_fail_its_delivery_at_once(caught_up: Workplace) -> None:
    airflow, calls = caught_up.airflow, caught_up.calls()
    conf = ("--reprocess-behavior", "completed", "--dag-run-conf", json.dumps({"max_dead_letter_share": 0.001}))
    airflow.run("backfill", "create", "--dag-id", DAG, "--from-date", SECOND, "--to-date", SECOND, *conf)
    airflow.wait_until(SECOND, "all_accepted", "upstream_failed")
    run = airflow.runs()[SECOND]["dag_run_id"]
    assert (airflow.state(SECOND, "build_events"), airflow.state(SECOND, "put_events")) == ("success", "failed")
    summary = airflow.summary(run, "put_events")
    assert (summary["exitCode"], summary["events"], summary["deadLettered"]) == (4, 900, 1)
    attempt = airflow.task(SECOND, "put_events")["try_number"]
    words = "the service refused 1 of 900 events for good (0.1111 %), more than max_dead_letter_share (0.1 %)"
    assert words in airflow.log(run, "put_events", attempt)
    assert caught_up.calls() == calls


def test_a_build_that_fails_over_one_that_passed_stops_the_day_until_somebody_decides(caught_up: Workplace) -> None:
    airflow, calls, run = caught_up.airflow, caught_up.calls(), caught_up.airflow.runs()[FIRST]["dag_run_id"]
    log = caught_up.folder / f"{FIRST}.jsonl"
    timeless = json.dumps({"who": "v1", "at": None, "item": "timeless"}) + "\n"
    log.write_text(log.read_text() + timeless * 2000)
    airflow.run("tasks", "clear", "--yes", "-s", FIRST, "-e", FIRST, DAG)
    airflow.wait_until(FIRST, "put_events", "upstream_failed")
    assert airflow.summary(run, "build_events")["exitCode"] == 3
    # What the docs tell to do to send the build that passed.
    task = f"dags/{DAG}/dagRuns/{quote(run)}/taskInstances/build_events"
    airflow.ask(task, "PATCH", {"new_state": "success"})
    airflow.run("tasks", "clear", "--yes", "-t", "put_events", "-d", "-s", FIRST, "-e", FIRST, DAG)
    wait_for(lambda: airflow.runs()[FIRST]["state"] == "success", PATIENCE)
    summary = airflow.summary(run, "put_events")
    assert (summary["exitCode"], summary["alreadyDelivered"], summary["pending"]) == (0, len(clicks(FIRST)), 0)
    assert caught_up.calls() == calls
