"""The driver's part of a delivery: it watches the Spark job, keeps receipts every second, ends it when asked to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Final

from delivery.channel.dispatcher import Dispatcher, Progress
from delivery.channel.server import Server
from delivery.records import Answer, Row
from jobs.errors import JobError, UnfinishedError

log = logging.getLogger(__name__)

_EVERY: Final = 1.0
"""Seconds between two files of receipts."""
_LOOK: Final = 0.1
_MICROSECONDS: Final = 1_000_000
_LAST_WORDS: Final = 3.0
"""Seconds; Spark gives the Python worker of a task that it ends 2."""
_GIVE_UP: Final = 60.0
"""Seconds after which a store that takes no receipts ends the delivery."""

Left = tuple[str, int, Row]
"""An outcome that a task could not tell: the attempt, its number there, the outcome."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told while a delivery is under way.

    Attributes:
        keep: makes receipts durable; raises OSError where it cannot.
        check: raises JobError where one is not to go on.
        show: shows the progress.
        asked: whether the delivery is to end.
    """

    keep: Callable[[list[Row]], None]
    check: Callable[[], None]
    show: Callable[[Progress], None]
    asked: threading.Event


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a sending.

    Attributes:
        progress: at its end.
        ending: the answer that ended it before its end; None where none did.
        failure: what ended the Spark job; None where it came to its end.
        seconds: that the calls took up, by `taken`.
    """

    progress: Progress
    ending: Answer | None
    failure: Exception | None
    seconds: float

    @property
    def rate(self) -> float:
        """Calls a second, retries included."""
        return self.progress.calls.attempts / self.seconds if self.seconds else 0.0


class Attendance:
    """The driver's part while the Spark job runs in a thread of its own.

    Args:
        dispatcher: of the delivery.
        server: brings it the tasks' messages.
        watch: who is told.
        interval: seconds that the limit gives a call.
    """

    def __init__(self, dispatcher: Dispatcher, server: Server, watch: Watch, interval: float) -> None:
        self._dispatcher = dispatcher
        self._server = server
        self._watch = watch
        self._kept_at = self._failing_since = time.monotonic()
        self._interval = interval
        self._attempts = 0
        self._heard: list[float] = []
        """When calls were heard of, first and last, by the driver's clock."""
        self._begun: list[float] = []
        """When calls that have outcomes began, first and last, by the tasks' clocks."""

    def through(self, job: Callable[[], list[Left]]) -> Sent:
        """Watch the job to its end, and keep all that it tells."""
        work = _beside(job)
        error = self._attend(work)
        failure = work.exception()
        if failure is None:
            for attempt, number, row in work.result():
                self._server.call(partial(self._dispatcher.accept, attempt, number, row))
        else:
            self._wait_for_tasks()
        self._server.call(self._dispatcher.conclude)
        self._keep_rest()
        if error is not None:
            raise error
        return self._sent(failure)

    def _attend(self, work: Future[list[Left]]) -> JobError | None:
        """Look after the delivery until its job has ended; say what it ended for, if it was ended."""
        error = None
        while wait([work], timeout=_LOOK).not_done:
            try:
                self._look()
            except JobError as lost:
                error = error or lost
            if error is not None or self._watch.asked.is_set():
                self._server.stop()
        return error

    def _look(self) -> None:
        progress = self._server.call(self._dispatcher.progress)
        if progress.calls.attempts > self._attempts:
            self._attempts = progress.calls.attempts
            self._heard = _ends([*self._heard, time.monotonic()])
        self._watch.show(progress)
        self._watch.check()
        if time.monotonic() - self._kept_at >= _EVERY:
            self._kept_at = time.monotonic()
            self._keep()

    def _keep(self) -> None:
        """Make durable what came.

        Raises:
            UnfinishedError: the store has taken none for long.
        """
        now = time.monotonic()
        rows = self._server.call(self._dispatcher.take)
        self._begun = _ends([*self._begun, *(row["startedAt"] / _MICROSECONDS for row in rows)])
        try:
            if rows:
                self._watch.keep(rows)
            self._failing_since = now
        except OSError as error:
            self._server.call(partial(self._dispatcher.give_back, rows, self._failing_since))
            log.warning("receipts could not be written: %s", error)
            if now - self._failing_since > _GIVE_UP:
                raise UnfinishedError(f"receipts cannot be written ({error}): run this again, it resumes") from None

    def _keep_rest(self) -> None:
        self._keep()
        while self._server.call(self._dispatcher.has_rows):
            time.sleep(_EVERY)
            self._keep()

    def _wait_for_tasks(self) -> None:
        """After a failure, let tasks that Spark has not ended yet tell what they did."""
        self._server.stop()
        until = time.monotonic() + _LAST_WORDS
        while self._server.call(self._dispatcher.progress).tasks and time.monotonic() < until:
            time.sleep(_LOOK)

    def _sent(self, failure: BaseException | None) -> Sent:
        if failure is not None and not isinstance(failure, Exception):
            raise failure
        progress = self._server.call(self._dispatcher.progress)
        seconds = taken(progress.calls.attempts, self._interval, _span(self._heard), _span(self._begun))
        return Sent(progress, self._dispatcher.ending, failure, seconds)


def taken(calls: int, interval: float, *spans: float) -> float:
    """Say how many seconds calls took up: from the begin of the first to that of the last, and the last one's interval.

    The tasks tell of their calls late, and of a request's last call alone when it began: of what is seen, the longest
    counts. Nothing holds the rate that follows to the limit: were that passed, it would be seen here.

    Args:
        calls: how many, retries included.
        interval: seconds that the limit gives each.
        spans: seconds from the first begin to the last, as seen.

    Examples:
        >>> taken(11, 0.1, 0.3, 1.9), taken(11, 0.1, 0.3, 0.4), taken(0, 0.1, 0.0)
        (2.0, 0.5, 0.0)
    """
    return max(spans) + interval if calls else 0.0


def _ends(moments: list[float]) -> list[float]:
    """Keep the first and the last."""
    return [min(moments), max(moments)] if moments else []


def _span(ends: list[float]) -> float:
    return ends[-1] - ends[0] if ends else 0.0


def _beside(job: Callable[[], list[Left]]) -> Future[list[Left]]:
    """Run the Spark job in a thread that does not hold up the end of the process: an executor's pool would."""
    work: Future[list[Left]] = Future()

    def run() -> None:
        try:
            work.set_result(job())
        except BaseException as error:
            work.set_exception(error)

    threading.Thread(target=run, name="spark-job", daemon=True).start()
    return work
