"""One batch to the service: the plan, what is left of it sent, every event accounted for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from pyspark.sql import DataFrame

from delivery.http.endpoint import TrackerEndpoint
from delivery.model import OutcomeRow
from delivery.rate.aimd import AimdRateController
from jobs.cli.deadline import Deadline
from jobs.cli.job_guard import JobGuard
from jobs.cli.run import Run
from jobs.cli.terminal import stop_console_progress
from jobs.deliver.delivery_monitor import DeliveryResult, MonitorHooks
from jobs.deliver.delivery_timeline import TimelineRecorder
from jobs.deliver.event_accounts import EVENTS, Account, account, check_counts, settled
from jobs.deliver.progress import ProgressDisplay, ProgressGoal
from jobs.deliver.spark_job import PacingState, part, send
from jobs.errors import ConfigurationError, GateFailedError, JobError
from jobs.lake.manifests import Manifest
from jobs.lake.store_errors import unfinished_if_rebuilt
from jobs.lake.tables import Lake
from jobs.ledger.ledger import Ledger
from jobs.ledger.plans import DeliveryTotals, Kind
from jobs.locking.locks import Lock, held

log = logging.getLogger(__name__)

CALLS: Final = ("requests", "attempts", "throttled", "retried")
COUNTERS: Final = (
    *EVENTS,
    "requests",
    "requestsMinimum",
    "attempts",
    "throttled",
    "retried",
    "maxRate",
    "achievedRate",
)
"""What a summary counts: events by what became of them, calls, and rates."""


NOT_BEGUN: Final = "nothing was sent in this run; run it again"
UNDER_WAY: Final = (
    "calls were in flight, and some of their receipts may be missing; run it again, it resumes, and sends what has no "
    "receipt once more, with the same eventIds"
)
SENT: Final = "answered requests have receipts; run it again, it resumes, and sends the others"
"""What an interruption leaves behind, before, in and after a sending."""


@dataclass(frozen=True, slots=True)
class DeliveryRun:
    """What deliveries go by.

    Attributes:
        lake: where the batches are.
        service: where they go.
        pace: how fast.
        run: asked to end, and whose receipts they are.
        display: shows how far they are.
        timeline: keeps how they went.
        target: of the rate; what one delivery has learnt of the quota, the next begins with.
        deadline: when they are to stop.
    """

    lake: Lake
    service: TrackerEndpoint
    pace: PacingState
    run: Run
    display: ProgressDisplay
    timeline: TimelineRecorder
    target: AimdRateController
    deadline: Deadline = field(default_factory=Deadline)


def sendable(lake: Lake, batch: str) -> Manifest:
    """Find the publication of a batch that may be sent; log where a build since has failed its gate.

    Raises:
        ConfigurationError: it was never built, or its events are gone.
        GateFailedError: it did not pass its gate.
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
    """Log what the gate found unusual in a batch, before it is sent: whoever built it may be somebody else."""
    for warning in manifest.warnings:
        log.warning("batch %s: its gate warned: %s", manifest.batch, warning)


@dataclass(frozen=True, slots=True)
class DeliveryHooks:
    """Who is told how a delivery goes, as soon as it is known: what comes next may fail.

    Attributes:
        account: is told what has changed in the batch's account.
        ready: called right before something is sent, when the account is known; returns what to show.
        sent: is told what came of the sending.
    """

    account: Callable[[Account], None]
    ready: Callable[[], ProgressGoal]
    sent: Callable[[DeliveryResult], None]


def deliver(delivery_run: DeliveryRun, manifest: Manifest, kind: Kind, hooks: DeliveryHooks) -> DeliveryResult | None:
    """Fix the plan, or take it up; send what is left of it.

    Args:
        delivery_run: what it goes by.
        manifest: the batch's.
        kind: which of its events.
        hooks: who is told.

    Returns:
        What came of the sending; None where nothing was to be sent.

    Raises:
        JobError: it cannot be done, or not now.
    """
    ledger = Ledger(delivery_run.lake, manifest.batch, delivery_run.service)
    known = ledger.balance(manifest) if kind == "batch" else None
    if known is not None:
        counts = settled(manifest, known)
        hooks.account(counts)
        check_counts(f"batch {manifest.batch}", counts)
        return None
    with held(delivery_run.lake.files, delivery_run.lake.root, ledger.tracker, delivery_run.run.runId) as lock:
        guard = JobGuard(delivery_run.lake.context, lambda: _reason_to_end(delivery_run, lock))
        with guard.guarding(), unfinished_if_rebuilt(delivery_run.lake.manifests, [manifest]):
            return _deliver(delivery_run, manifest, kind, hooks, HeldResources(ledger, lock, guard))


