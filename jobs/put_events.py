"""A batch's events to Amazon Personalize, through PutEvents: `spark-submit jobs/put_events.py --help`."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

if __name__ == "__main__":
    # Told before anything of ours is imported: it may be ours that is lacking, or the Python that is too old for it.
    told = ""
    if lacking := [name.replace("_", "-") for name in ("jobs", "boto3", "pyarrow") if not find_spec(name)]:
        told = f"the driver's Python lacks {', '.join(lacking)}: --py-files clickstream_events.zip brings jobs, "
        told += "pip the rest"
    if sys.version_info < (3, 11):  # noqa: UP036 - Spark starts whatever Python it is told, and clusters have old ones
        told = "the driver's Python is older than 3.11: set PYSPARK_DRIVER_PYTHON (for YARN, see docs/deploy.md)"
    if told:
        summary = json.dumps({"job": "put_events", "batch": None, "exitCode": 2, "error": told})
        for stream, line in ((2, "error: " + told), (1, summary)):
            with suppress(OSError):  # nobody may be there to read it
                os.write(stream, (line + "\n").encode())
        sys.exit(2)

    from jobs.cli.early_signals import EarlySignals

    EarlySignals("put_events", "nothing was sent in this run; run it again").listen()

from pyspark.sql import SparkSession

from delivery.control.dispatcher import ServiceHistory
from delivery.rate.aimd import AimdRateController
from jobs.cli.arguments import PUT_RATE, JobParser, add_service, batch_label, lake_root
from jobs.cli.run import Run, run_job
from jobs.cli.terminal import find_terminal
from jobs.deliver.dead_letters import DeadLetters, tell_dead_letters
from jobs.deliver.delivery_run import (
    COUNTERS,
    NOT_BEGUN,
    DeliveryHooks,
    DeliveryRun,
    calls,
    deliver,
    repeat_warnings,
    sendable,
)
from jobs.deliver.delivery_timeline import TimelineRecorder
from jobs.deliver.exit_status import exit_of
from jobs.deliver.progress import ProgressDisplay, ProgressGoal
from jobs.deliver.service_endpoint import TRACKER, name_tracker, resolve_service
from jobs.deliver.spark_job import PacingState, pace_words
from jobs.errors import Exit
from jobs.lake.tables import Lake
from jobs.ledger.plans import Kind
from jobs.ledger.tracker_ledger import TrackerLedger

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, checked.

    Attributes:
        lake: root folder or URI of the tables.
        batch: the batch's label.
        trackingId: of the event tracker that the events go to.
        region: None for the AWS default chain's.
        endpoint_url: None for what the environment, a profile or the region says.
        kind: which of the batch's events are sent.
        pace: how fast.
    """

    lake: str
    batch: str
    trackingId: str
    region: str | None
    endpoint_url: str | None
    kind: Kind
    pace: PacingState


def parse(argv: Sequence[str]) -> Arguments:
    """Read the command line.

    Raises:
        ConfigurationError: it is not right.
    """
    parser = JobParser("put_events", description="A batch's events to Amazon Personalize.")
    add = parser.add_argument
    add("--lake", required=True, type=lake_root, metavar="ROOT", help="root of the tables")
    add("--batch", required=True, type=batch_label, metavar="LABEL", help="e.g. 2024-01-02")
    add_service(parser, max_rate=PUT_RATE)
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--retry-dead-letters", action="store_true", help="send dead letters once more")
    again.add_argument("--resend", action="store_true", help="send the whole batch, even acknowledged events")
    given = parser.parse_args(argv)
    return Arguments(
        lake=given.lake,
        batch=given.batch,
        trackingId=given.tracking_id,
        region=given.region,
        endpoint_url=given.endpoint_url,
        kind="dead-letters" if given.retry_dead_letters else "resend" if given.resend else "batch",
        pace=PacingState(
            given.max_rate, given.max_in_flight, given.channel_port, ServiceHistory(working=given.accept_failures)
        ),
    )


def put(_spark: SparkSession, lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Check that one may send, send what is left of the batch, account for every event."""
    service = resolve_service(arguments.trackingId, arguments.region, arguments.endpoint_url)
    manifest = sendable(lake, arguments.batch)
    repeat_warnings(manifest)
    counters, pace = run.counters, arguments.pace
    counters.update(name_tracker(service), deliveryId=TrackerLedger(lake, service).delivery(arguments.batch))
    counters["maxRate"] = pace.max_rate
    log.info("%s", pace_words(pace.max_rate))
    timeline = TimelineRecorder(pace.max_rate)
    run.report.delivery_timeline = timeline.delivery_timeline
    with closing(ProgressDisplay(find_terminal())) as display:
        delivery_run = DeliveryRun(lake, service, pace, run, display, timeline, AimdRateController(pace.max_rate))
        hooks = DeliveryHooks(
            account=counters.update,
            ready=lambda: goal(counters, pace),
            sent=lambda sent: counters.update(
                calls(sent), achievedRate=sent.full.rate if sent.progress.calls.answered else None
            ),
        )
        sent = deliver(delivery_run, manifest, arguments.kind, hooks)
    code = exit_of(sent, counters, service, interrupted=run.interruption.came, kind=arguments.kind)
    if code is Exit.DEAD_LETTERS:
        tell_dead_letters(DeadLetters(lake, service, pace), [arguments.batch])
    return code


def goal(counters: Mapping[str, Any], pace: PacingState) -> ProgressGoal:
    """Show the way from what has ended before to the whole batch."""
    return ProgressGoal(counters["events"], counters["events"] - counters["pending"], pace.max_rate)


def main(argv: Sequence[str]) -> int:
    """Run the job; see `--help`."""
    counters = {"deliveryId": None, **TRACKER, **dict.fromkeys(COUNTERS, 0), "achievedRate": None}
    return run_job(Run("put_events", counters, if_interrupted=NOT_BEGUN), parse, put, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
