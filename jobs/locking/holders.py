"""The process that holds a lock, and whether it has certainly ended."""

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
    """The process of a run.

    Attributes:
        runId: sorts in time order, and is unique.
        host: the host's name, for messages.
        pid: the driver's process id, in its own namespace.
        startedAt: ISO 8601, UTC, by the host's clock; for messages.
        bootId: of the running kernel; without /proc, this and the two below are None.
        pidNamespace: the namespace of `pid`.
        processStart: in clock ticks since the boot; the kernel can reuse a pid, but not with the same start.
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
    """Describe this process.

    Examples:
        >>> is_gone(this_process("run-1"), this_process("run-2"))
        False
    """
    pid, now = os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
    _, start = _read_stat(pid) or ("", None)
    return Holder(runId, socket.gethostname(), pid, now, *_read_boot_and_namespace(), start)


def parse_holder(values: Any) -> Holder | None:
    """Parse a holder from a claim's JSON; None if it is malformed."""
    try:
        holder = Holder(**values)
        str(holder)
    except (TypeError, ValueError, AttributeError):
        return None
    return holder if isinstance(holder.pid, int) and holder.pid > 0 else None


def is_gone(other: Holder, own: Holder) -> bool:
    """Whether another process has certainly ended; False also if that cannot be found out from here.

    Machines that were cloned while running share a boot id, so the host's name is compared too.
    """
    here = (own.host, own.bootId, own.pidNamespace)
    if None in here or other.processStart is None or (other.host, other.bootId, other.pidNamespace) != here:
        return False
    try:
        os.kill(other.pid, 0)  # unlike /proc, this also finds hidden processes of other users
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
    """Read a process's state and start, fields 3 and 22 of proc(5); None if /proc does not show it."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # a program's name can hold any character
    return fields[0], int(fields[19])
