"""Who holds a lock: which process of which machine, and whether it can be seen from here that it is gone."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process, and the run that it is.

    Attributes:
        runId: sorts in time order, and is unique.
        host: its name, for people.
        pid: the driver's, in its own namespace.
        startedAt: ISO 8601, UTC, by the host's clock; for people.
        bootId: of the running kernel; None where there is no /proc, as are the two below.
        pidNamespace: in which `pid` means something.
        processStart: in clock ticks since the boot: a pid is given again, a pid with its start is not.
    """

    runId: str
    host: str
    pid: int
    startedAt: str
    bootId: str | None
    pidNamespace: str | None
    processStart: int | None

    def __str__(self) -> str:
        since = datetime.fromisoformat(self.startedAt).astimezone(UTC)
        return f"run {self.runId} (host {self.host}, process {self.pid}, since {since:%Y-%m-%d %H:%M:%S} UTC)"


def this_process(runId: str) -> Holder:
    """Describe the process that this is.

    Examples:
        >>> is_gone(this_process("run-1"), this_process("run-2"))
        False
    """
    pid, now = os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
    _, start = _read_stat(pid) or ("", None)
    return Holder(runId, socket.gethostname(), pid, now, *_read_boot_and_namespace(), start)


def parse_holder(values: Any) -> Holder | None:
    """Take a holder from a claim's JSON; None where it is not as this version writes it."""
    try:
        holder = Holder(**values)
        str(holder)
    except (TypeError, ValueError, AttributeError):
        return None
    return holder if isinstance(holder.pid, int) and holder.pid > 0 else None


def is_gone(other: Holder, own: Holder) -> bool:
    """Whether another process has ended for certain; False too where that cannot be seen from here.

    Machines that were cloned while running share a boot id; hence the host's name beside it.
    """
    here = (own.host, own.bootId, own.pidNamespace)
    if None in here or other.processStart is None or (other.host, other.bootId, other.pidNamespace) != here:
        return False
    try:
        os.kill(other.pid, 0)  # unlike /proc, it shows other users' processes wherever these are hidden
    except ProcessLookupError:
        return True
    except OSError:
        pass
    state, start = _read_stat(other.pid) or ("", other.processStart)
    return state in {"Z", "X"} or start != other.processStart


def _read_boot_and_namespace() -> tuple[str | None, str | None]:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip(), os.readlink(_PROC / "self/ns/pid")
    except OSError:
        return None, None


def _read_stat(pid: int) -> tuple[str, int] | None:
    """Read a process's state and start, fields 3 and 22 of proc(5); None where it is not shown."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # a program's name may hold anything
    return fields[0], int(fields[19])
