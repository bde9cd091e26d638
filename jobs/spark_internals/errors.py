"""Java's exceptions in Python: the classes to catch, and their messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException, SparkUpgradeException

JavaError = Py4JJavaError
"""The class for Java exceptions that pyspark has no own class for. pyspark has no public name for it."""
SPARK_ERRORS: Final = (PySparkException, Py4JJavaError)
"""All exceptions of a call into Spark."""
_LONGEST_CHAIN: Final = 20


def in_words(error: PySparkException | Py4JJavaError) -> str:
    """Reduce Spark's message to one line for the user, without class and state codes."""
    if isinstance(error, Py4JJavaError):
        return _split_lines(str(_find_root_cause(error.java_exception).getMessage()))[0]
    lines = _split_lines(str(error))
    # If the first line is only about an upgrade, the second line has the fault.
    words = lines[1] if isinstance(error, SparkUpgradeException) and len(lines) > 1 else lines[0]
    words = words.split("] ", 1)[1] if words.startswith("[") and "] " in words else words
    return words.split(" SQLSTATE: ")[0].rstrip(". ")


def java_messages(error: BaseException) -> Iterator[str]:
    """List the messages of the Java exception behind an error, and of its causes; none if there is no Java exception.

    pyspark's exceptions keep Java's in a private field, and their text has only the first message. The cause, e.g. a
    full disk, is further down.
    """
    throwable: Any = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    with suppress(Exception):  # the JVM may be gone
        for _ in range(_LONGEST_CHAIN):
            if throwable is None:
                return
            yield str(throwable.toString())
            throwable = throwable.getCause()


def _split_lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()] or ["Spark says no more"]


def _find_root_cause(throwable: Any) -> Any:
    while throwable.getCause() is not None:
        throwable = throwable.getCause()
    return throwable
