"""The driver's part of a delivery: it watches the Spark job, keeps receipts every second, ends it when asked to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Final

from delivery.channel.dispatcher import Dispatcher, Progress
from delivery.channel.server import Server
from delivery.records import Answer, Row
from jobs.errors import JobError, UnfinishedError
from jobs.sending.call_rate import CallRate, FullSeconds

log = logging.getLogger(__name__)

_EVERY: Final = 1.0
"""Seconds between two files of receipts."""
_LOOK: Final = 0.1
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
        begun: is told how many calls began in which slot of time.
    """

    keep: Callable[[list[Row]], None]
    check: Callable[[], None]
    show: Callable[[Progress], None]
    asked: threading.Event
    begun: Callable[[Mapping[int, int]], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of a sending.

    Attributes:
        progress: at its end.
        ending: the answer that ended it before its end; None where none did.
        failure: what ended the Spark job; None where it came to its end.
        full: the full seconds of it, and the calls that began in them.
    """

    progress: Progress
    ending: Answer | None
    failure: Exception | None
    full: FullSeconds


class Attendance:
    """The driver's part while the Spark job runs in a thread of its own.

    Args:
        dispatcher: of the delivery.
        server: brings it the tasks' messages.
        watch: who is told.
    """

    def __init__(self, dispatcher: Dispatcher, server: Server, watch: Watch) -> None:
        self._dispatcher = dispatcher
        self._server = server
        self._watch = watch
        self._kept_at = self._failing_since = time.monotonic()
        self._rate = CallRate()

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
        self._hear_of_calls()
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
        try:
            if rows:
                self._watch.keep(rows)
            self._server.call(self._dispatcher.kept)
            self._failing_since = now
        except OSError as error:
            self._server.call(partial(self._dispatcher.give_back, rows))
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
        self._hear_of_calls()
        return Sent(progress, self._dispatcher.ending, failure, self._rate.full_seconds())

    def _hear_of_calls(self) -> None:
        begun = self._server.call(self._dispatcher.take_begun)
        self._rate.add(begun)
        self._watch.begun(begun)


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
