"""Cancels the Spark jobs of a run that must end, after some seconds, and no other jobs.

A job can wait for ever: for executors that the cluster does not give, or for a store that does not answer.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from pyspark import SparkContext

from jobs.errors import JobError

GRACE: Final = 10.0
"""Seconds that jobs have to finish."""
_GROUP_PROPERTY: Final = "spark.jobGroup.id"
_POLL_SECONDS: Final = 0.2


class JobGuard:
    """Cancels the jobs of one thread if the run must end and they do not end in time.

    Args:
        context: Spark's context.
        reason: says why the run must end; None as long as it may continue.
        grace: seconds that the jobs have from then on.
    """

    def __init__(self, context: SparkContext, reason: Callable[[], JobError | None], grace: float = GRACE) -> None:
        self._context = context
        self._reason = reason
        self._grace = grace
        self._group = f"guarded-{uuid.uuid4().hex}"
        self._is_over = threading.Event()
        self._ending_since: float | None = None
        self._is_paused = False
        self._cancelled_for: JobError | None = None

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Guard the jobs that this thread starts while the block runs.

        Raises:
            JobError: the reason, if jobs were cancelled for it.
        """
        thread = threading.Thread(target=self._watch, name="job-guard", daemon=True)
        self._context.setLocalProperty(_GROUP_PROPERTY, self._group)
        thread.start()
        try:
            yield
        except Exception as failure:
            self._stop_watching(thread)
            if self._cancelled_for is None or isinstance(failure, JobError):
                raise
            raise self._cancelled_for from None
        else:
            self._stop_watching(thread)
        finally:
            self._is_over.set()

    def _stop_watching(self, thread: threading.Thread) -> None:
        """Stop watching. Not to be called after KeyboardInterrupt, when this thread may still wait for the JVM."""
        self._is_over.set()
        thread.join()
        with suppress(Exception):  # the JVM may be gone
            self._context.setLocalProperty(_GROUP_PROPERTY, None)  # type: ignore[arg-type]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not guard the block, which ends by itself. Jobs after it have their full time."""
        self._is_paused = True
        try:
            yield
        finally:
            self._ending_since, self._is_paused = None, False

    def _watch(self) -> None:
        while not self._is_over.wait(_POLL_SECONDS):
            reason = None if self._is_paused else self._reason()
            if reason is None:
                continue
            now = time.monotonic()
            self._ending_since = now if self._ending_since is None else self._ending_since
            if now - self._ending_since > self._grace:
                self._cancelled_for = reason
                with suppress(Exception):  # the JVM may be gone: the job's own thread reports it
                    self._context.cancelJobGroup(self._group)
