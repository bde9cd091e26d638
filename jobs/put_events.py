"""A batch's events to Amazon Personalize, through PutEvents: `spark-submit jobs/put_events.py --help`."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql import DataFrame, SparkSession

from delivery.answers import Meaning, meaning
from delivery.arrow import TaskDelivery
from delivery.client import Service
from delivery.records import Answer
from jobs.arguments import JobParser, batch_label, lake_root, rate, tracking_id
from jobs.errors import ConfigurationError, Exit, GateFailedError, UnfinishedError
from jobs.inputs import literal
from jobs.lake import Lake
from jobs.ledger import OUTCOMES, Calls, Ledger, count_calls
from jobs.manifests import Manifest
from jobs.run import Run, run_job
from jobs.service import resolve_service
from transforms.packing import measure, pack_requests, spread
from transforms.schemas import EVENTS

_ANYTHING: Final = "the endpoint, the region, the tracking id and the credentials"
_SUSPECTS: Final = {
    "AccessDeniedException": "that the credentials have the right to personalize:PutEvents",
    "ExpiredTokenException": "the session token, which has expired",
    "InvalidSignatureException": "the secret key, and the clock",
    "NoCredentialsError": "that the executors find credentials too",
    "NotTheService": "the endpoint: something else answers there",
    "ResourceNotFoundException": "the tracking id and the region",
    "UnrecognizedClientException": "the access key",
}


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
    parser.add_argument("--lake", required=True, type=lake_root, metavar="ROOT", help="root of the tables")
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


def put(_spark: SparkSession, lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Check that one may send, then deliver the batch: pack, send, keep receipts, account for every event."""
    service = resolve_service(arguments.trackingId, arguments.region, arguments.endpoint_url)
    manifest = sendable(lake, arguments.batch)
    ledger = Ledger(lake, arguments.batch, service)
    run.counters.update(deliveryId=ledger.deliveryId, maxRate=arguments.max_rate)
    with lake.staging(arguments.batch, run.runId) as staged:
        events = take(lake.published_events([manifest], EVENTS), lake, f"{staged}/events", manifest)
        already = ledger.count(events)
        waiting = ledger.waiting(events)
        run.counters["requestsMinimum"] = measure(waiting).collect()[0]["requests"]
        calls = Calls()
        if run.counters["requestsMinimum"]:
            calls = send(waiting, service, arguments.max_rate, f"{staged}/outcomes")
            ledger.keep(lake.rows(f"{staged}/outcomes", OUTCOMES), waiting, calls)
        run.counters.update(calls.counters())
        run.counters.update(account(manifest.events, already, ledger.count(events)))
    return ending(run, calls)


def take(published: DataFrame, lake: Lake, folder: str, manifest: Manifest) -> DataFrame:
    """Copy a batch's events, so that a rebuild of it while they are sent changes nothing under the delivery.

    Raises:
        UnfinishedError: it was rebuilt while they were copied.
    """
    try:
        published.write.parquet(folder)
    except Exception:
        newest = lake.manifests.newest(manifest.batch)
        if newest is not None and newest.runId != manifest.runId:
            raise UnfinishedError(f"batch {manifest.batch}: it was rebuilt just now: run this again") from None
        raise
    return lake.rows(folder, EVENTS)


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


def send(waiting: DataFrame, service: Service, max_rate: float, outcomes: str) -> Calls:
    """Send events, each partition's requests in parallel; leave what came of them in the folder `outcomes`.

    As many tasks send at once as there are slots, each with its share of the rate. The sending plan is run by this one
    write alone: evaluating it again would send again.
    """
    spark = waiting.sparkSession
    tasks = max(1, min(spark.sparkContext.defaultParallelism, math.ceil(max_rate)))
    requests = spread(pack_requests(waiting), tasks)
    started = time.monotonic()
    requests.mapInArrow(TaskDelivery(service, max_rate / tasks), OUTCOMES).write.parquet(outcomes)
    seconds = time.monotonic() - started
    return count_calls(spark.read.schema(OUTCOMES).parquet(literal(outcomes)), seconds)


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
            f"the service answered {_said(stops)}: {pending}; check {_suspects(stops)}, then run this again"
        )
    if calls.unfinished:
        raise UnfinishedError(f"out of retries after {_said(calls.unfinished)}: {pending}; run this again, it resumes")
    if run.counters["pending"]:
        raise UnfinishedError(f"{pending}; run this again, it resumes")
    return Exit.DEAD_LETTERS if run.counters["deadLettered"] else Exit.DONE


def _suspects(answers: Sequence[Answer]) -> str:
    return " and ".join(sorted({_SUSPECTS.get(answer.errorCode or "", _ANYTHING) for answer in answers}))


def _said(answers: Sequence[Answer]) -> str:
    return ", ".join(sorted(f"{answer.errorCode} (HTTP {answer.httpStatus or 'none'})" for answer in answers))


def main(argv: Sequence[str]) -> int:
    """Run the job; see `--help`."""
    zeros = dict.fromkeys(("events", "alreadyDelivered", "delivered", "deadLettered", "pending", "requests"), 0)
    calls = {"requestsMinimum": 0, **Calls().counters(), "maxRate": None}
    return run_job(Run("put_events", {"deliveryId": None, **zeros, **calls}), parse, put, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
