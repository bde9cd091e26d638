"""Processes of a soak: each has its own session, by which its children are found."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.measuring.process import ROOT

_PR_SET_PDEATHSIG: Final = 1
"""linux/prctl.h: a process dies with its parent."""
_LIBC: Final = ctypes.CDLL(None)


class Process(NamedTuple):
    """A process of the system.

    Attributes:
        pid: its id.
        parent: the id of its parent.
        session: the id of its session, which stays when its parent dies.
        command: its command line.
    """

    pid: int
    parent: int
    session: int
    command: str


def start(command: Iterable[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start a process in its own session; it appends to its log, and dies with this process."""
    with log.open("a") as out:
        return subprocess.Popen(  # noqa: S603 - our own commands
            list(command),
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one thread alone runs here
        )


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def of_sessions(sessions: Iterable[int]) -> list[Process]:
    """List the living processes of sessions."""
    wanted, found = set(sessions), []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) in wanted and fields[0] != "Z":
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(Process(int(folder.name), int(fields[1]), int(fields[3]), command))
    return found


def below(pid: int, everybody: Iterable[Process]) -> list[Process]:
    """List a process and its descendants, of all users."""
    family, known = {pid}, list(everybody)
    while more := {each.pid for each in known if each.parent in family} - family:
        family |= more
    return [each for each in known if each.pid in family]


def tell(pids: Iterable[int], number: signal.Signals) -> None:
    """Send a signal to the processes that still exist."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def end(process: subprocess.Popen[str]) -> None:
    """Kill a process and its whole session, including new and stopped processes."""
    while family := of_sessions([process.pid]):
        tell((each.pid for each in family), signal.SIGKILL)
        time.sleep(0.02)
    process.wait()


def peak_memory(pid: int) -> int:
    """Read the peak resident memory of a process, in bytes; 0 if it no longer exists."""
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024
    return 0


def wait_for(found: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    """Wait until a condition is true.

    Raises:
        SystemExit: it did not become true in time.
    """
    until = time.monotonic() + seconds
    while not found():
        if time.monotonic() > until:
            raise SystemExit(f"soak: {what} did not come within {seconds:g} s")
        time.sleep(0.05)
