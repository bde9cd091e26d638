"""Many batches to Amazon Personalize, oldest first: `spark-submit jobs/replay_events.py --help`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time, timedelta

if __name__ == "__main__":
    try:
        from jobs.cli.preflight import run_preflight
    except ImportError:  # nothing of ours is there: the script itself says so
        error = "the driver's Python lacks jobs: --py-files clickstream_events.zip brings jobs, pip the rest"
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - no module of ours can be imported
        print(json.dumps({"job": "replay_events", "batch": None, "exitCode": 2, "error": error}))  # noqa: T201 - as above
        sys.exit(2)
    run_preflight("replay_events", ["boto3", "pyarrow"], "nothing was sent in this run; run it again")

from pyspark.sql import SparkSession

from jobs.cli.arguments import JobParser, batch_name, check_not_blank, duration, lake_root, time_of_day
from jobs.cli.deadline import find_deadline
from jobs.cli.job_guard import JobGuard
from jobs.cli.run import Run, run_job
from jobs.cli.terminal import write_lines
from jobs.deliver.dead_letters import DeadLetters, log_dead_letters
from jobs.deliver.delivery_config import DeliveryConfig, add_service_options, read_delivery_config
from jobs.deliver.delivery_run import COUNTERS, NOT_BEGUN, start_deliveries
from jobs.deliver.service_endpoint import TRACKER, locate_service, name_tracker, resolve_service
from jobs.errors import Exit
from jobs.lake.store_errors import unfinished_if_rebuilt
from jobs.lake.tables import Lake
from jobs.ledger.ledger import check_counts
from jobs.replay.batch_range import find_batches
from jobs.replay.bulk_export import ExportResult, export
from jobs.replay.estimate import ReplayEstimate, bulk_serves_better, describe_estimate, estimate_replay
from jobs.replay.pending import PendingEvents, find_pending_events
from jobs.replay.replay_runner import ReplayRunner
from transforms.limits import CALLS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, checked.

    Attributes:
        lake: root folder or URI of the tables.
        first: label of the range's first batch, or a prefix of labels.
        last: label of its last batch, or a prefix of labels.
        trackingId: the id of the event tracker.
        region: None for the region of the AWS default chain.
        endpoint_url: None for the URL of the environment, the profile or the region.
        config: how they are sent.
        plan: whether only to report what a replay would do.
        bulk_export: folder or URI for the CSV of a bulk import; None to send.
        until: when to stop, by the machine's clock.
        max_duration: the longest time to send.
    """

    lake: str
    first: str
    last: str
    trackingId: str
    region: str | None
    endpoint_url: str | None
    config: DeliveryConfig
    plan: bool
    bulk_export: str | None
    until: time | None
    max_duration: timedelta | None

    @property
    def batch(self) -> str:
        """The range, as the summary names it."""
        return f"{self.first}..{self.last}"


def parse(argv: Sequence[str]) -> Arguments:
    """Read the command line.

    Raises:
        ConfigurationError: it is not right.
    """
    parser = JobParser("replay_events", description="Many batches to Amazon Personalize, oldest first.")
    add = parser.add_argument
    add("--lake", required=True, type=lake_root, metavar="ROOT", help="root of the tables")
    add("--from", required=True, type=batch_name, dest="first", metavar="LABEL", help="first batch, e.g. 2024-01-01")
    add(
        "--to",
        required=True,
        type=batch_name,
        dest="last",
        metavar="LABEL",
        help="last batch, and labels that begin so",
    )
    add_service_options(parser, max_rate=300)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--plan", action="store_true", help="send nothing; say what there is to send and how long it takes"
    )
    instead.add_argument(
        "--bulk-export",
        type=check_not_blank,
        metavar="DIR",
        help="send nothing; write pending events as bulk import CSV",
    )
    add("--until", type=time_of_day, metavar="HH:MM", help="stop then, by this machine's clock; a rerun continues")
    add("--max-duration", type=duration, metavar="D", help="stop after this time, e.g. 6h; a rerun continues")
    options = parser.parse_args(argv)
    sends = not options.plan and options.bulk_export is None
    if not sends and (options.until is not None or options.max_duration is not None):
        parser.error("--until and --max-duration stop a delivery: --plan and --bulk-export send nothing")
    return Arguments(
        lake=options.lake,
        first=options.first,
        last=options.last,
        trackingId=options.tracking_id,
        region=options.region,
        endpoint_url=options.endpoint_url,
        config=read_delivery_config(options),
        plan=options.plan,
        bulk_export=options.bulk_export,
        until=options.until,
        max_duration=options.max_duration,
    )


