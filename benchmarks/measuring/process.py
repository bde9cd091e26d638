"""The time of a program: by the clock, and in processor seconds of all its processes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
_PR_SET_CHILD_SUBREAPER: Final = 36
"""linux/prctl.h: orphans of our children become our own children, so that we get their times."""
_TOLD: Final = 20
_SIGCHLD_IGNORED: Final = 1 << signal.SIGCHLD - 1
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_LOOK: Final = 0.1
"""Seconds between two readings of processes that no parent waits for."""


class Cost(NamedTuple):
    """The time of a program, in seconds.

    Attributes:
        clock: from its start to its end.
        processors: of all its processes together, the JVM and its Python workers among them.
    """

    clock: float
    processors: float


class Ended(NamedTuple):
    """A program that has ended.

    Attributes:
        cost: its time.
        output: the lines of its standard output.
    """

    cost: Cost
    output: list[str]


def submitted(script: str, *arguments: str, cores: int = 2) -> list[str]:
    """Make the command that runs a script of this project with Spark, on so many cores of this machine."""
    submit = f"spark-submit --master local[{cores}] --driver-memory 4g --conf spark.ui.showConsoleProgress=false"
    return [*submit.split(), str(ROOT / script), *arguments]


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Ended:
    """Run a program to its end, and wait for all its processes. Nothing else may be started meanwhile.

    Raises:
        SystemExit: it failed; the message has the end of its output.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    given = {**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT)), **(environment or {})}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        others, started = _children(), time.monotonic()
        with _Watch() as watch:
            process = subprocess.Popen(command, env=given, stdout=output, stderr=errors)  # noqa: S603 - our own commands
            _, status, used = os.wait4(process.pid, 0)
            clock = time.monotonic() - started
            process.returncode = os.waitstatus_to_exitcode(status)
            taken = used.ru_utime + used.ru_stime
            while left := _children() - others:
                _, _, used = os.wait4(left.pop(), 0)
                taken += used.ru_utime + used.ru_stime
        if process.returncode:
            raise SystemExit("\n".join([f"{' '.join(command)}: {process.returncode}", *_lines(errors)[-_TOLD:]]))
        return Ended(Cost(clock, taken + watch.taken()), _lines(output))


class _Watch:
    """Reads the times of processes whose parent ignores SIGCHLD: the kernel adds them to no parent.

    Spark's Python workers are such processes. They are idle before they end, so the last reading is complete.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, str], float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Watch:
        self._others = _unheard().keys()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def taken(self) -> float:
        """Return their processor seconds."""
        return sum(self._seen.values())

    def _watch(self) -> None:
        while not self._over.wait(_LOOK):
            self._seen |= {who: taken for who, taken in _unheard().items() if who not in self._others}


def _unheard() -> dict[tuple[int, str], float]:
    """Return the processor seconds of descendants that no parent waits for, by process id and start time."""
    stats = dict(_stats())
    return {
        (pid, fields[19]): (int(fields[11]) + int(fields[12])) / _TICKS
        for pid, fields in stats.items()
        if _ours(parent := int(fields[1]), stats) and _ignores_children(parent)
    }


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of `stat` (proc(5)) of each process after its name: the second is its parent."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it has ended
                yield int(folder.name), (folder / "stat").read_text().rpartition(")")[2].split()


def _ours(pid: int, stats: Mapping[int, Sequence[str]]) -> bool:
    """Whether it descends from this process."""
    while pid in stats:
        pid = int(stats[pid][1])
        if pid == os.getpid():
            return True
    return False


def _ignores_children(pid: int) -> bool:
    with suppress(OSError):
        status = Path(f"/proc/{pid}/status").read_text()
        return bool(int(status.partition("SigIgn:")[2].split()[0], 16) & _SIGCHLD_IGNORED)
    return False


def say(text: str) -> None:
    """Print the progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _lines(file: IO[str]) -> list[str]:
    file.seek(0)
    return file.read().splitlines()


def _children() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}
