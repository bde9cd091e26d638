"""The signals of the JVM that Spark runs in: left to itself, it shuts Spark down at the first one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

NAMES: Final = ("INT", "TERM", "HUP")
_POLL_MS: Final = 100


class JvmSignals:
    """The JVM's signals, taken over without a call back into Python, for which a port would have to be opened.

    The JVM's own java.beans.EventHandler makes of a semaphore a handler of signals; a thread of Python's waits for it.
    A signal that the JVM was started to ignore, as nohup does with HUP, stays ignored.

    Args:
        jvm: whose signals they are.
    """

    def __init__(self, jvm: Any) -> None:
        self._jvm = jvm
        self._received = self._jvm.java.util.concurrent.Semaphore(0)
        self._milliseconds = self._jvm.java.util.concurrent.TimeUnit.MILLISECONDS
        interface = self._jvm.java.lang.Class.forName("sun.misc.SignalHandler")
        handler = self._jvm.java.beans.EventHandler.create(interface, self._received, "release")
        self._before = [(name, self._handle(name, handler)) for name in NAMES]

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
