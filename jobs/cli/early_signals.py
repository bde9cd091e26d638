"""Handles signals that arrive while a job is imported, which takes seconds, so that the run still ends with a summary.

This module does not import pyspark, so that it listens as early as possible. Under spark-submit it connects to the JVM
that started this process, because a scheduler's signal goes there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import ClassVar, Final

from jobs.cli.terminal import open_closed_streams, write_lines
from jobs.spark_internals.gateway import JvmSignals, connect_to_launcher, is_launched_by_jvm

_INTERRUPTED_EXIT: Final = 5


class EarlySignals:
    """Ends the process with a message, until a run takes over.

    Args:
        job: its name.
        left: what an interruption leaves behind, and what the user does then.

    Attributes:
        current: the listener of this process; None if there is none.
    """

    current: ClassVar[EarlySignals | None] = None

    def __init__(self, job: str, left: str) -> None:
        self._job = job
        self._error = f"interrupted: {left}"
        self._on_signal: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGTERM)
        self._is_taken_over = False
        self._stop_requested = threading.Event()
        self._thread = threading.Thread(target=self._listen_to_jvm, name="jvm-signals", daemon=True)

    def listen(self) -> None:
        """Start to listen."""
        open_closed_streams()
        EarlySignals.current = self
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._end_process)
        if is_launched_by_jvm():
            self._thread.start()

    def take_over(self, hear: Callable[[], None]) -> bool:
        """Pass signals to the run from now on.

        Args:
            hear: is called for each signal of the JVM.

        Returns:
            Whether this listener receives the JVM's signals.
        """
        self._on_signal, self._is_taken_over = hear, True
        return self._thread.is_alive()

    def stop(self, seconds: float) -> None:
        """Give the JVM its signals back, and wait for that so many seconds at most."""
        self._stop_requested.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _listen_to_jvm(self) -> None:
        with suppress(Exception):  # the run tries it again, and reports the error
            JvmSignals(connect_to_launcher()).pass_on(self._on_jvm_signal, self._stop_requested)

    def _on_jvm_signal(self) -> None:
        self._on_signal()

    def _end_process(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_taken_over:  # the run has ended and reported how
            return
        write_lines(sys.stderr, f"error: {self._error}")
        summary = {"job": self._job, "batch": None, "exitCode": _INTERRUPTED_EXIT, "error": self._error}
        write_lines(sys.stdout, json.dumps(summary))
        sys.exit(_INTERRUPTED_EXIT)
