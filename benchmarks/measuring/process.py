"""What a program takes: by the clock, and of the processors by all of its processes."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
_PR_SET_CHILD_SUBREAPER: Final = 36
"""linux/prctl.h: orphans of our children become our own, so that we are told what they took."""
_TOLD: Final = 20


class Cost(NamedTuple):
    """What a program took, in seconds.

    Attributes:
        clock: from its start to its end.
        processors: of all its processes together, the JVM and its Python workers among them.
    """

    clock: float
    processors: float


class Ended(NamedTuple):
    """A program that has ended.

    Attributes:
        cost: what it took.
        output: the lines of its standard output.
    """

    cost: Cost
    output: list[str]


def submitted(script: str, *arguments: str, cores: int = 2) -> list[str]:
    """Make the command that runs a script of this project by Spark, on so many cores of this machine."""
    submit = f"spark-submit --master local[{cores}] --driver-memory 4g --conf spark.ui.showConsoleProgress=false"
    return [*submit.split(), str(ROOT / script), *arguments]


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a program to its end, and wait for all that it leaves behind. Nothing may be started beside it meanwhile.

    Raises:
        SystemExit: it failed; the end of what it said goes along.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    given = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)), **(environment or {})}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        others, started = _children(), time.monotonic()
        process = subprocess.Popen(command, env=given, stdout=output, stderr=errors)  # noqa: S603 - our own commands
        _, status, used = os.wait4(process.pid, 0)
        clock = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit("\n".join([f"{' '.join(command)}: {process.returncode}", *_lines(errors)[-_TOLD:]]))
        taken = used.ru_utime + used.ru_stime
        while left := _children() - others:
            _, _, used = os.wait4(left.pop(), 0)
            taken += used.ru_utime + used.ru_stime
        return Ended(Cost(clock, taken), _lines(output))


def say(text: str) -> None:
    """Tell whoever waits what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _lines(file: IO[str]) -> list[str]:
    file.seek(0)
    return file.read().splitlines()


def _children() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}
