"""The driver's part of a delivery: watches the Spark job, writes receipts every second, ends the job when asked."""

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
"""Seconds that tasks have for their last report after a failure. Spark gives an ending task's Python worker 2."""
_IDLE_SECONDS: Final = 5.0
"""Seconds without a connected task after which the job of an ending delivery is cancelled: it may wait for executors
for ever. A finished task needs a moment to return its result to Spark."""
_END_SECONDS: Final = 30.0
"""Seconds after which the job is cancelled even if tasks are connected: their calls end within 5."""
_STORE_PATIENCE_SECONDS: Final = 60.0
"""Seconds after which a store that accepts no receipts ends the delivery."""

UnreportedRow = tuple[str, int, OutcomeRow]
"""An outcome that a task could not report: the attempt, the outcome's number in it, the outcome."""


class DeliveryJob(Protocol):
    """The Spark job of a delivery."""

    def run(self) -> list[UnreportedRow]:
        """Run the job to its end; return the outcomes that tasks could not report to the driver."""
        ...

    def cancel(self) -> None:
        """Let Spark cancel the job; may be called repeatedly."""
        ...


@dataclass(frozen=True, slots=True)
class MonitorHooks:
    """The callbacks of a delivery. A viewer that fails does not end the delivery.

    Attributes:
        keep: makes receipts durable; raises OSError if it cannot.
        check: raises JobError if the delivery must end.
        end_requested: set if the delivery must end.
        show: viewers of the progress.
        on_calls: is called with the number of calls that began, by slot of time.
        on_receipts: is called with receipts that have become durable.
    """

    keep: Callable[[list[OutcomeRow]], None]
    check: Callable[[], None]
    end_requested: threading.Event
    show: tuple[Callable[[DeliveryProgress], None], ...] = ()
    on_calls: Callable[[Mapping[int, int]], None] = lambda _: None
    on_receipts: Callable[[list[OutcomeRow]], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """The result of a delivery.

    Attributes:
        progress: the progress at its end.
        ending: the answer that ended it early; None if no answer did.
        failure: the error of the Spark job; None if the job finished.
        full: its full seconds, and the calls that began in them.
        events_by_status: events with a durable receipt of this delivery, by status.
        error: why the driver ended it early, e.g. a lost lock; None if it did not.
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
        dispatcher: the delivery's.
        server: passes the tasks' messages to the dispatcher.
        hooks: the callbacks.
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
        """Watch the job to its end, and keep all outcomes that it reports."""
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
        """Follow the delivery until its job has ended; return the error that ended it, if there was one.

        After an error the calls in flight end first, and their receipts are kept.
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
                with suppress(Exception):  # the JVM may be gone: the job's own thread reports it
                    job.cancel()
        return error

    def _is_stuck(self, progress: DeliveryProgress) -> bool:
        """Whether a delivery that must end does not end by itself."""
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
        self._hooks.check()  # last, so that receipts are kept also if the delivery must end

    def _write_receipts(self) -> None:
        """Make the new receipts durable.

        Raises:
            UnfinishedError: the store has accepted none for too long.
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
        """After a failure, wait for the last reports of tasks that Spark has not ended yet."""
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
    """Run the Spark job in a daemon thread, which does not delay the end of the process, as a thread pool would."""
    work: Future[list[UnreportedRow]] = Future()

    def run() -> None:
        try:
            work.set_result(job())
        except BaseException as error:
            work.set_exception(error)

    threading.Thread(target=run, name="spark-job", daemon=True).start()
    return work
