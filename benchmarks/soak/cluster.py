"""A standalone Spark cluster on loopback whose processes may be killed, and its drivers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyspark

from benchmarks.measuring.emulator import CALLER
from benchmarks.soak.processes import Process, below, end, of_sessions, start, wait_for

_NICE: Final = ("nice", "-n", "5")
"""So the emulator, which measures the time, runs before them."""
_SPARK: Final = (
    "spark.ui.enabled=false",
    "spark.ui.showConsoleProgress=false",
    "spark.driver.host=127.0.0.1",
    "spark.sql.shuffle.partitions=8",
)


class Cluster:
    """A master, and workers of one core each, each on its own host address.

    Attributes:
        workers: by host.
    """

    def __init__(self, folder: Path, logs: Path, credentials: Path) -> None:
        """Prepare a cluster without starting it.

        Args:
            folder: for Spark's files.
            logs: for the logs of its processes.
            credentials: an AWS credentials file, for drivers and executors.
        """
        self._folder = folder
        self._logs = logs
        self._environment = _environment(folder, credentials)
        self._all: list[subprocess.Popen[str]] = []
        self._master = ""
        self.workers: dict[str, subprocess.Popen[str]] = {}

    def start(self, workers: int) -> None:
        """Start the master and so many workers."""
        log = self._logs / "master.log"
        self._daemon("master.Master", log, "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
        wait_for(lambda: re.search(r"Starting Spark master at spark://\S+", log.read_text()), "the master")
        self._master = re.findall(r"Starting Spark master at (spark://[\d.]+:\d+)", log.read_text())[-1]
        for number in range(workers):
            self.start_worker(f"127.0.0.{number + 1}")
        wait_for(lambda: log.read_text().count("Registering worker") == workers, "the workers")

    def start_worker(self, host: str) -> None:
        """Start the worker of a host; the one before may have died."""
        options = ("--host", host, "--cores", "1", "--memory", "2g", "--webui-port", "0")
        work = ("--work-dir", str(self._folder / "work"))
        log = self._logs / f"worker-{host}.log"
        self.workers[host] = self._daemon("worker.Worker", log, *options, *work, self._master)

    def submit(self, log: Path, script: Path, arguments: Sequence[str]) -> subprocess.Popen[str]:
        """Submit a job in client mode."""
        confs = [part for setting in _SPARK for part in ("--conf", setting)]
        command = ["spark-submit", "--master", self._master, *confs, str(script), *arguments]
        return self._started([*_NICE, *command], log)

    def build(self, log: Path, arguments: Sequence[str]) -> int:
        """Run build_events on the cores of this machine, without the cluster; return its exit code."""
        command = ["spark-submit", "--master", "local[*]", "--driver-memory", "4g", "jobs/build_events.py", *arguments]
        job = self._started(command, log)
        try:
            return job.wait()
        finally:
            end(job)

    def processes(self) -> list[Process]:
        """List all living processes that this object started, and their children."""
        self._all = [each for each in self._all if each.poll() is None or of_sessions([each.pid])]
        return of_sessions(each.pid for each in self._all)

    def executors(self) -> list[Process]:
        """List the JVMs of executors, including those of dead workers and drivers."""
        return [each for each in self.processes() if "CoarseGrainedExecutorBackend" in each.command]

    def tasks(self) -> list[Process]:
        """List the Python processes that send; a daemon of each executor forks them."""
        daemons = {each.pid: each for each in self.processes() if "pyspark.daemon" in each.command}
        return [each for each in daemons.values() if each.parent in daemons]

    def family(self, pid: int) -> list[int]:
        """List a process and all that it has started."""
        return [each.pid for each in below(pid, self.processes())]

    def close(self) -> None:
        """End all processes that this object started."""
        for each in reversed(self._all):
            end(each)

    def _daemon(self, name: str, log: Path, *options: str) -> subprocess.Popen[str]:
        spark_class = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
        return self._started([*_NICE, spark_class, f"org.apache.spark.deploy.{name}", *options], log)

    def _started(self, command: Sequence[str], log: Path) -> subprocess.Popen[str]:
        self._all.append(start(command, log, self._environment))
        return self._all[-1]


def _environment(folder: Path, credentials: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYSPARK_SUBMIT"))}
    caller = {name: value for name, value in CALLER.items() if "KEY" not in name}
    return {
        **kept,
        **caller,
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        # A killed process cannot remove its temporary files.
        "TMPDIR": str(folder),
        "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={folder}",
    }
