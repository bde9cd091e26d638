"""Delivers one batch: makes or resumes the plan, sends its unfinished requests, accounts for every event."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from pyspark.sql import DataFrame

from delivery.control.dispatcher import Dispatcher, ServiceHistory
from delivery.http.endpoint import TrackerEndpoint
from delivery.model import OutcomeRow
from delivery.rate.aimd import AimdRateController
from jobs.cli.deadline import Deadline
from jobs.cli.job_guard import JobGuard
from jobs.cli.run import Run
from jobs.cli.terminal import find_terminal
from jobs.deliver.delivery_config import DeliveryConfig, describe_rate
from jobs.deliver.delivery_monitor import DeliveryResult, MonitorHooks
from jobs.deliver.delivery_timeline import TimelineRecorder
from jobs.deliver.progress import ProgressDisplay, ProgressGoal
from jobs.deliver.spark_job import divide_requests, send
from jobs.errors import ConfigurationError, GateFailedError, JobError
from jobs.lake.manifests import Manifest
from jobs.lake.store_errors import unfinished_if_rebuilt
from jobs.lake.tables import Lake
from jobs.ledger.ledger import EVENT_COUNTERS, Account, Ledger, account_for_totals, check_counts
from jobs.ledger.plans import Kind
from jobs.locking.locks import Lock, hold_lock

log = logging.getLogger(__name__)

CALLS: Final = ("requests", "attempts", "throttled", "retried")
COUNTERS: Final = (
    *EVENT_COUNTERS,
    "requests",
    "requestsMinimum",
    "attempts",
    "throttled",
    "retried",
    "maxRate",
    "achievedRate",
)
"""The counters of a summary: events by status, calls, and rates."""


NOT_BEGUN: Final = "nothing was sent in this run; run it again"
UNDER_WAY: Final = (
    "calls were in flight, and some of their receipts may be missing; run it again, it resumes, and sends what has no "
    "receipt once more, with the same eventIds"
)
SENT: Final = "answered requests have receipts; run it again, it resumes, and sends the others"
"""What an interruption leaves behind: before, during and after the sending."""


@dataclass(frozen=True, slots=True)
class DeliveryRun:
    """What all deliveries of a run share.

    Attributes:
        lake: the lake of the batches.
        service: the tracker that the events go to.
        config: how they are sent.
        run: may be asked to end; its id is in the receipts.
        display: shows the progress.
        timeline: records the progress for the report.
        rate_controller: keeps what one delivery has learnt about the quota for the next one.
        deadline: when they stop.
    """

    lake: Lake
    service: TrackerEndpoint
    config: DeliveryConfig
    run: Run
    display: ProgressDisplay
    timeline: TimelineRecorder
    rate_controller: AimdRateController
    deadline: Deadline


@contextmanager
def start_deliveries(
    lake: Lake, service: TrackerEndpoint, config: DeliveryConfig, run: Run, deadline: Deadline
) -> Iterator[DeliveryRun]:
    """Prepare deliveries; show their progress, and record their timeline, while the block runs."""
    log.info("%s", describe_rate(config.max_rate))
    timeline = TimelineRecorder(config.max_rate)
    run.report.delivery_timeline = timeline.delivery_timeline
    with closing(ProgressDisplay(find_terminal())) as display:
        rate_controller = AimdRateController(config.max_rate)
        yield DeliveryRun(lake, service, config, run, display, timeline, rate_controller, deadline)


def find_sendable(lake: Lake, batch: str) -> Manifest:
    """Find the publication of a batch to send; log if a newer build has failed its gate.

    Raises:
        ConfigurationError: the batch was never built, or its events are missing.
        GateFailedError: no build of it has passed its gate.
    """
    found = lake.manifests.publications(batch)
    manifest = found.current
    if manifest is None:
        raise ConfigurationError(f"batch {batch}: the lake has no such batch: run build_events for it first")
    if manifest.gate == "failed":
        raise GateFailedError(
            f"batch {batch}: failed its gate (run {manifest.runId}): nothing is sent from it; "
            "correct the cause, build it again, then run this again"
        )
    lake.check_kept([manifest])
    if found.failed_since is not None:
        log.warning(
            "batch %s: its newest build (run %s) failed its gate, so the events of run %s are sent; "
            "%s/quality/batches/%s.html shows why it failed",
            *(batch, found.failed_since.runId, manifest.runId, lake.root, batch),
        )
    return manifest


def repeat_warnings(manifest: Manifest) -> None:
    """Log the gate's warnings on a batch before it is sent, because another person may have built it."""
    for warning in manifest.warnings:
        log.warning("batch %s: its gate warned: %s", manifest.batch, warning)


@dataclass(frozen=True, slots=True)
class DeliveryHooks:
    """The callbacks of a delivery. Each is called as soon as its news is known, because the next step may fail.

    Attributes:
        on_account: is called with changes of the batch's account.
        make_goal: is called before the sending, when the account is known; returns the goal to show.
        on_result: is called with the result of the sending.
    """

    on_account: Callable[[Account], None]
    make_goal: Callable[[], ProgressGoal]
    on_result: Callable[[DeliveryResult], None]


