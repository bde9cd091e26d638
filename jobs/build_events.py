"""Raw clickstream logs to validated, sessionised event rows: `spark-submit jobs/build_events.py --help`."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Final

if __name__ == "__main__":
    # Told before anything of ours is imported: it may be ours that is lacking, or the Python that is too old for it.
    told = ""
    if lacking := [name.replace("_", "-") for name in ("jobs", "great_expectations") if not find_spec(name)]:
        told = f"the driver's Python lacks {', '.join(lacking)}: --py-files clickstream_events.zip brings jobs, "
        told += "pip the rest"
    if sys.version_info < (3, 11):  # noqa: UP036 - Spark starts whatever Python it is told, and clusters have old ones
        told = "the driver's Python is older than 3.11: set PYSPARK_DRIVER_PYTHON (for YARN, see docs/deploy.md)"
    if told:
        summary = json.dumps({"job": "build_events", "batch": None, "exitCode": 2, "error": told})
        for stream, line in ((2, "error: " + told), (1, summary)):
            with suppress(OSError):  # nobody may be there to read it
                os.write(stream, (line + "\n").encode())
        sys.exit(2)

    from jobs.cli.early_signals import EarlySignals

    EarlySignals("build_events", "nothing was published; run it again: it starts over").listen()

from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession

from expectations.gate import FAILED
from expectations.interval import Interval
from expectations.page import OVERRULED, GateReport
from jobs.building.batch_rows import BuildConfig, BuildResult, RunOutput, build_rows
from jobs.building.counts import conserve_retried, count_attempts, whole
from jobs.building.data_docs import DataDocs
from jobs.building.event_timeline import find_event_timeline
from jobs.building.history import BuildHistory, check_history, find_history, warn_of_changed
from jobs.building.quality import (
    Gate,
    JudgedBatch,
    check_thresholds_file,
    count_batch,
    earlier_batches,
    evaluate_batch,
    find_thresholds,
    load_great_expectations,
    report_batch,
)
from jobs.building.redelivery import REKEYED, DeliveredChanges, allow_rekeying, compare_with_delivered
from jobs.cli.arguments import JobParser, batch_label, batches, duration, filled, interval, lake_root, moment
from jobs.cli.run import Run, run_job
from jobs.errors import ConfigurationError, Exit, GateFailedError, all_or_faults
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake
from jobs.locking.claims import batch_lock
from jobs.locking.locks import Lock, held
from jobs.reading.mappings import check_mapping_file, checked_mapping, find_mapping
from jobs.reading.sources import read_again, read_records
from transforms.schemas import QUARANTINE
from transforms.sessions import SessionLimits

_MOST_PERMITTED: Final = 5
"""Checks that an error says how to permit: whoever breaks more of them has another fault."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, checked.

    Attributes:
        input: paths or globs of the batch's raw logs; none where its quarantine is retried.
        mapping: name or path of the mapping.
        lake: root folder or URI of the tables.
        batch: the batch's label.
        limits: where sessions end.
        look_back: how many batches before this one hold events that may be repeated.
        thresholds: path of the gate's thresholds; None for the defaults.
        lenient: whether a batch that fails its gate passes, marked.
        as_of: the run's time, aware.
        retry_quarantine: whether the batch's quarantine is taken through again, instead of new input.
        interval: the time that the batch is of; None where its label, or its last publication, says it.
        allow_empty: whether the batch may be empty.
        rekey: whether events that were delivered may get other eventIds.
    """

    input: tuple[str, ...]
    mapping: str
    lake: str
    batch: str
    limits: SessionLimits
    look_back: int
    thresholds: str | None
    lenient: bool
    as_of: datetime
    retry_quarantine: bool
    interval: Interval | None
    allow_empty: bool
    rekey: bool


def parse(argv: Sequence[str]) -> Arguments:
    """Read the command line.

    Raises:
        ConfigurationError: it is not right.
    """
    parser = JobParser("build_events", description="Raw clickstream logs to event rows.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input", nargs="+", type=filled, default=(), metavar="PATH_OR_GLOB", help="the batch's raw logs"
    )
    source.add_argument(
        "--retry-quarantine",
        action="store_true",
        help="process the batch's quarantine again, e.g. with a corrected mapping",
    )
    parser.add_argument(
        "--mapping", required=True, type=filled, metavar="NAME_OR_FILE", help="how a record becomes events"
    )
    parser.add_argument("--lake", required=True, type=lake_root, metavar="ROOT", help="root of the tables")
    parser.add_argument("--batch", required=True, type=batch_label, metavar="LABEL", help="e.g. 2024-01-02")
    parser.add_argument(
        "--session-gap", type=duration, default="30m", metavar="TIME", help="a longer pause starts a session (30m)"
    )
    parser.add_argument(
        "--max-session", type=duration, default="24h", metavar="TIME", help="a session that lasts longer is cut (24h)"
    )
    parser.add_argument(
        "--look-back", type=batches, default="2", metavar="N", help="batches before, for repeats and late events (2)"
    )
    parser.add_argument(
        "--thresholds", type=filled, metavar="FILE", help="the gate's thresholds (docs/rules.md lists the defaults)"
    )
    parser.add_argument(
        "--on-gate-failure", choices=("fail", "warn"), default="fail", help="warn lets the batch pass, marked (fail)"
    )
    parser.add_argument(
        "--interval",
        type=interval,
        metavar="START/END",
        help="the time of the batch, its end exclusive, e.g. 2024-01-02T12:00/2024-01-03 (the label's)",
    )
    parser.add_argument("--allow-empty", action="store_true", help="a batch without events may pass")
    parser.add_argument(
        "--rekey", action="store_true", help="let events that were delivered get other eventIds: they are sent again"
    )
    parser.add_argument("--as-of", type=moment, metavar="TIME", help="the run's time, for tests and replays (now)")
    given = parser.parse_args(argv)
    return Arguments(
        input=tuple(given.input),
        mapping=given.mapping,
        lake=given.lake,
        batch=given.batch,
        limits=SessionLimits(given.session_gap, given.max_session),
        look_back=given.look_back,
        thresholds=given.thresholds,
        lenient=given.on_gate_failure == "warn",
        as_of=given.as_of or datetime.now(UTC),
        retry_quarantine=given.retry_quarantine,
        interval=given.interval,
        allow_empty=given.allow_empty,
        rekey=given.rekey,
    )


def parse_and_check(argv: Sequence[str]) -> Arguments:
    """Read the command line; see that the files that it names are there, before Spark takes its time to start.

    Raises:
        ConfigurationError: it is not right, or they are not there.
    """
    arguments = parse(argv)
    all_or_faults(lambda: check_mapping_file(arguments.mapping), lambda: check_thresholds_file(arguments.thresholds))
    return arguments


def build(spark: SparkSession, lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Check the configuration, then build the batch: read, map, judge, cut sessions, write, gate, publish."""
    load_great_expectations()
    # True until this run publishes: a run that ends before says what the batch still is.
    run.counters["kept"] = _passed_run(lake.manifests.publications(arguments.batch).current)
    with run.interruption.cancelling(lambda: run.if_interrupted):
        build_config, gate = configure(spark, arguments)
        lake.prepare(arguments.batch)
        docs = DataDocs(spark, arguments.lake)
        with held(lake.files, lake.root, batch_lock(arguments.batch), run.runId) as lock:
            judged = build_and_publish(BuildContext(spark, lake, arguments, run, build_config, gate, lock))
            if judged is None:
                return Exit.DONE
            run.if_interrupted = (
                f"the build had ended by then, its gate {judged.gate}: all that may be missing is its page"
            )
            warn(judged)
            warn_of_changed(lake.manifests, arguments.batch)
            docs.show(judged)
    if judged.gate == FAILED:
        raise GateFailedError(*failure(judged), f"{docs.page(judged.batch)} shows why; correct it, build it again")
    return Exit.DONE


