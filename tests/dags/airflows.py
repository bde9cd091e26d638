"""A whole Airflow of a test's own: scheduler, DAG processor, API server, SQLite; told and asked through its API."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.jobs.processes import ROOT, end, wait_for

AIRFLOW = ROOT / ".venv-airflow" / "bin" / "airflow"
DAG = "clickstream_to_personalize"
PATIENCE = 600.0
"""Seconds after which a test gives up."""


@dataclass(frozen=True, slots=True)
class Airflow:
    """A running Airflow.

    Attributes:
        home: its folder.
        url: of its API server.
        environment: of its processes.
        token: for its API.
    """

    home: Path
    url: str
    environment: dict[str, str]
    token: list[str] = field(default_factory=list)

    def run(self, *arguments: str) -> str:
        """Run a command of its command line; again where another process's writing came in between.

        SQLite ends a transaction at once that has read before the other wrote, and writes after it, however long it may
        wait for a lock. A backfill that ends so leaves its own record, which the scheduler closes after two minutes.
        """
        command, until, excuses = [str(AIRFLOW), *arguments], time.monotonic() + 300, ["database is locked"]
        while True:
            ended = subprocess.run(
                command, env=self.environment, capture_output=True, text=True, timeout=120, check=False
            )
            if ended.returncode == 0:
                return ended.stdout
            said = ended.stdout + ended.stderr
            assert time.monotonic() < until and any(excuse in said for excuse in excuses), said
            excuses = ["database is locked", "AlreadyRunningBackfill"]
            time.sleep(5)

    def ask(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Ask or tell the API what the web pages do."""
        if not self.token:
            self.token.append(json.load(urllib.request.urlopen(f"{self.url}/auth/token"))["access_token"])
        headers = {"Authorization": f"Bearer {self.token[0]}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v2/{path}", data, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def runs(self) -> dict[str, dict[str, Any]]:
        """The DAG's runs that are not manual, by the day that they are for."""
        runs = self.ask(f"dags/{DAG}/dagRuns?limit=100")["dag_runs"]
        return {run["logical_date"][:10]: run for run in runs if run["run_type"] != "manual"}

    def tasks(self, run_id: str) -> dict[str, dict[str, Any]]:
        """A run's task instances, by task."""
        found = self.ask(f"dags/{DAG}/dagRuns/{quote(run_id)}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def task(self, day: str, name: str) -> dict[str, Any]:
        return self.tasks(self.runs()[day]["dag_run_id"])[name]

    def state(self, day: str, name: str) -> str | None:
        """A task's state; None also where there is no such run yet."""
        return self.task(day, name)["state"] if day in self.runs() else None

    def summary(self, run_id: str, name: str) -> dict[str, Any]:
        """What a task left in XCom."""
        where = f"dags/{DAG}/dagRuns/{quote(run_id)}/taskInstances/{name}/xcomEntries/return_value"
        return dict(self.ask(f"{where}?deserialize=true")["value"])

    def log(self, run_id: str, name: str, attempt: int = 1) -> str:
        """What a task's attempt logged, a JSON line each."""
        folder = self.home / "logs" / f"dag_id={DAG}" / f"run_id={run_id}" / f"task_id={name}"
        return (folder / f"attempt={attempt}.log").read_text()

    def wait_until(self, day: str, name: str, *states: str) -> None:
        wait_for(lambda: self.state(day, name) in states, PATIENCE)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def environment(home: Path, port: int) -> dict[str, str]:
    """The environment of an Airflow that has Spark's client and our Python on its path, and a connection to Spark."""
    spark = Path(sys.executable).parent
    foreign = ("AIRFLOW", "PYSPARK_SUBMIT")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(foreign)},
        "PATH": f"{spark}:{os.environ['PATH']}",
        "PYSPARK_PYTHON": sys.executable,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONN_SPARK_DEFAULT": json.dumps({"conn_type": "spark", "host": "local[*]"}),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        # On a busy machine its processes wait for each other's transactions for longer than SQLite's five seconds.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db?timeout=60",
        "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


@contextmanager
def running(home: Path) -> Iterator[Airflow]:
    """Run an Airflow whose DAGs are in `dags/` of its home; stop it, and what it has started."""
    port = free_port()
    airflow = Airflow(home, f"http://127.0.0.1:{port}", environment(home, port))
    airflow.run("db", "migrate")
    with ExitStack() as stack:
        for part in ("api-server", "scheduler", "dag-processor"):
            stack.enter_context(_process(airflow, part))
        wait_for(lambda: _is_up(airflow), PATIENCE)
        yield airflow


@contextmanager
def _process(airflow: Airflow, part: str) -> Iterator[None]:
    with (airflow.home / f"{part}.log").open("w") as log:
        command = [str(AIRFLOW), part]
        process = subprocess.Popen(
            command, env=airflow.environment, stdout=log, stderr=log, text=True, start_new_session=True
        )
    try:
        yield
    finally:
        end(process)


def _is_up(airflow: Airflow) -> bool:
    """Whether it answers, and has read the DAG."""
    try:
        return airflow.ask("dags")["total_entries"] == 1
    except OSError:
        return False
