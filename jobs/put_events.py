"""A batch's events to Amazon Personalize, through PutEvents: `spark-submit jobs/put_events.py --help`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyspark.sql import SparkSession

from delivery.http.service import Service
from jobs.errors import ConfigurationError, Exit, GateFailedError
from jobs.frame.arguments import JobParser, batch_label, in_flight, lake_root, port, rate, tracking_id
from jobs.frame.run import Run, run_job
from jobs.frame.terminal import find_terminal, stop_console_progress
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake
from jobs.ledger.ledger import Ledger
from jobs.ledger.plans import Kind, Plan
from jobs.locking.locks import Lock, held
from jobs.sending.attendance import Sent, Watch
from jobs.sending.endings import ending
from jobs.sending.progress import Display, Goal
from jobs.sending.send import Pace, part, send
from jobs.sending.service import resolve_service


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, checked.

    Attributes:
        lake: root folder or URI of the tables.
        batch: the batch's label.
        trackingId: of the event tracker that the events go to.
        region: None for the AWS default chain's.
        endpoint_url: None for the region's own.
        kind: which of the batch's events are sent.
        pace: how fast.
    """

    lake: str
    batch: str
    trackingId: str
    region: str | None
    endpoint_url: str | None
    kind: Kind
    pace: Pace


def parse(argv: Sequence[str]) -> Arguments:
    """Read the command line.

    Raises:
        ConfigurationError: it is not right.
    """
    parser = JobParser("put_events", description="A batch's events to Amazon Personalize.")
    add = parser.add_argument
    add("--lake", required=True, type=lake_root, metavar="ROOT", help="root of the tables")
    add("--batch", required=True, type=batch_label, metavar="LABEL", help="e.g. 2024-01-02")
    add("--tracking-id", required=True, type=tracking_id, metavar="ID", help="the event tracker's")
    add("--region", metavar="R", help="AWS region (the default chain's)")
    add("--endpoint-url", metavar="URL", help="another service than the region's, e.g. an emulator")
    add("--max-rate", type=rate, default="1000", metavar="N", help="calls a second, over all tasks (1000)")
    add("--max-in-flight", type=in_flight, default="256", metavar="N", help="calls at once, in each task (256)")
    add("--channel-port", type=port, default="0", metavar="N", help="where tasks reach the driver (any free port)")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--retry-dead-letters", action="store_true", help="send what was refused for good once more")
    again.add_argument("--resend", action="store_true", help="send all of the batch, also what was acknowledged")
    given = parser.parse_args(argv)
    return Arguments(
        lake=given.lake,
        batch=given.batch,
        trackingId=given.tracking_id,
        region=given.region,
        endpoint_url=given.endpoint_url,
        kind="dead-letters" if given.retry_dead_letters else "resend" if given.resend else "batch",
        pace=Pace(given.max_rate, given.max_in_flight, given.channel_port),
    )


def put(_spark: SparkSession, lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Check that one may send, fix the plan, send what is left of it, account for every event."""
    service = resolve_service(arguments.trackingId, arguments.region, arguments.endpoint_url)
    manifest = sendable(lake, arguments.batch)
    ledger = Ledger(lake, arguments.batch, service)
    run.counters.update(deliveryId=ledger.deliveryId, maxRate=arguments.pace.max_rate)
    with held(lake.files, lake.root, ledger.deliveryId, run.runId) as lock:
        plan = ledger.plan(arguments.kind, manifest, run.runId)
        before = after = ledger.count(plan)
        run.counters.update(account(plan, before, after))
        sent = None
        if run.counters["pending"]:
            sent = deliver(ledger, plan, Errand(service, arguments.pace, lock, run))
            after = ledger.count(plan)
            run.counters.update(account(plan, before, after))
        ledger.settle(manifest, run.runId)
        if not run.counters["pending"]:
            ledger.end(plan)
    return ending(sent, run.counters, interrupted=run.interruption.came)


@dataclass(frozen=True, slots=True)
class Errand:
    """What a delivery goes by, beside its plan.

    Attributes:
        service: where it goes.
        pace: how fast.
        lock: says that nobody else delivers the same.
        run: is told the counters, and asked to end.
    """

    service: Service
    pace: Pace
    lock: Lock
    run: Run


def deliver(ledger: Ledger, plan: Plan, errand: Errand) -> Sent:
    """Send what is left of a plan, keeping receipts, showing the progress, and ending when asked to."""
    run, requests = errand.run, ledger.remaining(plan)
    run.counters["requestsMinimum"] = plan.requests if plan.runId == run.runId else requests.count()
    goal = Goal(run.counters["events"], run.counters["events"] - run.counters["pending"], errand.pace.max_rate)
    terminal = find_terminal()
    if terminal is not None:
        stop_console_progress(requests.sparkSession)
    display = Display(goal, terminal)
    asked = threading.Event()
    watch = Watch(partial(ledger.write, plan, run.runId), errand.lock.check, display.show, asked)
    with run.interruption.gently(asked.set), closing(display):
        sent = send(part(requests, errand.pace.max_rate), errand.service, errand.pace, watch)
    run.counters.update(calls(sent))
    return sent


def sendable(lake: Lake, batch: str) -> Manifest:
    """Find a batch that may be sent.

    Raises:
        ConfigurationError: it was never built.
        GateFailedError: it did not pass its gate.
    """
    manifest = lake.manifests.newest(batch)
    if manifest is None:
        raise ConfigurationError(f"batch {batch}: the lake has no such batch: run build_events for it first")
    if manifest.gate == "failed":
        raise GateFailedError(
            f"batch {batch}: failed its gate (run {manifest.runId}): nothing is sent from it; "
            "mend what broke, build it again, then run this again"
        )
    return manifest


def account(plan: Plan, before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
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


def calls(sent: Sent) -> dict[str, Any]:
    """Name what was called as the summary does."""
    made = sent.progress.calls
    counts = {name: getattr(made, name) for name in ("requests", "attempts", "throttled", "retried")}
    return {**counts, "achievedRate": round(sent.rate, 1)}


def main(argv: Sequence[str]) -> int:
    """Run the job; see `--help`."""
    events = ("events", "alreadyDelivered", "delivered", "deadLettered", "pending")
    made = ("requests", "requestsMinimum", "attempts", "throttled", "retried", "maxRate", "achievedRate")
    return run_job(Run("put_events", {"deliveryId": None, **dict.fromkeys((*events, *made), 0)}), parse, put, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
