"""Handles the signals that ask a run to end: Ctrl-C, a scheduler's SIGTERM, the SIGHUP of a terminal that is closed.

A signal can arrive at two processes. Ctrl-C goes to the whole foreground process group: to Python and, under
spark-submit, to the JVM. A scheduler's SIGTERM goes to the process that it started: under spark-submit, the JVM. By
default the JVM shuts Spark down at either, and then the run cannot even write its summary. So the run listens for the
signals of both processes, from its start to its end.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from types import FrameType
from typing import Any, Final

from jobs.cli.early_signals import EarlySignals
from jobs.errors import UnfinishedError
from jobs.spark_internals.context import cancel_jobs, launched_jvm
from jobs.spark_internals.gateway import JvmSignals

log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WAKE_SIGNAL: Final = signal.SIGURG
"""The signal that interrupts the main thread. Nothing else sends it, and an extra one does no harm."""
_JVM_POLL: Final = 0.05
_WAKE_SECONDS: Final = 0.02
_END_SECONDS: Final = 5.0
"""How long to wait until the JVM has its signals back: it may be gone or stopped."""
_CANCEL_SECONDS: Final = 0.2
_FIRST_SIGNAL, _SECOND_SIGNAL = 1, 2
_BLOCK_ENTERED: Final = "a block that ends gently was entered"


def _is_ignored(number: int) -> bool:
    """Whether the process was started to ignore a signal, as nohup does with SIGHUP."""
    return signal.getsignal(number) is signal.SIG_IGN


class Interruption:
    """Listens for the signals of both processes, and reacts as the current part of the run asks.

    The first signal ends a run cleanly, a second one at once. Each process counts on its own: one Ctrl-C reaches both.

    Args:
        find_jvm: gives the JVM; None before it has started.
        cancel: ends what the JVM does for the main thread.

    Attributes:
        is_requested: whether one of these signals was received. Any exception may follow, because a signal may end the
            JVM.
    """

    def __init__(self, find_jvm: Callable[[], Any] = launched_jvm, cancel: Callable[[], None] = cancel_jobs) -> None:
        self.is_requested = False
        self._find_jvm = find_jvm
        self._cancel = cancel
        self._signals: SimpleQueue[str | None] = SimpleQueue()
        self._stop: Callable[[], None] | None = None
        self._called_stop: Callable[[], None] | None = None
        """The `stop` of a block that was called."""
        self._stop_message = ""
        self._raises_from: int | None = None
        """The number of the signal from which on KeyboardInterrupt is raised: 1 or 2; None for never."""
        self._waking_for = 0
        """The number of the signal that the main thread is interrupted for; 0 for none."""
        self._is_over = threading.Event()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over the signals of this process, and of the JVM as soon as it has started, until the block ends."""
        heard = [number for number in _SIGNALS if number != signal.SIGHUP or not _is_ignored(number)]
        before = {number: signal.signal(number, self._note_signal) for number in heard}
        before[_WAKE_SIGNAL] = signal.signal(_WAKE_SIGNAL, self._raise_if_due)
        server = threading.Thread(target=self._handle_signals, name="interruption", daemon=True)
        listener = threading.Thread(target=self._listen_to_jvm, name="jvm-signals", daemon=True)
        server.start()
        listener.start()
        try:
            yield
        finally:
            self._is_over.set()
            self._signals.put(None)
            server.join(_END_SECONDS)
            listener.join(_END_SECONDS)
            for number, handler in before.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def listen_again(self) -> None:
        """Take over Ctrl-C again, because Spark took it when it started."""
        signal.signal(signal.SIGINT, self._note_signal)

    @contextmanager
    def ends_at_once(self) -> Iterator[None]:
        """While the block runs, each signal raises KeyboardInterrupt in the main thread. Spark keeps running."""
        self._raises_from = _FIRST_SIGNAL
        try:
            yield
        finally:
            self._raises_from = None

    @contextmanager
    def ends_by_itself(self) -> Iterator[None]:
        """While the block runs, which takes little time, only a second signal raises KeyboardInterrupt."""
        self._raises_from = _SECOND_SIGNAL
        try:
            yield
        finally:
            self._raises_from = None

    def check(self, unfinished: str) -> None:
        """End the run if a signal has asked for that.

        Args:
            unfinished: what the run leaves behind, and what the user does then.

        Raises:
            UnfinishedError: a signal has come.
        """
        if self.is_requested:
            raise UnfinishedError(f"interrupted: {unfinished}")

    @contextmanager
    def cancelling(self, unfinished: Callable[[], str]) -> Iterator[None]:
        """Let the first signal cancel Spark's jobs, the running and the future ones, until the block ends.

        For work that starts over when it is run again. Python is not interrupted, because a call that waits for the JVM
        would leave its answer to the next call, and the clean-up needs the JVM. A second signal does interrupt Python.

        Args:
            unfinished: says what the run leaves behind if it does not finish, and what the user does then.

        Raises:
            UnfinishedError: a signal came, and the work did not finish.
        """
        asked, over = threading.Event(), threading.Event()
        canceller = threading.Thread(target=self._keep_cancelling, args=(asked, over), name="canceller", daemon=True)
        canceller.start()
        try:
            with self.gently(asked.set, "Spark's jobs are cancelled"):
                yield
        except Exception:
            self.check(unfinished())
            raise
        finally:
            over.set()
            asked.set()
            canceller.join()

    def _keep_cancelling(self, asked: threading.Event, over: threading.Event) -> None:
        asked.wait()
        while not over.wait(_CANCEL_SECONDS):
            with suppress(Exception):  # the JVM may be gone
                self._cancel()

    @contextmanager
    def gently(self, stop: Callable[[], None], meanwhile: str = "present work is finished first") -> Iterator[None]:
        """Let the work end itself: while the block runs, the first signal calls `stop` instead.

        The work then finishes its current part and leaves the block. A second signal raises KeyboardInterrupt.

        Args:
            stop: is called once, from a thread of its own, also if a signal came before this block. It must return at
                once.
            meanwhile: what happens then, for the log.
        """
        self._stop_message = meanwhile
        self._stop = partial(stop)  # a new object in each block, so that `_called_stop` identifies the block
        try:
            if self.is_requested:
                self._signals.put(_BLOCK_ENTERED)
            yield
        finally:
            self._stop = None

    def _note_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Queue a signal. A handler must take no lock, which the interrupted code may hold; this queue has none."""
        self.is_requested = True
        self._signals.put("Python")

    def _raise_if_due(self, _number: int, _frame: FrameType | None) -> None:
        asked, self._waking_for = self._waking_for, 0
        if asked and self._can_raise(asked):
            raise KeyboardInterrupt

    def _can_raise(self, asked: int) -> bool:
        """Whether this signal still raises in the main thread, which may have left the block meanwhile."""
        gently = asked == _FIRST_SIGNAL and self._stop is not None
        return self._raises_from is not None and asked >= self._raises_from and not gently

    def _handle_signals(self) -> None:
        signals: Counter[str] = Counter()
        while (way := self._signals.get()) is not None:
            before = max(signals.values(), default=0)
            if way == _BLOCK_ENTERED:
                self._request_end()
                continue
            signals[way] += 1
            if signals[way] == _FIRST_SIGNAL > before:
                self._request_end()
            elif signals[way] > max(before, _FIRST_SIGNAL):
                self._interrupt_main_thread(_SECOND_SIGNAL)

    def _request_end(self) -> None:
        stop = self._stop
        if stop is None:
            self._interrupt_main_thread(_FIRST_SIGNAL)
        elif stop is not self._called_stop:
            self._called_stop = stop
            log.warning("signal to end: %s; a second signal ends the run at once", self._stop_message)
            stop()

    def _interrupt_main_thread(self, asked: int) -> None:
        """Raise KeyboardInterrupt in the main thread, and cancel the Spark job that it may wait for.

        A wake signal just before that wait begins does not end it, so the signal is repeated until it is handled.
        """
        if not self._can_raise(asked):
            return
        main = threading.main_thread().ident
        assert main is not None
        self._waking_for = asked
        while self._waking_for and not self._is_over.is_set():
            signal.pthread_kill(main, _WAKE_SIGNAL)
            time.sleep(_WAKE_SECONDS)
        with suppress(Exception):  # the JVM has died
            self._cancel()

    def _note_jvm_signal(self) -> None:
        self.is_requested = True
        self._signals.put("JVM")

    def _listen_to_jvm(self) -> None:
        """Listen for the JVM's signals, which otherwise shut Spark down."""
        early = EarlySignals.current
        if early is not None and early.take_over(self._note_jvm_signal):
            self._is_over.wait()
            early.stop(_END_SECONDS)
            return
        while (jvm := self._find_jvm()) is None:
            if self._is_over.wait(_JVM_POLL):
                return
        try:
            signals = JvmSignals(jvm)
        except Exception as failure:  # a JVM with -Xrs, or one of another vendor
            log.warning(
                "the JVM's signals cannot be taken over (%s): Ctrl-C ends Spark at once", type(failure).__name__
            )
            return
        signals.pass_on(self._note_jvm_signal, self._is_over)
