"""Processes of a cluster and of a driver, found by their parents: to start, to kill, to leave none behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PATIENCE = 450.0
"""Seconds that a test waits for what must happen. On an idle machine it takes some 20; a busy one makes no test red."""


class Process(NamedTuple):
    """One of the system's processes."""

    pid: int
    parent: int
    command: str


def processes() -> list[Process]:
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid = int(folder.name)
            stat = (folder / "stat").read_text()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if stat.rpartition(")")[2].split()[0] != "Z":
                found.append(Process(pid, int(stat.rpartition(")")[2].split()[1]), command))
    return found


def below(root: int) -> list[Process]:
    """A process and all that it has started."""
    everybody = processes()
    family = {root}
    while more := {each.pid for each in everybody if each.parent in family} - family:
        family |= more
    return [each for each in everybody if each.pid in family]


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def end(root: subprocess.Popen[str]) -> None:
    """Kill a process and all that it has started, also what is started meanwhile."""
    family = {each.pid for each in below(root.pid)}
    while family:
        for pid in family:
            kill(pid)
        family = {each.pid for each in below(root.pid) if each.pid not in family} - {root.pid}
    root.wait()


def environment() -> dict[str, str]:
    """What the run's own processes are started with: the environment of its interpreter."""
    tools = Path(sys.executable).parent
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYSPARK_SUBMIT")},
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }


def start(
    *command: str, log: Path, folder: Path = ROOT, more: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a process whose output goes to a file, in a folder, with more in its environment."""
    with log.open("a") as out:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**environment(), **(more or {})},
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


def wait_for(found: Callable[[], object], seconds: float = PATIENCE) -> None:
    until = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until, "it did not come in time"
        time.sleep(0.05)


def last_summary(out: str, log: str = "") -> dict[str, Any]:
    """The summary that a job's output ends with; where there is none, the test fails with the end of what was said."""
    summary = next((line for line in reversed(out.splitlines()) if line.startswith('{"job"')), None)
    assert summary is not None, f"the job left no summary: {(log + out)[-4000:]}"
    return dict(json.loads(summary))


@contextmanager
def emulated(log: Path, *options: str) -> Iterator[str]:
    """An emulator in a process of its own; gives its URL."""
    process = start(sys.executable, "-m", "emulator", "--port", "0", *options, log=log)
    try:
        wait_for(lambda: re.search(r"http://\S+", log.read_text()))
        yield re.findall(r"http://\S+", log.read_text())[-1]
    finally:
        end(process)


@contextmanager
def cluster(logs: Path, hosts: tuple[str, ...] = ("127.0.0.1", "127.0.0.2")) -> Iterator[str]:
    """A Spark standalone cluster on loopback, one worker with one core a host; gives its master's URL.

    Spark starts a speculative copy of a task only on another host, so hosts have names of their own.
    """
    running = [_daemon("master.Master", logs / "master.log", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0")]
    try:
        log = logs / "master.log"
        wait_for(lambda: re.search(r"spark://\S+", log.read_text()))
        master = re.findall(r"spark://[\d.]+:\d+", log.read_text())[0]
        for host in hosts:
            options = ("--host", host, "--cores", "1", "--memory", "1g", "--webui-port", "0", master)
            running.append(_daemon("worker.Worker", logs / f"worker-{host}.log", *options))
        wait_for(lambda: log.read_text().count("Registering worker") == len(hosts))
        yield master
    finally:
        for process in running:
            end(process)


def _daemon(name: str, log: Path, *options: str) -> subprocess.Popen[str]:
    import pyspark  # noqa: PLC0415 - its home alone is wanted

    home = Path(pyspark.__file__).parent
    return start(str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *options, log=log)
