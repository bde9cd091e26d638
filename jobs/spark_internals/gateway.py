"""The connection to Spark's JVM, and the signals of that JVM, which by default shut Spark down.

This module imports only the standard library and py4j, because a job listens for signals before it imports pyspark,
which takes seconds. pyspark offers neither a connection without its own import, nor the JVM's signals.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from py4j.clientserver import ClientServer, JavaParameters, PythonParameters
from py4j.java_gateway import GatewayParameters, JavaGateway

NAMES: Final = ("INT", "TERM", "HUP")
_POLL_MS: Final = 100
_PORT_VARIABLE: Final = "PYSPARK_GATEWAY_PORT"
_SECRET_VARIABLE: Final = "PYSPARK_GATEWAY_SECRET"  # noqa: S105 - the name of a variable


def is_launched_by_jvm() -> bool:
    """Whether a JVM started this process, as spark-submit does."""
    return _PORT_VARIABLE in os.environ


def connect_to_launcher() -> Any:
    """Connect to the JVM of spark-submit, as pyspark does. The JVM accepts any number of connections."""
    port, secret = int(os.environ[_PORT_VARIABLE]), os.environ[_SECRET_VARIABLE]
    if os.environ.get("PYSPARK_PIN_THREAD", "true").lower() == "true":
        java = JavaParameters(port=port, auth_token=secret, auto_convert=True)
        return ClientServer(java_parameters=java, python_parameters=PythonParameters(port=0, eager_load=False)).jvm
    return JavaGateway(gateway_parameters=GatewayParameters(port=port, auth_token=secret, auto_convert=True)).jvm


def silence_gateway() -> None:
    """Stop the log of connections that end.

    A connection logs its end after its thread has ended, and Python 3.13 then writes a stack trace at exit.
    """
    logging.getLogger("py4j").setLevel(logging.CRITICAL)


def is_gateway_log(record: logging.LogRecord) -> bool:
    """Whether a log line is from the connection itself, which logs stack traces of interruptions.

    Its loggers set their own levels, so a level set on them would be overwritten.
    """
    return "py4j" in record.pathname


class JvmSignals:
    """Takes over the JVM's signals without a callback into Python, which would need an open port.

    java.beans.EventHandler turns a semaphore into a signal handler, and a Python thread waits for the semaphore. A
    signal that the JVM was started to ignore, as nohup does with HUP, stays ignored.

    Args:
        jvm: the JVM.
    """

    def __init__(self, jvm: Any) -> None:
        self._jvm = jvm
        self._received = self._jvm.java.util.concurrent.Semaphore(0)
        self._milliseconds = self._jvm.java.util.concurrent.TimeUnit.MILLISECONDS
        interface = self._jvm.java.lang.Class.forName("sun.misc.SignalHandler")
        handler = self._jvm.java.beans.EventHandler.create(interface, self._received, "release")
        self._earlier_handlers = [(name, self._set_handler(name, handler)) for name in NAMES]

    def pass_on(self, on_signal: Callable[[], None], over: threading.Event) -> None:
        """Call `on_signal` for each signal until `over` is set; then restore the earlier handlers."""
        with suppress(Exception):  # the JVM has died: the work, which waits for it too, gets the error
            while not over.is_set():
                if self._received.tryAcquire(_POLL_MS, self._milliseconds):
                    on_signal()
            for name, handler in self._earlier_handlers:
                self._set_handler(name, handler)

    def _set_handler(self, name: str, handler: Any) -> Any:
        return self._jvm.sun.misc.Signal.handle(self._jvm.sun.misc.Signal(name), handler)
