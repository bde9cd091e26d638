"""Standard output and standard error where nobody may read them: closed, a pipe that broke, a full disk.

What cannot be written there changes nothing of a run, least of all its exit code.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO

_STANDARD: Final = (0, 1, 2)
_OUT: Final = 1
_ERR: Final = 2


def open_closed_streams() -> None:
    """Open what of standard input, output and error was closed, so that no other file takes its place."""
    for descriptor in _STANDARD:
        if not _is_open(descriptor):
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    sys.stdout = sys.stdout or _stream(_OUT)
    sys.stderr = sys.stderr or _stream(_ERR)


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
        _discard(stream)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _stream(descriptor: int) -> TextIO:
    return os.fdopen(descriptor, "w", encoding="utf-8", closefd=False)


def _discard(stream: TextIO) -> None:
    """Send what the stream still holds, and all that follows, nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