@dataclass(frozen=True, slots=True)
class HeldResources:
    """What a delivery holds while it is under way.

    Attributes:
        ledger: of the batch.
        lock: on the tracker.
        guard: of its Spark jobs.
    """

    ledger: Ledger
    lock: Lock
    guard: JobGuard


def _deliver(
    delivery_run: DeliveryRun, manifest: Manifest, kind: Kind, hooks: DeliveryHooks, held_here: HeldResources
) -> DeliveryResult | None:
    ledger, lock = held_here.ledger, held_here.lock
    plan, before = ledger.plan(kind, manifest, delivery_run.run.runId, lock.ensure)
    is_new, after = plan.runId == delivery_run.run.runId, before
    sums = account(manifest, plan, before, after)
    hooks.account(sums)
    check_counts(f"batch {manifest.batch}", sums, before.unplanned)
    sent = None
    if before.pending:
        requests = ledger.remaining(plan)
        hooks.account({"requestsMinimum": plan.requests if is_new else requests.count()})
        delivery_run.display.begin(hooks.ready())
        delivery_run.timeline.begin(manifest.batch)
        keep = partial(ledger.write, plan, delivery_run.run.runId)
        trust = replace(delivery_run.pace.trust, acknowledged=sums["alreadyDelivered"] > 0)
        with held_here.guard.paused():
            sent = _send(replace(delivery_run, pace=replace(delivery_run.pace, trust=trust)), requests, lock, keep)
        hooks.sent(sent)
        hooks.account(_as_kept(sums, sent.kept))
        if sent.error is not None:
            raise sent.error
        after = ledger.tally(plan)
        sums = account(manifest, plan, before, after)
        hooks.account(sums)
    ledger.settle(plan, sums["deadLettered"], manifest, delivery_run.run.runId, lock.ensure)
    check_counts(f"batch {manifest.batch}", sums, after.unplanned)
    if not after.pending:
        lock.ensure()
        ledger.end(plan, DeliveryTotals(sums["alreadyDelivered"] + sums["delivered"], sums["deadLettered"]))
    return sent


def _reason_to_end(delivery_run: DeliveryRun, lock: Lock) -> JobError | None:
    """Say why a delivery is not to go on."""
    try:
        lock.check()
    except JobError as lost:
        return lost
    return delivery_run.run.reason_to_end(delivery_run.deadline)


def _as_kept(sums: Account, kept: Mapping[str, int]) -> Account:
    """Account for a sending by what its run made durable: all that can be said where the ledger cannot be read.

    Examples:
        >>> sums = {"events": 9, "alreadyDelivered": 2, "delivered": 0, "deadLettered": 1, "pending": 6}
        >>> _as_kept(sums, {"delivered": 3, "refused": 1})
        {'delivered': 3, 'deadLettered': 2, 'pending': 2}
    """
    delivered, refused = kept.get("delivered", 0), kept.get("refused", 0)
    return {
        "delivered": delivered,
        "deadLettered": sums["deadLettered"] + refused,
        "pending": max(sums["pending"] - delivered - refused, 0),
    }


def _send(
    delivery_run: DeliveryRun, requests: DataFrame, lock: Lock, keep: Callable[[list[OutcomeRow]], None]
) -> DeliveryResult:
    """Send requests, keeping receipts, showing the progress, and ending when asked to."""
    asked = threading.Event()
    delivery_run.run.if_interrupted = UNDER_WAY
    if delivery_run.display.draws:
        stop_console_progress(requests.sparkSession)
    timeline = delivery_run.timeline
    shown = (timeline.show, delivery_run.display.show)
    watch = MonitorHooks(keep, lock.check, asked, shown, timeline.count_calls, timeline.keep)
    with delivery_run.run.interruption.gently(asked.set), delivery_run.deadline.gently(asked.set):
        sent = send(
            part(requests, delivery_run.pace.max_rate),
            delivery_run.service,
            delivery_run.pace,
            delivery_run.target,
            watch,
        )
    delivery_run.run.if_interrupted = SENT
    return sent


def calls(sent: DeliveryResult) -> dict[str, Any]:
    """Name what was called as the summary does."""
    return {name: getattr(sent.progress.calls, name) for name in CALLS}
