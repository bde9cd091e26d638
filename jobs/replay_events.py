"""Many batches to Amazon Personalize, oldest first: `spark-submit jobs/replay_events.py --help`."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import time, timedelta
from importlib.util import find_spec

if __name__ == "__main__":
    # Told before anything of ours is imported: it may be ours that is lacking, or the Python that is too old for it.
    told = ""
    if lacking := [name.replace("_", "-") for name in ("jobs", "boto3", "pyarrow") if not find_spec(name)]:
        told = f"the driver's Python lacks {', '.join(lacking)}: --py-files clickstream_events.zip brings jobs, "
        told += "pip the rest"
    if sys.version_info < (3, 11):  # noqa: UP036 - Spark starts whatever Python it is told, and clusters have old ones
        told = "the driver's Python is older than 3.11: set PYSPARK_DRIVER_PYTHON (for YARN, see docs/deploy.md)"
    if told:
        summary = json.dumps({"job": "replay_events", "batch": None, "exitCode": 2, "error": told})
        for stream, line in ((2, "error: " + told), (1, summary)):
            with suppress(OSError):  # nobody may be there to read it
                os.write(stream, (line + "\n").encode())
        sys.exit(2)

    from jobs.cli.early_signals import EarlySignals

    EarlySignals("replay_events", "nothing was sent in this run; run it again").listen()

from pyspark.sql import SparkSession

from delivery.control.dispatcher import ServiceHistory
from delivery.rate.aimd import AimdRateController
from jobs.cli.arguments import JobParser, add_service, batch_name, duration, filled, lake_root, time_of_day
from jobs.cli.deadline import earliest
from jobs.cli.job_guard import JobGuard
from jobs.cli.run import Run, run_job
from jobs.cli.terminal import find_terminal, write_lines
from jobs.deliver.dead_letters import DeadLetters, tell_dead_letters
from jobs.deliver.delivery_run import COUNTERS, NOT_BEGUN, DeliveryRun
from jobs.deliver.delivery_timeline import TimelineRecorder
from jobs.deliver.event_accounts import check_counts
from jobs.deliver.progress import ProgressDisplay
from jobs.deliver.service_endpoint import TRACKER, locate_service, name_tracker, resolve_service
from jobs.deliver.spark_job import PacingState, pace_words
from jobs.errors import Exit
from jobs.lake.store_errors import unfinished_if_rebuilt
from jobs.lake.tables import Lake
from jobs.replay.batch_range import find_batches
from jobs.replay.bulk_export import ExportResult, export
from jobs.replay.estimate import ReplayEstimate, bulk_serves_better, estimate_replay, words
from jobs.replay.pending import PendingEvents, find_pending_events
from jobs.replay.replay_runner import ReplayRunner
from transforms.limits import CALLS_PER_SECOND

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, checked.

    Attributes:
        lake: root folder or URI of the tables.
        first: label of the range's first batch, or what labels begin with.
        last: label of its last batch, or what labels begin with.
        trackingId: of the event tracker that the events go to.
        region: None for the AWS default chain's.
        endpoint_url: None for what the environment, a profile or the region says.
        pace: how fast.
        plan: whether only to say what a replay would do.
        bulk_export: folder or URI for the CSV of a bulk import; None to send.
        until: when to stop, by the machine's clock.
        max_duration: how long to send at the most.
    """

    lake: str
    first: str
    last: str
    trackingId: str
    region: str | None
    endpoint_url: str | None
    pace: PacingState
    plan: bool
    bulk_export: str | None
    until: time | None
    max_duration: timedelta | None

    @property
    def batch(self) -> str:
        """What the run is about, for its summary."""
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
    add_service(parser, max_rate=300)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--plan", action="store_true", help="send nothing; say what there is to send and how long it takes"
    )
    instead.add_argument(
        "--bulk-export", type=filled, metavar="DIR", help="send nothing; write pending events as bulk import CSV"
    )
    add("--until", type=time_of_day, metavar="HH:MM", help="stop then, by this machine's clock; a rerun continues")
    add("--max-duration", type=duration, metavar="D", help="stop after this time, e.g. 6h; a rerun continues")
    given = parser.parse_args(argv)
    sends = not given.plan and given.bulk_export is None
    if not sends and (given.until is not None or given.max_duration is not None):
        parser.error("--until and --max-duration stop a delivery: --plan and --bulk-export send nothing")
    return Arguments(
        lake=given.lake,
        first=given.first,
        last=given.last,
        trackingId=given.tracking_id,
        region=given.region,
        endpoint_url=given.endpoint_url,
        pace=PacingState(
            given.max_rate, given.max_in_flight, given.channel_port, ServiceHistory(working=given.accept_failures)
        ),
        plan=given.plan,
        bulk_export=given.bulk_export,
        until=given.until,
        max_duration=given.max_duration,
    )


