"""How a run is asked to end: Ctrl-C, or the SIGTERM that a scheduler sends first.

A signal comes on two ways. Ctrl-C goes to the whole foreground process group, so to Python and, under spark-submit, to
the JVM; a scheduler's SIGTERM goes to what it has started, which under spark-submit is the JVM alone. Left to itself
the JVM shuts Spark down at either.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from types import FrameType
from typing import Any, Final

from pyspark.sql import SparkSession

from jobs.errors import UnfinishedError

log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_POLL_MS: Final = 200
_JVM_SECONDS: Final = 5.0
"""How long to wait for the JVM to take its signals back: it may be gone, or be stopped."""


class Interruption:
    """Remembers that the run was asked to end: Ctrl-C also ends the JVM, and what is raised then may be anything.

    Attributes:
        came: whether SIGINT or SIGTERM, which a scheduler sends first, was received.
    """

    def __init__(self) -> None:
        self.came = False
        self._spark: SparkSession | None = None
        self._asked: SimpleQueue[str | None] | None = None
        self._at_once = False

    def listen(self, spark: SparkSession | None = None) -> None:
        """Take over both signals of this process: each raises KeyboardInterrupt in the main thread.

        Args:
            spark: whose JVM has signals too; None where it has not started.
        """
        self._spark = spark
        for number in _SIGNALS:
            signal.signal(number, self._note)

    def check(self, unfinished: str) -> None:
        """End the run if it was asked to end.

        Args:
            unfinished: what it leaves behind, and what to do then.

        Raises:
            UnfinishedError: it was.
        """
        if self.came:
            raise UnfinishedError(f"interrupted: {unfinished}")

    @contextmanager
    def cancelling(self, unfinished: Callable[[], str]) -> Iterator[None]:
        """Let the first signal cancel Spark's jobs, those under way and those to come, until the block is left.

        For work that begins anew when it is run again. Python is not interrupted: a call that waits for the JVM's
        answer would leave it to the next call, and what tidies up afterwards has to ask the JVM. A second signal does.

        Args:
            unfinished: says what the run leaves behind where it does not come to its end, and what to do then.

        Raises:
            UnfinishedError: a signal came, and the work did not come to its end.
        """
        asked, over = threading.Event(), threading.Event()
        canceller = threading.Thread(target=self._cancel_jobs, args=(asked, over), name="canceller", daemon=True)
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

    def _cancel_jobs(self, asked: threading.Event, over: threading.Event) -> None:
        asked.wait()
        while not over.wait(_POLL_MS / 1000):
            with suppress(Exception):  # the JVM may be gone
                assert self._spark is not None
                self._spark.sparkContext.cancelAllJobs()

    @contextmanager
    def gently(
        self, stop: Callable[[], None], meanwhile: str = "what is under way is finished first"
    ) -> Iterator[None]:
        """Let the work end itself: while the block runs, the first signal calls `stop`, and Spark goes on living.

        The work then finishes what is under way and leaves the block. A second signal on the same way raises
        KeyboardInterrupt in the main thread. Where the JVM's signals cannot be taken over, a warning is logged and it
        goes on as outside: what reaches the JVM ends Spark.

        Args:
            stop: is called once, from a thread of its own, also when a signal came in such a block before this one; it
                must return at once.
            meanwhile: what happens then, for the log.
        """
        try:
            with self._served(stop, meanwhile) as asked, _jvm_signals(self._spark, lambda: asked.put("JVM")):
                self._asked = asked
                if self.came:
                    asked.put("before")
                yield
        finally:
            self._asked = None

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        """Hand a signal on: a handler may take no lock, which the interrupted code may hold; this queue has none."""
        self.came = True
        if self._asked is None or self._at_once:
            self._at_once = False
            raise KeyboardInterrupt
        self._asked.put("Python")

    @contextmanager
    def _served(self, stop: Callable[[], None], meanwhile: str) -> Iterator[SimpleQueue[str | None]]:
        asked: SimpleQueue[str | None] = SimpleQueue()
        server = threading.Thread(target=self._serve, args=(asked, stop, meanwhile), name="interruption", daemon=True)
        server.start()
        try:
            yield asked
        finally:
            asked.put(None)
            server.join()  # so that what it raises is raised before the block is left

    def _serve(self, asked: SimpleQueue[str | None], stop: Callable[[], None], meanwhile: str) -> None:
        """Stop at the first signal, end at the second: one Ctrl-C comes on both ways, so each way is counted alone."""
        ways: set[str] = set()
        while (way := asked.get()) is not None:
            self.came = True
            if way in ways:
                self._end_at_once()
                return
            if not ways:
                log.warning("asked to end: %s; a second signal ends the run at once", meanwhile)
                stop()
            ways.add(way)

    def _end_at_once(self) -> None:
        """Raise KeyboardInterrupt in the main thread, which waits for the JVM's answer.

        A signal that comes just before such a wait begins does not end it; so it is sent until it has been heard.
        """
        main = threading.main_thread().ident
        assert main is not None
        self._at_once = True
        while self._at_once:
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(_POLL_MS / 1000)


@contextmanager
def _jvm_signals(spark: SparkSession | None, heard: Callable[[], None]) -> Iterator[None]:
    """Call `heard`, from another thread, for each of the JVM's signals, which otherwise shut Spark down."""
    signals = None
    try:
        signals = _JvmSignals(spark)
    except Exception as failure:  # Spark Connect, a JVM that was told to leave signals alone, or another make of JVM
        log.warning("the JVM's signals cannot be taken over (%s): Ctrl-C ends Spark at once", type(failure).__name__)
    if signals is None:
        yield
        return
    over = threading.Event()
    listener = threading.Thread(target=signals.pass_on, args=(heard, over), name="jvm-signals", daemon=True)
    listener.start()
    try:
        yield
    finally:
        over.set()
        listener.join(_JVM_SECONDS)


class _JvmSignals:
    """The JVM's signals, taken over without a call back into Python, for which a port would have to be opened.

    The JVM's own java.beans.EventHandler makes of a semaphore a handler of signals; a thread of Python's waits for it.

    Args:
        spark: whose JVM it is.
    """

    def __init__(self, spark: Any) -> None:
        self._jvm = spark._jvm
        self._received = self._jvm.java.util.concurrent.Semaphore(0)
        self._milliseconds = self._jvm.java.util.concurrent.TimeUnit.MILLISECONDS
        interface = self._jvm.java.lang.Class.forName("sun.misc.SignalHandler")
        handler = self._jvm.java.beans.EventHandler.create(interface, self._received, "release")
        self._before = [(name, self._handle(name, handler)) for name in ("INT", "TERM")]

    def pass_on(self, heard: Callable[[], None], over: threading.Event) -> None:
        """Call `heard` for each signal until it is over; then give the signals back."""
        with suppress(Exception):  # the JVM has died: the work, which waits for it too, is told
            while not over.is_set():
                if self._received.tryAcquire(_POLL_MS, self._milliseconds):
                    heard()
            for name, handler in self._before:
                self._handle(name, handler)

    def _handle(self, name: str, handler: Any) -> Any:
        return self._jvm.sun.misc.Signal.handle(self._jvm.sun.misc.Signal(name), handler)
