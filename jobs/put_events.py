"""A batch's events to Amazon Personalize, through PutEvents: `spark-submit jobs/put_events.py --help`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import DataFrame, SparkSession

from delivery.answers import Meaning, meaning
from delivery.arrow import TaskDelivery
from delivery.records import Answer
from jobs.arguments import JobParser, batch_label, rate, tracking_id
from jobs.errors import ConfigurationError, Exit, GateFailedError, UnfinishedError
from jobs.lake import Lake, Manifest
from jobs.ledger import OUTCOMES, Calls, Ledger, count_calls
from jobs.run import Run, run_job
from jobs.service import resolve_service
from transforms.packing import measure, pack_requests
from transforms.schemas import EVENTS


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, checked.

    Attributes:
        lake: root folder or URI of the tables.
        batch: the batch's label.
        trackingId: of the event tracker that the events go to.
        region: None for the AWS default chain's.
        endpoint_url: None for the region's own.
        max_rate: calls a second, over all tasks.
    """

    lake: str
    batch: str
    trackingId: str
    region: str | None
    endpoint_url: str | None
    max_rate: float


def parse(argv: Sequence[str]) -> Arguments:
    """Read the command line.

    Raises:
        ConfigurationError: it is not right.
    """
    parser = JobParser("put_events", description="A batch's events to Amazon Personalize.")
    parser.add_argument("--lake", required=True, metavar="ROOT", help="root folder or URI of the tables")
    parser.add_argument("--batch", required=True, type=batch_label, metavar="LABEL", help="e.g. 2024-01-02")
    parser.add_argument("--tracking-id", required=True, type=tracking_id, metavar="ID", help="the event tracker's")
    parser.add_argument("--region", metavar="R", help="AWS region (the default chain's)")
    parser.add_argument("--endpoint-url", metavar="URL", help="another service than the region's, e.g. an emulator")
    parser.add_argument(
        "--max-rate", type=rate, default="1000", metavar="N", help="calls a second, over all tasks (1000)"
    )
    given = parser.parse_args(argv)
    return Arguments(
        lake=given.lake,
        batch=given.batch,
        trackingId=given.tracking_id,
        region=given.region,
        endpoint_url=given.endpoint_url,
        max_rate=given.max_rate,
    )


def put(spark: SparkSession, lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Check that one may send, then deliver the batch: pack, send, keep receipts, account for every event."""
    service = resolve_service(arguments.trackingId, arguments.region, arguments.endpoint_url)
    manifest = sendable(lake, arguments.batch)
    ledger = Ledger(lake, arguments.batch, arguments.trackingId)
    run.counters.update(deliveryId=ledger.deliveryId, maxRate=arguments.max_rate)
    events = lake.published_events(manifest, EVENTS)
    already = ledger.count(events)
    waiting = ledger.waiting(events)
    run.counters["requestsMinimum"] = measure(waiting).collect()[0]["requests"]
    calls = Calls()
    if run.counters["requestsMinimum"]:
        task = TaskDelivery(service, arguments.max_rate / tasks(spark))
        with lake.staging(arguments.batch, run.runId) as staged:
            calls = send(waiting, task, f"{staged}/outcomes")
            ledger.keep(lake.rows(f"{staged}/outcomes", OUTCOMES), waiting, calls)
    run.counters.update(calls.counters())
    run.counters.update(account(manifest.events, already, ledger.count(events)))
    return ending(run, calls)


def sendable(lake: Lake, batch: str) -> Manifest:
    """Find a batch that may be sent.

    Raises:
        ConfigurationError: it was never built.
        GateFailedError: it did not pass its gate.
    """
    manifest = lake.manifest(batch)
    if manifest is None:
        raise ConfigurationError(f"batch {batch}: the lake has no such batch: run build_events for it first")
    if manifest.gate == "failed":
        raise GateFailedError(
            f"batch {batch}: failed its gate (run {manifest.runId}): nothing is sent from it; "
            "mend what broke, or let it pass with build_events, then run this again"
        )
    return manifest


def tasks(spark: SparkSession) -> int:
    """Tell how many tasks send at once: as many as there are slots, each with its share of the rate."""
    return max(1, spark.sparkContext.defaultParallelism)


def send(waiting: DataFrame, task: TaskDelivery, outcomes: str) -> Calls:
    """Send events, each partition's requests in parallel; leave what came of them in the folder `outcomes`.

    The sending plan is run by this one write alone: evaluating it again would send again.
    """
    spark = waiting.sparkSession
    requests = pack_requests(waiting).repartition(tasks(spark), "requestId")
    ordered = requests.sortWithinPartitions("userId", "sessionId", "number")
    started = time.monotonic()
    ordered.mapInArrow(task, OUTCOMES).write.parquet(outcomes)
    seconds = time.monotonic() - started
    return count_calls(spark.read.schema(OUTCOMES).parquet(outcomes), seconds)


def account(events: int, before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """Account for every event of the batch, from the tables and the ledger.

    Examples:
        >>> account(10, {"delivered": 4}, {"delivered": 7, "refused": 1})
        {'events': 10, 'alreadyDelivered': 4, 'delivered': 3, 'deadLettered': 1, 'pending': 2}
    """
    already, ended, refused = before.get("delivered", 0), after.get("delivered", 0), after.get("refused", 0)
    return {
        "events": events,
        "alreadyDelivered": already,
        "delivered": ended - already,
        "deadLettered": refused,
        "pending": events - ended - refused,
    }


def ending(run: Run, calls: Calls) -> Exit:
    """Say how the delivery ended.

    Raises:
        ConfigurationError: an answer of the service that no retry can mend.
        UnfinishedError: events are left for the next run.
    """
    pending = f"{run.counters['pending']:,} events wait"
    if stops := [answer for answer in calls.unfinished if meaning(answer) is Meaning.STOP]:
        raise ConfigurationError(
            f"the service answered {_said(stops)}: {pending}; check the endpoint, the region, the tracking id, the "
            "credentials and their right to personalize:PutEvents, then run this again"
        )
    if calls.unfinished:
        raise UnfinishedError(f"out of retries after {_said(calls.unfinished)}: {pending}; run this again, it resumes")
    if run.counters["pending"]:
        raise UnfinishedError(f"{pending}; run this again, it resumes")
    return Exit.DEAD_LETTERS if run.counters["deadLettered"] else Exit.DONE


def _said(answers: Sequence[Answer]) -> str:
    return ", ".join(sorted(f"{answer.errorCode} (HTTP {answer.httpStatus or 'none'})" for answer in answers))


def main(argv: Sequence[str]) -> int:
    """Run the job; see `--help`."""
    zeros = dict.fromkeys(("events", "alreadyDelivered", "delivered", "deadLettered", "pending", "requests"), 0)
    calls = {"requestsMinimum": 0, **Calls().counters(), "maxRate": None}
    return run_job(Run("put_events", {"deliveryId": None, **zeros, **calls}), parse, put, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
