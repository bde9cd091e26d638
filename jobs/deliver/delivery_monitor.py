"""The driver's part of a delivery: it watches the Spark job, keeps receipts every second, ends it when asked to."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from delivery.control.dispatcher import DeliveryProgress, Dispatcher
from delivery.control.server import ControlServer
from delivery.model import OutcomeRow, Response
from jobs.deliver.achieved_rate import CallRate, FullSeconds
from jobs.errors import UnfinishedError

T = TypeVar("T")

log = logging.getLogger(__name__)

_RECEIPT_SECONDS: Final = 1.0
"""Seconds between two files of receipts."""
_POLL_SECONDS: Final = 0.1
_FINAL_REPORT_SECONDS: Final = 3.0
"""Seconds; Spark gives the Python worker of a task that it ends 2."""
_IDLE_SECONDS: Final = 5.0
"""Seconds without a task that tells anything after which a delivery that is to end has its job cancelled: it may wait
for executors for ever. A task that is through needs a moment to bring Spark its result."""
_END_SECONDS: Final = 30.0
"""Seconds after which it is cancelled though tasks tell something: their calls end within 5."""
_STORE_PATIENCE_SECONDS: Final = 60.0
"""Seconds after which a store that takes no receipts ends the delivery."""

UnreportedRow = tuple[str, int, OutcomeRow]
"""An outcome that a task could not tell: the attempt, its number there, the outcome."""


class DeliveryJob(Protocol):
    """The Spark job of a sending."""

    def run(self) -> list[UnreportedRow]:
        """Run it to its end; give what the tasks could not tell the driver."""
        ...

    def cancel(self) -> None:
        """Have Spark end it; may be called again and again."""
        ...


@dataclass(frozen=True, slots=True)
class MonitorHooks:
    """Who has a say while a delivery is under way, and who looks on. A viewer that fails ends nothing.

    Attributes:
        keep: makes receipts durable; raises OSError where it cannot.
        check: raises JobError where one is not to go on.
        end_requested: whether the delivery is to end.
        show: viewers of the progress.
        on_calls: is told how many calls began in which slot of time.
        on_receipts: is told of receipts that are durable now.
    """

    keep: Callable[[list[OutcomeRow]], None]
    check: Callable[[], None]
    end_requested: threading.Event
    show: tuple[Callable[[DeliveryProgress], None], ...] = ()
    on_calls: Callable[[Mapping[int, int]], None] = lambda _: None
    on_receipts: Callable[[list[OutcomeRow]], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What came of a sending.

    Attributes:
        progress: at its end.
        ending: the answer that ended it before its end; None where none did.
        failure: what ended the Spark job; None where it came to its end.
        full: the full seconds of it, and the calls that began in them.
        events_by_status: events with a durable receipt of this sending, by its status.
        error: why the driver ended it before its end, e.g. a lock that was lost; None where it did not.
    """

    progress: DeliveryProgress
    ending: Response | None
    failure: Exception | None
    full: FullSeconds
    events_by_status: Mapping[str, int] = field(default_factory=dict)
    error: Exception | None = None


