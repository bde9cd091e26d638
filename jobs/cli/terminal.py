"""Standard streams that may be closed or broken, and the terminal that a job was started from.

A stream that cannot be written changes nothing of a run, least of all its exit code.
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
    """Find what to draw on: this process's standard error, or spark-submit's, where one is a terminal.

    Under spark-submit what a Python program writes goes through a pipe to the JVM that started it, so it is that
    process's standard error that counts. Where there is no /proc, no terminal is found then.
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
        terminal: to write on; None where nobody looks.
        on_loss: is called with the error when the terminal has gone away.
    """

    def __init__(self, terminal: TextIO | None, on_loss: Callable[[Exception], None] = lambda _: None) -> None:
        self._terminal = terminal
        self._on_loss = on_loss

    @property
    def is_there(self) -> bool:
        """Whether there is a terminal, as far as is known."""
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
    """Return the columns that a line may have that is written over."""
    return max(shutil.get_terminal_size().columns - 1, 20)


def draw_bar(done: float) -> str:
    """Draw a bar.

    Args:
        done: the share that is done, 0 to 1.

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
    """Open what of standard input, output and error was closed, so that no other file takes its place."""
    for descriptor in _STANDARD_DESCRIPTORS:
        if not _is_open(descriptor):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout = sys.stdout or _open_stream(_STDOUT)
    sys.stderr = sys.stderr or _open_stream(_STDERR)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Let a run write to streams that may be closed; at its end, leave nothing in them that cannot be written.

    Otherwise Python ends with 120 where its own last flush fails, whatever the exit code was to be.
    """
    open_closed_streams()
    try:
        yield
    finally:
        write_lines(sys.stdout)
        write_lines(sys.stderr)


def write_lines(stream: TextIO, *lines: str) -> None:
    """Write lines at once, if they can be written; if not, nothing is written to the stream any more."""
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
    """Send what the stream still holds, and all that follows, nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