def replay(_spark: SparkSession, lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Find the batches, then send their pending events, report them, or write them for an import."""
    run.counters["maxRate"] = arguments.config.max_rate
    if not arguments.plan and arguments.bulk_export is None:
        return send(lake, arguments, run)
    # No call is made, so no credentials are needed. But the tracker decides which events were sent already.
    service = locate_service(arguments.trackingId, arguments.region, arguments.endpoint_url)
    run.counters.update(name_tracker(service))
    run.report.tracker = service
    manifests = find_batches(lake.manifests, arguments.first, arguments.last)
    lake.check_kept(manifests)
    with unfinished_if_rebuilt(lake.manifests, manifests):
        waiting = find_pending_events(lake, service, manifests)
        run.counters["events"] = waiting.total
        if arguments.bulk_export is None:
            report_plan(estimate_replay(waiting, arguments.trackingId), run, arguments.config.max_rate)
        else:
            run.if_interrupted = (
                f"nothing was sent; empty {arguments.bulk_export}, or name another folder, and run it again"
            )
            report_export(export(waiting, arguments.bulk_export, lake.files), waiting, run)
    check_counts(f"batches {arguments.first} to {arguments.last}", run.counters)
    return Exit.DONE


def send(lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Send the pending events, batch by batch."""
    service = resolve_service(arguments.trackingId, arguments.region, arguments.endpoint_url)
    run.counters.update(name_tracker(service))
    run.report.tracker = service
    manifests = find_batches(lake.manifests, arguments.first, arguments.last)
    lake.check_kept(manifests)
    deadline = find_deadline(run.startedAt, arguments.until, arguments.max_duration)
    with start_deliveries(lake, service, arguments.config, run, deadline) as delivery_run:
        with JobGuard(lake.context, lambda: run.reason_to_end(deadline)).guarding():
            replay_runner = ReplayRunner(delivery_run, manifests)
        replay_runner.send()
    if not run.counters["deadLettered"]:
        return Exit.DONE
    log_dead_letters(DeadLetters(lake, service, arguments.config), replay_runner.refused)
    return Exit.DEAD_LETTERS


def report_plan(found: ReplayEstimate, run: Run, max_rate: float) -> None:
    """Report what a replay would do, on standard output and in the summary."""
    write_lines(sys.stdout, *describe_estimate(found, max_rate))
    run.counters.update(
        batches=found.batches,
        batchesDone=found.batches - len(found.waitingBatches),
        alreadyDelivered=found.delivered,
        deadLettered=found.refused,
        pending=found.waiting,
        requestsMinimum=found.requests,
        plan={
            "bytes": found.bytes,
            "hoursAtRate": round(found.seconds(max_rate) / 3600, 3),
            "hoursAtQuota": round(found.seconds(CALLS_PER_SECOND) / 3600, 3),
            "unimportable": found.unimportable,
            "bulkImport": bulk_serves_better(found, max_rate),
        },
    )


def report_export(found: ExportResult, waiting: PendingEvents, run: Run) -> None:
    """Report what was exported. All these events stay pending, because the files may never be imported."""
    run.counters.update(
        batches=len(waiting.settled) + len(waiting.batches),
        batchesDone=len(waiting.settled),
        alreadyDelivered=found.delivered,
        deadLettered=found.refused,
        pending=found.waiting,
        bulkExport={
            "exported": found.exported,
            "withoutUser": found.withoutUser,
            "withoutItem": found.withoutItem,
            "withSeparator": found.withSeparator,
            "leftOut": list(found.leftOut),
        },
    )


def main(argv: Sequence[str]) -> int:
    """Run the job; see `--help`."""
    counters = {**TRACKER, **dict.fromkeys(("batches", "batchesDone", *COUNTERS), 0), "achievedRate": None}
    return run_job(Run("replay_events", counters, if_interrupted=NOT_BEGUN), parse, replay, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