def deliver(delivery_run: DeliveryRun, manifest: Manifest, kind: Kind, hooks: DeliveryHooks) -> DeliveryResult | None:
    """Make the plan, or resume one; send its unfinished requests.

    Args:
        delivery_run: what deliveries share.
        manifest: the batch's.
        kind: which of its events are sent.
        hooks: the callbacks.

    Returns:
        The result of the sending; None if there was nothing to send.

    Raises:
        JobError: the delivery is impossible, or impossible now.
    """
    counted, on_account = delivery_run.run.report.begin_delivery(manifest), hooks.on_account

    def account_and_report(change: Account) -> None:
        counted.update(change)
        on_account(change)

    hooks = replace(hooks, on_account=account_and_report)
    ledger = Ledger(delivery_run.lake, manifest, delivery_run.service)
    known = ledger.find_totals() if kind == "batch" else None
    if known is not None:
        counts = account_for_totals(manifest, known)
        hooks.on_account(counts)
        check_counts(f"batch {manifest.batch}", counts)
        return None
    with hold_lock(delivery_run.lake.files, delivery_run.lake.root, ledger.tracker, delivery_run.run.runId) as lock:
        guard = JobGuard(delivery_run.lake.context, lambda: _reason_to_end(delivery_run, lock))
        with guard.guarding(), unfinished_if_rebuilt(delivery_run.lake.manifests, [manifest]):
            return _deliver_with_lock(delivery_run, manifest, kind, hooks, HeldResources(ledger, lock, guard))


@dataclass(frozen=True, slots=True)
class HeldResources:
    """What a delivery holds while it runs.

    Attributes:
        ledger: the batch's.
        lock: the lock on the tracker.
        guard: guards its Spark jobs.
    """

    ledger: Ledger
    lock: Lock
    guard: JobGuard


def _deliver_with_lock(
    delivery_run: DeliveryRun, manifest: Manifest, kind: Kind, hooks: DeliveryHooks, resources: HeldResources
) -> DeliveryResult | None:
    ledger, lock = resources.ledger, resources.lock
    run = delivery_run.run.runId
    planned = ledger.plan(kind, run, lock.ensure)
    plan, account = planned.plan, planned.account
    hooks.on_account(account)
    check_counts(f"batch {manifest.batch}", account, planned.totals.unplanned)
    result = None
    if planned.requests is not None:
        hooks.on_account({"requestsMinimum": plan.requests if plan.runId == run else planned.requests.count()})
        delivery_run.display.begin(hooks.make_goal())
        delivery_run.timeline.begin(manifest.batch)
        keep = partial(ledger.write, plan, run)
        service_history = ServiceHistory(account["alreadyDelivered"] > 0, delivery_run.config.accept_failures)
        dispatcher = Dispatcher(delivery_run.rate_controller, service_history=service_history)
        with resources.guard.paused():
            result = _send_requests(delivery_run, planned.requests, dispatcher, lock, keep)
        hooks.on_result(result)
        hooks.on_account(_account_for_receipts(account, result.events_by_status))
        if result.error is not None:
            raise result.error
        planned = ledger.recount(planned)
        hooks.on_account(planned.account)
    ledger.conclude(planned, run, lock.ensure)
    return result


def _reason_to_end(delivery_run: DeliveryRun, lock: Lock) -> JobError | None:
    """Explain why a delivery must end; None if it may continue."""
    try:
        lock.check()
    except JobError as lost:
        return lost
    return delivery_run.run.reason_to_end(delivery_run.deadline)


def _account_for_receipts(account: Account, events: Mapping[str, int]) -> Account:
    """Account for a delivery by its durable receipts. This is used if the ledger cannot be read afterwards.

    Examples:
        >>> account = {"events": 9, "alreadyDelivered": 2, "delivered": 0, "deadLettered": 1, "pending": 6}
        >>> _account_for_receipts(account, {"delivered": 3, "refused": 1})
        {'delivered': 3, 'deadLettered': 2, 'pending': 2}
    """
    delivered, refused = events.get("delivered", 0), events.get("refused", 0)
    return {
        "delivered": delivered,
        "deadLettered": account["deadLettered"] + refused,
        "pending": max(account["pending"] - delivered - refused, 0),
    }


def _send_requests(
    delivery_run: DeliveryRun,
    requests: DataFrame,
    dispatcher: Dispatcher,
    lock: Lock,
    keep: Callable[[list[OutcomeRow]], None],
) -> DeliveryResult:
    """Send requests, write receipts, show the progress, and end when asked."""
    end_requested = threading.Event()
    delivery_run.run.if_interrupted = UNDER_WAY
    timeline = delivery_run.timeline
    viewers = (timeline.show, delivery_run.display.show)
    hooks = MonitorHooks(keep, lock.check, end_requested, viewers, timeline.count_calls, timeline.keep)
    with delivery_run.run.interruption.gently(end_requested.set), delivery_run.deadline.gently(end_requested.set):
        parts = divide_requests(requests, delivery_run.config.max_rate)
        result = send(parts, delivery_run.service, delivery_run.config, dispatcher, hooks)
    delivery_run.run.if_interrupted = SENT
    return result


def calls(result: DeliveryResult) -> dict[str, Any]:
    """Give the counts of calls by the summary's names."""
    return {name: getattr(result.progress.calls, name) for name in CALLS}
