"""The processes of the demo: a local PutEvents service, and the two jobs with spark-submit."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, build_opener

_PROJECT = Path(__file__).resolve().parent.parent
_READY = re.compile(r"^emulator ready on (http://\S+)$", re.MULTILINE)
_READY_WITHIN = 30.0
_DEAD_LETTERS = 4
# Invented: only the emulator accepts them.
_ACCESS_KEY, _SECRET_KEY = "AKIDEMULATOR", "emulator-secret"


class StepFailedError(Exception):
    """A process failed; the message says which, and ends with its last output."""


@contextmanager
def emulator(folder: Path) -> Iterator[str]:
    """Run the local PutEvents service for as long as the context lasts, and give its URL.

    Args:
        folder: where `emulator.log` is written.

    Raises:
        StepFailedError: it did not start.
    """
    log = folder / "emulator.log"
    keys = ["--access-key", _ACCESS_KEY, "--secret-key", _SECRET_KEY]
    with log.open("w", encoding="utf-8") as output:
        command = [sys.executable, "-m", "emulator", "--port", "0", *keys]
        process = subprocess.Popen(command, cwd=_PROJECT, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield _ready_url(process, log)
    finally:
        _stop(process)


def run_job(name: str, arguments: Sequence[str], folder: Path) -> dict[str, Any]:
    """Run a job with the spark-submit of this Python environment, and return its summary.

    Args:
        name: the job's script in jobs/, without its ending.
        arguments: its command line.
        folder: where the job runs, and where its output goes: `<name>.log`.

    Raises:
        StepFailedError: it failed, or printed no summary.
    """
    log = folder / f"{name}.log"
    environment = job_environment(os.environ)
    command = [_spark_submit(), str(_PROJECT / "jobs" / f"{name}.py"), *arguments]
    with log.open("wb") as said:
        run = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=said, check=False)
        # spark-submit prints all output of a Python program, its stack trace too, on its standard output.
        said.write(run.stdout)
    # With events in dead_letters the job has succeeded too: the comparison shows what is wrong.
    if run.returncode not in (0, _DEAD_LETTERS):
        ending = f"{name} ended with exit code {run.returncode}"
        raise StepFailedError(f"{ending}; the end of {log}:\n{_tail(log)}")
    return _summary(name, run.stdout.decode())


def received_events(url: str) -> Iterator[dict[str, Any]]:
    """Ask the emulator for every event that it received."""
    with build_opener(ProxyHandler({})).open(f"{url}/_emulator/events") as lines:
        yield from map(json.loads, lines)


def job_environment(ours: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of a job: this Python, its Spark, and no access to a real account."""
    foreign = ("AWS_", "SPARK_HOME", "PYSPARK_")
    kept = {name: value for name, value in ours.items() if not name.startswith(foreign)}
    return {
        **kept,
        "PYSPARK_PYTHON": sys.executable,
        **_spark_home(),
        "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": _SECRET_KEY,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # The emulator is on this machine, so no proxy is needed.
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def _spark_home() -> dict[str, str]:
    """Return the home of Spark: spark-submit's own script for it fails in a path with a blank."""
    found = find_spec("pyspark")
    return {} if found is None or found.origin is None else {"SPARK_HOME": str(Path(found.origin).parent)}


def _spark_submit() -> str:
    command = Path(sys.executable).with_name("spark-submit")
    if not command.exists():
        raise StepFailedError(f"there is no spark-submit beside {sys.executable}: run `make setup`")
    return str(command)


def _ready_url(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _READY_WITHIN
    while time.monotonic() < deadline:
        if ready := _READY.search(log.read_text(encoding="utf-8")):
            return ready.group(1)
        if process.poll() is not None:
            raise StepFailedError(f"the emulator ended with exit code {process.returncode}:\n{_tail(log)}")
        time.sleep(0.05)
    raise StepFailedError(f"the emulator was not ready within {_READY_WITHIN:.0f} s; its log is {log}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _summary(name: str, output: str) -> dict[str, Any]:
    try:
        summary = json.loads(output.splitlines()[-1])
    except (IndexError, ValueError):
        summary = None
    if not isinstance(summary, dict):
        raise StepFailedError(f"{name} did not print its run summary as the last line of its output")
    return summary


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line}" for line in lines[-15:])
