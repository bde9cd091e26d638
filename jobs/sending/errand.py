"""One batch to the service: the plan, what is left of it sent, every event accounted for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from pyspark.sql import DataFrame

from delivery.budget.target import Target
from delivery.http.service import Service
from delivery.records import Row
from jobs.errors import ConfigurationError, GateFailedError
from jobs.frame.deadline import Deadline
from jobs.frame.run import Run
from jobs.frame.terminal import stop_console_progress
from jobs.lake.manifests import Manifest, Manifests
from jobs.lake.tables import Lake
from jobs.ledger.ledger import Ledger
from jobs.ledger.plans import Balance, Kind, Plan
from jobs.locking.locks import Lock, held
from jobs.sending.attendance import Sent, Watch
from jobs.sending.progress import Display, Goal
from jobs.sending.send import Pace, part, send
from jobs.sending.timeline import Timeline

Account = dict[str, int]
"""A batch's events by what became of them, as the summary names it; and requestsMinimum."""
EVENTS: Final = ("events", "alreadyDelivered", "delivered", "deadLettered", "pending")
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


@dataclass(frozen=True, slots=True)
class Errand:
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
    service: Service
    pace: Pace
    run: Run
    display: Display
    timeline: Timeline
    target: Target
    deadline: Deadline = field(default_factory=Deadline)


def sendable(manifests: Manifests, batch: str) -> Manifest:
    """Find a batch that may be sent.

    Raises:
        ConfigurationError: it was never built.
        GateFailedError: it did not pass its gate.
    """
    manifest = manifests.newest(batch)
    if manifest is None:
        raise ConfigurationError(f"batch {batch}: the lake has no such batch: run build_events for it first")
    if manifest.gate == "failed":
        raise GateFailedError(
            f"batch {batch}: failed its gate (run {manifest.runId}): nothing is sent from it; "
            "mend what broke, build it again, then run this again"
        )
    return manifest


def deliver(
    errand: Errand,
    manifest: Manifest,
    kind: Kind,
    tell: Callable[[Account], None],
    ready: Callable[[], Goal],
) -> Sent | None:
    """Fix the plan, or take it up; send what is left of it.

    Args:
        errand: what it goes by.
        manifest: the batch's.
        kind: which of its events.
        tell: is told of the account what has changed.
        ready: called right before something is sent, when the account is known; returns what to show.

    Returns:
        What came of the sending; None where nothing was to be sent.

    Raises:
        JobError: it cannot be done, or not now.
    """
    ledger = Ledger(errand.lake, manifest.batch, errand.service)
    known = ledger.balance(manifest) if kind == "batch" else None
    if known is not None:
        tell(settled(known))
        return None
    with held(errand.lake.files, errand.lake.root, ledger.deliveryId, errand.run.runId) as lock:
        plan = ledger.plan(kind, manifest, errand.run.runId)
        before = after = ledger.count(plan)
        sums = account(plan, before, after)
        tell(sums)
        sent = None
        if sums["pending"]:
            requests = ledger.remaining(plan)
            tell({"requestsMinimum": plan.requests if plan.runId == errand.run.runId else requests.count()})
            errand.display.begin(ready())
            errand.timeline.begin(manifest.batch)
            keep = partial(ledger.write, plan, errand.run.runId)
            trust = replace(errand.pace.trust, acknowledged=sums["alreadyDelivered"] > 0)
            sent = _send(replace(errand, pace=replace(errand.pace, trust=trust)), requests, lock, keep)
            after = ledger.count(plan)
            sums = account(plan, before, after)
            tell(sums)
        ledger.settle(manifest, errand.run.runId)
        if not sums["pending"]:
            ledger.end(plan, Balance(sums["alreadyDelivered"] + sums["delivered"], sums["deadLettered"]))
    return sent


def _send(errand: Errand, requests: DataFrame, lock: Lock, keep: Callable[[list[Row]], None]) -> Sent:
    """Send requests, keeping receipts, showing the progress, and ending when asked to."""
    asked = threading.Event()
    if errand.display.draws:
        stop_console_progress(requests.sparkSession)
    timeline = errand.timeline
    watch = Watch(timeline.counting(keep), lock.check, timeline.beside(errand.display.show), asked)
    with errand.run.interruption.gently(asked.set), errand.deadline.gently(asked.set):
        sent = send(part(requests, errand.pace.max_rate), errand.service, errand.pace, errand.target, watch)
    timeline.show(sent.progress)
    return sent


def account(plan: Plan, before: dict[str, int], after: dict[str, int]) -> Account:
    """Account for every event of the batch, from the plan and the receipts.

    Args:
        plan: the delivery's.
        before: events of the plan that had ended when the run began, by status.
        after: that have ended now.

    Examples:
        >>> from jobs.ledger.plans import Span
        >>> plan = Plan("b", "batch", "run-1", "run-2", 10, 1, delivered=5, refused=1, span=Span(None, None))
        >>> account(plan, {"delivered": 4}, {"delivered": 7, "refused": 1})
        {'events': 16, 'alreadyDelivered': 9, 'delivered': 3, 'deadLettered': 2, 'pending': 2}
    """
    earlier, now, refused = before.get("delivered", 0), after.get("delivered", 0), after.get("refused", 0)
    return {
        "events": plan.delivered + plan.refused + plan.events,
        "alreadyDelivered": plan.delivered + earlier,
        "delivered": now - earlier,
        "deadLettered": plan.refused + refused,
        "pending": plan.events - now - refused,
    }


def settled(balance: Balance) -> Account:
    """Account for a batch of which nothing is left to send."""
    events = balance.delivered + balance.refused
    done = {"alreadyDelivered": balance.delivered, "delivered": 0, "deadLettered": balance.refused, "pending": 0}
    return {"events": events, **done}


def calls(sent: Sent) -> dict[str, Any]:
    """Name what was called as the summary does."""
    return {name: getattr(sent.progress.calls, name) for name in CALLS}
