"""Writes to standard streams, which may be closed or broken, and finds the terminal that a job was started from.

A stream that cannot be written changes nothing in a run, and above all not its exit code.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

from jobs.spark_internals.gateway import is_launched_by_jvm


def find_terminal() -> TextIO | None:
    """Find the terminal to draw on: this process's standard error, or spark-submit's.

    Under spark-submit the output of Python goes through a pipe to the JVM that started it, so the JVM's standard error
    is the terminal. Without /proc it is not found.
    """
    if sys.stderr.isatty():
        return sys.stderr
    if not is_launched_by_jvm():
        return None
    parents = Path(f"/proc/{os.getppid()}/fd/2")
    with suppress(OSError):
        if stat.S_ISCHR(parents.stat().st_mode):  # a log file must not even be opened for writing
            descriptor = os.open(parents, os.O_WRONLY | os.O_NOCTTY)
            if os.isatty(descriptor):
                return os.fdopen(descriptor, "w", encoding="utf-8")
            os.close(descriptor)
    return None


class TerminalWriter:
    """Writes on a terminal until it goes away.

    Args:
        terminal: to write on; None if there is none.
        on_loss: is called with the error if the terminal has gone away.
    """

    def __init__(self, terminal: TextIO | None, on_loss: Callable[[Exception], None] = lambda _: None) -> None:
        self._terminal = terminal
        self._on_loss = on_loss

    @property
    def is_there(self) -> bool:
        """Whether there is a terminal. One that has gone away is noticed at the next write."""
        return self._terminal is not None

    def write(self, text: str) -> None:
        """Write a text, if there is a terminal."""
        if self._terminal is None:
            return
        try:
            self._terminal.write(text)
            self._terminal.flush()
        except (OSError, ValueError) as error:
            self._terminal = None
            self._on_loss(error)


def terminal_width() -> int:
    """Return the number of columns that a line which is overwritten may have."""
    return max(shutil.get_terminal_size().columns - 1, 20)


def draw_bar(done: float) -> str:
    """Draw a bar.

    Args:
        done: the completed share, 0 to 1.

    Examples:
        >>> draw_bar(0.25)
        '[#####...............]'
    """
    full = int(_BAR_WIDTH * done)
    return f"[{'#' * full}{'.' * (_BAR_WIDTH - full)}]"


_BAR_WIDTH: Final = 20
_STANDARD_DESCRIPTORS: Final = (0, 1, 2)
_STDOUT: Final = 1
_STDERR: Final = 2


def open_closed_streams() -> None:
    """Open those of standard input, output and error that are closed, so that no other file gets their numbers."""
    for descriptor in _STANDARD_DESCRIPTORS:
        if not _is_open(descriptor):
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
    sys.stdout = sys.stdout or _open_stream(_STDOUT)
    sys.stderr = sys.stderr or _open_stream(_STDERR)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Let a run write to streams that may be closed, and leave nothing unwritten in them at its end.

    Otherwise Python's own last flush could fail, and would change the exit code to 120.
    """
    open_closed_streams()
    try:
        yield
    finally:
        write_lines(sys.stdout)
        write_lines(sys.stderr)


def write_lines(stream: TextIO, *lines: str) -> None:
    """Write lines and flush. If that fails, discard all further output of the stream."""
    try:
        stream.write("".join(f"{line}\n" for line in lines))
        stream.flush()
    except (OSError, ValueError):  # ValueError: the stream itself was closed
        _discard_output(stream)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _open_stream(descriptor: int) -> TextIO:
    return os.fdopen(descriptor, "w", encoding="utf-8", closefd=False)


def _discard_output(stream: TextIO) -> None:
    """Discard what the stream still holds, and all that follows."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