def replay(_spark: SparkSession, lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Find the batches; send what is left of them, or say what that is, or write it for an import."""
    run.counters["maxRate"] = arguments.pace.max_rate
    if not arguments.plan and arguments.bulk_export is None:
        return send(lake, arguments, run)
    # Nothing is called, so no credentials are needed; but what was sent already depends on where to.
    service = locate_service(arguments.trackingId, arguments.region, arguments.endpoint_url)
    run.counters.update(name_tracker(service))
    manifests = find_batches(lake.manifests, arguments.first, arguments.last)
    lake.check_kept(manifests)
    with unfinished_if_rebuilt(lake.manifests, manifests):
        waiting = find_pending_events(lake, service, manifests)
        run.counters["events"] = waiting.total
        if arguments.bulk_export is None:
            tell_plan(estimate_replay(waiting, arguments.trackingId), run, arguments.pace.max_rate)
        else:
            run.if_interrupted = (
                f"nothing was sent; empty {arguments.bulk_export}, or name another folder, and run it again"
            )
            tell_export(export(waiting, arguments.bulk_export, lake.files), waiting, run)
    check_counts(f"batches {arguments.first} to {arguments.last}", run.counters)
    return Exit.DONE


def send(lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Send what is left, batch by batch."""
    service = resolve_service(arguments.trackingId, arguments.region, arguments.endpoint_url)
    run.counters.update(name_tracker(service))
    manifests = find_batches(lake.manifests, arguments.first, arguments.last)
    lake.check_kept(manifests)
    deadline = earliest(run.startedAt, arguments.until, arguments.max_duration)
    log.info("%s", pace_words(arguments.pace.max_rate))
    timeline, target = TimelineRecorder(arguments.pace.max_rate), AimdRateController(arguments.pace.max_rate)
    run.report.delivery_timeline = timeline.delivery_timeline
    with closing(ProgressDisplay(find_terminal())) as display:
        delivery_run = DeliveryRun(lake, service, arguments.pace, run, display, timeline, target, deadline)
        with JobGuard(lake.context, lambda: run.reason_to_end(deadline)).guarding():
            replay_runner = ReplayRunner(delivery_run, manifests)
        replay_runner.send()
    if not run.counters["deadLettered"]:
        return Exit.DONE
    tell_dead_letters(DeadLetters(lake, service, arguments.pace), replay_runner.refused)
    return Exit.DEAD_LETTERS


def tell_plan(found: ReplayEstimate, run: Run, rate: float) -> None:
    """Say what a replay would do, to a person and in the summary."""
    write_lines(sys.stdout, *words(found, rate))
    run.counters.update(
        batches=found.batches,
        batchesDone=found.batches - len(found.waitingBatches),
        alreadyDelivered=found.delivered,
        deadLettered=found.refused,
        pending=found.waiting,
        requestsMinimum=found.requests,
        plan={
            "bytes": found.bytes,
            "hoursAtRate": round(found.seconds(rate) / 3600, 3),
            "hoursAtQuota": round(found.seconds(CALLS_PER_SECOND) / 3600, 3),
            "unimportable": found.unimportable,
            "bulkImport": bulk_serves_better(found, rate),
        },
    )


def tell_export(found: ExportResult, waiting: PendingEvents, run: Run) -> None:
    """Say what was exported, and what was not: it waits as before, since nobody knows what becomes of the files."""
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
