"""A batch's events to Amazon Personalize, through PutEvents: `spark-submit jobs/put_events.py --help`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

if __name__ == "__main__":
    try:
        from jobs.cli.preflight import run_preflight
    except ImportError:  # nothing of ours is there: the script itself says so
        error = "the driver's Python lacks jobs: --py-files clickstream_events.zip brings jobs, pip the rest"
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - no module of ours can be imported
        print(json.dumps({"job": "put_events", "batch": None, "exitCode": 2, "error": error}))  # noqa: T201 - as above
        sys.exit(2)
    run_preflight("put_events", ["boto3", "pyarrow"], "nothing was sent in this run; run it again")

from pyspark.sql import SparkSession

from jobs.cli.arguments import JobParser, batch_label, lake_root
from jobs.cli.deadline import Deadline
from jobs.cli.run import Run, run_job
from jobs.deliver.dead_letters import DeadLetters, log_dead_letters
from jobs.deliver.delivery_config import PUT_RATE, DeliveryConfig, add_service_options, read_delivery_config
from jobs.deliver.delivery_run import (
    COUNTERS,
    NOT_BEGUN,
    DeliveryHooks,
    calls,
    deliver,
    find_sendable,
    repeat_warnings,
    start_deliveries,
)
from jobs.deliver.exit_status import exit_of
from jobs.deliver.progress import ProgressGoal
from jobs.deliver.service_endpoint import TRACKER, name_tracker, resolve_service
from jobs.errors import Exit
from jobs.lake.tables import Lake
from jobs.ledger.plans import Kind
from jobs.ledger.tracker_ledger import TrackerLedger


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, checked.

    Attributes:
        lake: root folder or URI of the tables.
        batch: the batch's label.
        trackingId: the id of the event tracker.
        region: None for the region of the AWS default chain.
        endpoint_url: None for the URL of the environment, the profile or the region.
        kind: which events of the batch are sent.
        config: how they are sent.
    """

    lake: str
    batch: str
    trackingId: str
    region: str | None
    endpoint_url: str | None
    kind: Kind
    config: DeliveryConfig


def parse(argv: Sequence[str]) -> Arguments:
    """Read the command line.

    Raises:
        ConfigurationError: it is not right.
    """
    parser = JobParser("put_events", description="A batch's events to Amazon Personalize.")
    add = parser.add_argument
    add("--lake", required=True, type=lake_root, metavar="ROOT", help="root of the tables")
    add("--batch", required=True, type=batch_label, metavar="LABEL", help="e.g. 2024-01-02")
    add_service_options(parser, max_rate=PUT_RATE)
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--retry-dead-letters", action="store_true", help="send dead letters once more")
    again.add_argument("--resend", action="store_true", help="send the whole batch, even acknowledged events")
    options = parser.parse_args(argv)
    return Arguments(
        lake=options.lake,
        batch=options.batch,
        trackingId=options.tracking_id,
        region=options.region,
        endpoint_url=options.endpoint_url,
        kind="dead-letters" if options.retry_dead_letters else "resend" if options.resend else "batch",
        config=read_delivery_config(options),
    )


def put(_spark: SparkSession, lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Check that the batch can be sent, send its remaining requests, account for every event."""
    service = resolve_service(arguments.trackingId, arguments.region, arguments.endpoint_url)
    run.report.tracker = service
    manifest = find_sendable(lake, arguments.batch)
    repeat_warnings(manifest)
    counters, config = run.counters, arguments.config
    counters.update(name_tracker(service), deliveryId=TrackerLedger(lake, service).delivery(arguments.batch))
    counters["maxRate"] = config.max_rate
    with start_deliveries(lake, service, config, run, Deadline()) as delivery_run:
        hooks = DeliveryHooks(
            on_account=counters.update,
            make_goal=lambda: goal(counters),
            on_result=lambda result: counters.update(
                calls(result), achievedRate=result.full.rate if result.progress.calls.answered else None
            ),
        )
        result = deliver(delivery_run, manifest, arguments.kind, hooks)
    code = exit_of(result, counters, service, interrupted=run.interruption.is_requested, kind=arguments.kind)
    if code is Exit.DEAD_LETTERS:
        log_dead_letters(DeadLetters(lake, service, config), [arguments.batch])
    return code


def goal(counters: Mapping[str, Any]) -> ProgressGoal:
    """Make the goal of the progress bar: the whole batch, from the events that had ended before."""
    return ProgressGoal(counters["events"], counters["events"] - counters["pending"])


def main(argv: Sequence[str]) -> int:
    """Run the job; see `--help`."""
    counters = {"deliveryId": None, **TRACKER, **dict.fromkeys(COUNTERS, 0), "achievedRate": None}
    return run_job(Run("put_events", counters, if_interrupted=NOT_BEGUN), parse, put, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