def _passed_run(current: Manifest | None) -> str | None:
    return current.runId if current is not None and current.gate != FAILED else None


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a build works with.

    Attributes:
        spark: the session.
        lake: the tables.
        arguments: of the command line.
        run: is told what is found.
        build_config: how records become rows.
        gate: how the batch is judged.
        lock: on the batch.
    """

    spark: SparkSession
    lake: Lake
    arguments: Arguments
    run: Run
    build_config: BuildConfig
    gate: Gate
    lock: Lock


def build_and_publish(context: BuildContext) -> GateReport | None:
    """Build the batch, and publish it, or note that it failed its gate.

    Returns:
        What the gate says of it; None where there is no quarantine to retry.
    """
    lake, arguments, run, build_config = context.lake, context.arguments, context.run, context.build_config
    run.interruption.check(run.if_interrupted)  # others may have been waited for
    version, found = lake.manifests.next_version(arguments.batch), lake.manifests.publications(arguments.batch)
    current = found.current if found.current is not None and found.current.gate != FAILED else None
    before = retriable(lake, found.current, arguments.batch, build_config) if arguments.retry_quarantine else None
    if before is not None and not before.quarantined:
        run.counters.update(gate=before.gate, kept=None)
        return None
    run_output = RunOutput(lake, arguments.batch, run.runId)
    given = given_interval(arguments, found.current)
    order = lake.manifests.order().with_batch(arguments.batch, given)
    history = find_history(lake.manifests, order, arguments.batch, arguments.look_back, before)
    with lake.unpublished(arguments.batch, run.runId, found.newest, history.others):
        records = take(context.spark, lake, arguments, build_config, before)
        result = build_rows(records, build_config, run_output, history)
        run.counters.update(result.counters)
        if before is not None:
            conserve_retried(result.counters, before.quarantined)
            run.counters["attempts"] = count_attempts(result.quarantine)
        earlier = lake.manifests.alike_before(order, arguments.batch, context.gate.thresholds.settings.batches)
        judged = judge_rows(result, history, context, current, earlier)
        run.counters.update(gate=judged.gate, merged=judged.counts["merged"])
        run.report.judged, run.report.lengths = judged, result.lengths
        run.report.event_timeline = run.report.found(
            lambda: find_event_timeline(result.events, judged, history.interval)
        )
        if before is not None and judged.gate == FAILED:
            raise GateFailedError(*failure(judged), f"batch {judged.batch}: was not changed")
        check_history(lake.manifests, history)
        context.lock.confirm()
        run.interruption.check(run.if_interrupted)
        manifest = manifest_of(judged, version, build_config, result, history)
        times = (given.start.isoformat(), given.end.isoformat()) if given is not None else None
        lake.publish(replace(manifest, interval=times))
        run.counters["kept"] = judged.kept.runId if judged.kept else None
    return judged


def given_interval(arguments: Arguments, published: Manifest | None) -> Interval | None:
    """Find the interval that the batch was given, now or before: one that is built again without keeps its own."""
    if arguments.interval is not None or published is None or published.interval is None:
        return arguments.interval
    return Interval(*map(datetime.fromisoformat, published.interval))


def configure(spark: SparkSession, arguments: Arguments) -> tuple[BuildConfig, Gate]:
    """Read and check what the user has written.

    Raises:
        ConfigurationError: every fault of mapping and thresholds, a line each.
    """
    mapping, thresholds = all_or_faults(
        lambda: checked_mapping(find_mapping(arguments.mapping, spark), spark),
        lambda: find_thresholds(arguments.thresholds, spark),
    )
    if arguments.rekey:
        thresholds = allow_rekeying(thresholds)
    build_config = BuildConfig(mapping, arguments.limits, arguments.as_of)
    return build_config, Gate(thresholds, arguments.lenient, arguments.allow_empty)


def retriable(lake: Lake, manifest: Manifest | None, batch: str, build_config: BuildConfig) -> Manifest:
    """Check that a batch's quarantine may be taken through again.

    Raises:
        ConfigurationError: it was never built, its events were not kept, or the places of its exploded elements mean
            others now.
    """
    if manifest is None:
        raise ConfigurationError(f"batch {batch}: the lake has no such batch: build it from its --input first")
    if manifest.gate == FAILED:
        raise ConfigurationError(
            f"batch {batch}: failed its gate (run {manifest.runId}), so its events were not kept: "
            "build all of it again, from its --input, with your corrections"
        )
    if manifest.quarantined and not lake.has_quarantine(manifest):
        raise ConfigurationError(
            f"batch {batch}: its quarantine is gone: files of the lake were deleted or damaged, or an earlier version "
            "of this project deleted it when a later build failed its gate: build all of it again, from its "
            "--input, with your corrections"
        )
    if manifest.explode != build_config.mapping.explode:
        candidates = lake.published_quarantine(manifest, QUARANTINE).where("stage = 'validate'")
        if not candidates.isEmpty():
            raise ConfigurationError(
                f"batch {batch}: [record] explode has changed since it was built, so the refused elements cannot "
                "be found again: build all of it again, from its --input"
            )
    return manifest


def take(
    spark: SparkSession, lake: Lake, arguments: Arguments, build_config: BuildConfig, before: Manifest | None
) -> DataFrame:
    """Take the records that are to be built: new input, or what the batch has in quarantine."""
    if before is None:
        return read_records(spark, arguments.input, build_config.mapping)
    return read_again(spark, lake.published_quarantine(before, QUARANTINE), build_config.mapping)


def judge_rows(
    result: BuildResult,
    history: BuildHistory,
    context: BuildContext,
    current: Manifest | None,
    earlier: Sequence[Manifest],
) -> GateReport:
    """Pass the batch as a whole through the gate.

    Args:
        result: its rows.
        history: what they rest on.
        context: what the build works with.
        current: the batch's publication that passed, where there is one.
        earlier: batches before it that are of about its length of time.
    """
    before, gate, build_config = history.itself, context.gate, context.build_config
    counters = whole(result.counters, result.known, before)
    # What is only added to keeps all that it has.
    redelivery = compare_with_delivered(context.lake, current, result.events) if before is None else DeliveredChanges()
    batch = JudgedBatch(
        history.batch, history.interval, result, counters, build_config, earlier_batches(earlier), current, redelivery
    )
    numbers = count_batch(batch, gate.thresholds.settings)
    findings = evaluate_batch(batch, numbers, gate)
    return report_batch(batch, numbers, findings, gate.rule(findings), context.run.runId)


def warn(judged: GateReport) -> None:
    """Log what is unusual; what makes the job fail is said when it ends."""
    for finding in judged.unusual():
        if judged.gate != FAILED or finding.level != FAILED:
            log.warning("batch %s: %s", judged.batch, finding.describe())
    if judged.overruled:
        log.warning("batch %s: %s", judged.batch, OVERRULED)


def manifest_of(
    judged: GateReport, version: int, build_config: BuildConfig, result: BuildResult, history: BuildHistory
) -> Manifest:
    """Write down what the batch consists of; of one that failed, no events are kept."""
    counts, left = judged.counts, result.left
    records = whole(result.counters, result.known, history.itself)
    return Manifest(
        batch=judged.batch,
        version=version,
        runId=judged.runId,
        gate=judged.gate,
        events=0 if judged.gate == FAILED else counts["events"],
        quarantined=counts["quarantined"],
        duplicates=counts["duplicates"],
        read=records["read"],
        filtered=records["filtered"],
        profile=dict(judged.profile),
        warnings=judged.warnings(),
        explode=build_config.mapping.explode,
        visits=0 if judged.gate == FAILED else left.visits,
        ids=left.ids,
        left=left.fingerprint,
        lookBack=history.look_back,
        upon=history.upon,
        until=left.until,
        dataBytes=result.data_bytes,
    )


def failure(judged: GateReport) -> list[str]:
    """Say which checks failed, a line each, and what stays."""
    failed = [finding for finding in judged.findings if finding.level == FAILED]
    lines = [f"batch {judged.batch}: failed its gate: {finding.describe()}" for finding in failed]
    if any(finding.check.name == REKEYED for finding in failed):
        lines.append(
            f"batch {judged.batch}: a change of an event's content changes its eventId, so the service would take "
            "delivered events as new: build it with the earlier mapping, or give --rekey to send them again"
        )
    if permitted := [finding.permission() for finding in failed if finding.check.name != REKEYED]:
        more = " ..." if len(permitted) > _MOST_PERMITTED else ""
        lines.append(
            f"batch {judged.batch}: if the batch is correct, a --thresholds file with these lines lets it pass: "
            f"{', '.join(permitted[:_MOST_PERMITTED])}{more}"
        )
    if judged.kept is not None:
        lines.append(
            f"batch {judged.batch}: keeps what run {judged.kept.runId} published ({judged.kept.gate}, "
            f"{judged.kept.events:,} events); put_events uses that"
        )
    return lines


def main(argv: Sequence[str]) -> int:
    """Run the job; see `--help`."""
    names = "read filtered candidates events quarantined duplicates sessions users requests anonymousSessions merged"
    counters: dict[str, Any] = {**dict.fromkeys(names.split(), 0), "reasons": {}, "gate": None, "kept": None}
    run = Run("build_events", counters, if_interrupted="nothing was published; run it again: it starts over")
    return run_job(run, parse_and_check, build, argv, Lake)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