class DeliveryMonitor:
    """The driver's part while the Spark job runs in a thread of its own.

    Args:
        dispatcher: of the delivery.
        server: brings it the tasks' messages.
        hooks: who is told.
    """

    def __init__(self, dispatcher: Dispatcher, server: ControlServer, hooks: MonitorHooks) -> None:
        self._dispatcher = dispatcher
        self._server = server
        self._hooks = hooks
        self._failed_viewers: list[Callable[[Any], None]] = []
        self._events_by_status: Counter[str] = Counter()
        self._last_write = self._failing_since = time.monotonic()
        self._ending_since: float | None = None
        self._busy_at = 0.0
        self._rate = CallRate()

    def watch(self, job: DeliveryJob) -> DeliveryResult:
        """Watch the job to its end, and keep all that it tells."""
        work = _run_in_thread(job.run)
        error = self._watch_job(work, job)
        failure = work.exception()
        if failure is None:
            for attempt, number, row in work.result():
                self._server.call(partial(self._dispatcher.accept, attempt, number, row))
        else:
            self._wait_for_tasks()
        self._server.call(self._dispatcher.conclude)
        try:
            self._write_remaining_receipts()
        except Exception as lost:
            error = error or lost
        return self._build_result(failure, error)

    def _watch_job(self, work: Future[list[UnreportedRow]], job: DeliveryJob) -> Exception | None:
        """Look after the delivery until its job has ended; say what it ended for, if it was ended.

        Whatever goes wrong here, calls are under way: they end first, and their receipts are kept.
        """
        error: Exception | None = None
        while wait([work], timeout=_POLL_SECONDS).not_done:
            progress = self._server.call(self._dispatcher.progress)
            try:
                self._follow_progress(progress)
            except Exception as lost:
                error = error or lost
            if error is not None or self._hooks.end_requested.is_set():
                self._server.stop()
            if self._dispatcher.stopped and self._is_stuck(progress):
                with suppress(Exception):  # the JVM may be gone: the job's own thread is told
                    job.cancel()
        return error

    def _is_stuck(self, progress: DeliveryProgress) -> bool:
        """Whether a delivery that is to end does not do so by itself."""
        now = time.monotonic()
        if self._ending_since is None:
            self._ending_since = self._busy_at = now
        if progress.tasks:
            self._busy_at = now
        return now - self._busy_at > _IDLE_SECONDS or now - self._ending_since > _END_SECONDS

    def _follow_progress(self, progress: DeliveryProgress) -> None:
        self._take_calls()
        self._show_progress(progress)
        if time.monotonic() - self._last_write >= _RECEIPT_SECONDS:
            self._last_write = time.monotonic()
            self._write_receipts()
        self._hooks.check()  # last: also of a sending that is to end receipts are kept

    def _write_receipts(self) -> None:
        """Make durable what came.

        Raises:
            UnfinishedError: the store has taken none for long.
        """
        now = time.monotonic()
        rows = self._server.call(self._dispatcher.take)
        try:
            if rows:
                self._hooks.keep(rows)
        except OSError as error:
            self._server.call(partial(self._dispatcher.give_back, rows))
            log.warning("receipts could not be written: %s", error)
            if now - self._failing_since > _STORE_PATIENCE_SECONDS:
                raise UnfinishedError(f"receipts cannot be written ({error}): run this again, it resumes") from None
        else:
            self._server.call(self._dispatcher.confirm_durable)
            self._failing_since = now
            for row in rows:
                self._events_by_status[row["status"]] += len(row["eventIds"])
            self._inform_viewer(self._hooks.on_receipts, rows)

    def _write_remaining_receipts(self) -> None:
        self._write_receipts()
        while self._server.call(self._dispatcher.has_rows):
            time.sleep(_RECEIPT_SECONDS)
            self._write_receipts()

    def _wait_for_tasks(self) -> None:
        """After a failure, let tasks that Spark has not ended yet tell what they did."""
        self._server.stop()
        until = time.monotonic() + _FINAL_REPORT_SECONDS
        while self._server.call(self._dispatcher.progress).tasks and time.monotonic() < until:
            time.sleep(_POLL_SECONDS)

    def _build_result(self, failure: BaseException | None, error: Exception | None) -> DeliveryResult:
        if failure is not None and not isinstance(failure, Exception):
            raise failure
        progress = self._server.call(self._dispatcher.progress)
        self._take_calls()
        self._show_progress(progress)
        ending, full = self._dispatcher.ending, self._rate.full_seconds()
        return DeliveryResult(progress, ending, failure, full, dict(self._events_by_status), error)

    def _take_calls(self) -> None:
        begun = self._server.call(self._dispatcher.take_call_starts)
        self._rate.add(begun)
        self._inform_viewer(self._hooks.on_calls, begun)

    def _show_progress(self, progress: DeliveryProgress) -> None:
        for viewer in self._hooks.show:
            self._inform_viewer(viewer, progress)

    def _inform_viewer(self, viewer: Callable[[T], None], news: T) -> None:
        if viewer in self._failed_viewers:
            return
        try:
            viewer(news)
        except Exception as failure:
            self._failed_viewers.append(viewer)
            log.warning("the delivery continues, but its progress is not shown completely: %s", type(failure).__name__)


def _run_in_thread(job: Callable[[], list[UnreportedRow]]) -> Future[list[UnreportedRow]]:
    """Run the Spark job in a thread that does not hold up the end of the process: an executor's pool would."""
    work: Future[list[UnreportedRow]] = Future()

    def run() -> None:
        try:
            work.set_result(job())
        except BaseException as error:
            work.set_exception(error)

    threading.Thread(target=run, name="spark-job", daemon=True).start()
    return work
