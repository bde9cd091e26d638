"""Raw clickstream logs to validated, sessionised event rows: `spark-submit jobs/build_events.py --help`."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

if __name__ == "__main__":
    try:
        from jobs.cli.preflight import run_preflight
    except ImportError:  # nothing of ours is there: the script itself says so
        error = "the driver's Python lacks jobs: --py-files clickstream_events.zip brings jobs, pip the rest"
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - no module of ours can be imported
        print(json.dumps({"job": "build_events", "batch": None, "exitCode": 2, "error": error}))  # noqa: T201 - as above
        sys.exit(2)
    run_preflight("build_events", ["great_expectations"], "nothing was published; run it again: it starts over")

from datetime import UTC, datetime
from functools import partial

from pyspark.sql import DataFrame, SparkSession

from expectations.gate import FAILED
from expectations.interval import Interval
from expectations.page import OVERRULED, GateReport
from expectations.thresholds import Thresholds
from jobs.building.batch_rows import BuildConfig, BuildResult, RunOutput, build_rows
from jobs.building.counts import check_retried, count_attempts, count_whole_batch
from jobs.building.event_timeline import find_event_timeline
from jobs.building.history import BuildHistory, check_history, find_history, warn_of_changed
from jobs.building.preview import SAMPLE, count_rows, describe_rows, take_rows
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
from jobs.cli.arguments import (
    JobParser,
    batch_label,
    batches,
    check_not_blank,
    duration,
    interval,
    lake_root,
    moment,
    rows,
)
from jobs.cli.run import Run, run_job, run_without_lake
from jobs.cli.stages import StageDisplay, count_spark_tasks
from jobs.cli.terminal import find_terminal, write_lines
from jobs.errors import ConfigurationError, Exit, GateFailedError, all_or_faults
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake
from jobs.locking.claims import batch_lock
from jobs.locking.locks import Lock, hold_lock
from jobs.reading.mappings import check_mapping_file, checked_mapping, find_mapping
from jobs.reading.read_faults import UnreadableTimeError
from jobs.reading.sources import read_again, read_record, read_records
from jobs.report.data_docs import DataDocs
from transforms.mapping.model import EventMapping
from transforms.sessions import SessionLimits

_PREVIEWS: Final = ("--preview", "--explain-record")
_MOST_PERMITTED: Final = 5
"""How many checks an error says how to permit: a batch that fails more has another fault."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, checked.

    Attributes:
        input: paths or globs of the batch's raw logs; empty if its quarantine is retried instead.
        mapping: name or path of the mapping.
        lake: root folder or URI of the tables.
        batch: the batch's label.
        limits: where sessions end.
        look_back: how many earlier batches are searched for repeated events.
        thresholds: path of the gate's thresholds; None for the defaults.
        lenient: whether a batch that fails its gate passes with a mark.
        as_of: the run's time, aware.
        interval: the batch's interval; None to take it from its label or its last publication.
        allow_empty: whether the batch may be empty.
        rekey: whether delivered events may get other eventIds.
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
    interval: Interval | None
    allow_empty: bool
    rekey: bool


@dataclass(frozen=True, slots=True)
class PreviewArguments:
    """The command line of a preview, checked.

    Attributes:
        input: paths or globs of raw logs; none where a text is explained.
        text: the record that is explained; None where logs are looked at.
        mapping: name or path of the mapping.
        rows: how many rows are shown.
        as_of: the run's time, aware.
        batch: none.
    """

    input: tuple[str, ...]
    text: str | None
    mapping: str
    rows: int
    as_of: datetime
    batch: None = None


def is_preview(argv: Sequence[str]) -> bool:
    """Tell whether a command line asks for a look at records, without a lake."""
    return any(word.partition("=")[0] in _PREVIEWS for word in argv)


def parse(argv: Sequence[str]) -> Arguments:
    """Read the command line.

    Raises:
        ConfigurationError: it is not right.
    """
    options = make_parser(needs_lake=True).parse_args(argv)
    return Arguments(
        input=tuple(options.input),
        mapping=options.mapping,
        lake=options.lake,
        batch=options.batch,
        limits=SessionLimits(options.session_gap, options.max_session),
        look_back=options.look_back,
        thresholds=options.thresholds,
        lenient=options.on_gate_failure == "warn",
        as_of=options.as_of or datetime.now(UTC),
        interval=options.interval,
        allow_empty=options.allow_empty,
        rekey=options.rekey,
    )


def parse_preview(argv: Sequence[str]) -> PreviewArguments:
    """Read the command line of a preview; see that the mapping is there.

    Raises:
        ConfigurationError: it is not right.
    """
    options = make_parser(needs_lake=False).parse_args(argv)
    if options.retry_quarantine:
        raise ConfigurationError("build_events: --preview looks at --input, not at a quarantine")
    check_mapping_file(options.mapping)
    return PreviewArguments(
        input=tuple(options.input),
        text=options.explain_record,
        mapping=options.mapping,
        rows=options.preview or 1,
        as_of=options.as_of or datetime.now(UTC),
    )


def make_parser(*, needs_lake: bool) -> JobParser:
    """Describe the command line; a preview needs neither lake nor batch."""
    parser = JobParser("build_events", description="Raw clickstream logs to event rows.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input", nargs="+", type=check_not_blank, default=(), metavar="PATH_OR_GLOB", help="the batch's raw logs"
    )
    source.add_argument(
        "--retry-quarantine",
        action="store_true",
        help="process the batch's quarantine again, e.g. with a corrected mapping",
    )
    source.add_argument(
        "--explain-record", metavar="TEXT", help="show what becomes of this one record; writes nothing, needs no --lake"
    )
    parser.add_argument(
        "--preview",
        type=rows,
        metavar="N",
        help="show what becomes of the first N records; writes nothing, needs no --lake and --batch",
    )
    parser.add_argument(
        "--mapping", required=True, type=check_not_blank, metavar="NAME_OR_FILE", help="how a record becomes events"
    )
    parser.add_argument("--lake", required=needs_lake, type=lake_root, metavar="ROOT", help="root of the tables")
    parser.add_argument("--batch", required=needs_lake, type=batch_label, metavar="LABEL", help="e.g. 2024-01-02")
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
        "--thresholds",
        type=check_not_blank,
        metavar="FILE",
        help="the gate's thresholds (docs/rules.md lists the defaults)",
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
    return parser


def parse_and_check(argv: Sequence[str]) -> Arguments:
    """Read the command line, and check that its files exist, before Spark is started.

    Raises:
        ConfigurationError: the command line is wrong, or a file is missing.
    """
    arguments = parse(argv)
    all_or_faults(lambda: check_mapping_file(arguments.mapping), lambda: check_thresholds_file(arguments.thresholds))
    return arguments


def build(spark: SparkSession, lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Check the configuration, then build the batch: read, map, judge, cut sessions, write, gate, publish."""
    load_great_expectations()
    # This holds until the run publishes: a run that ends before reports what the batch still is.
    run.counters["kept"] = _find_passed_run(lake.manifests.publications(arguments.batch).current)
    with run.interruption.cancelling(lambda: run.if_interrupted):
        mapping, thresholds = read_user_files(spark, arguments.mapping, arguments.thresholds)
        build_config = BuildConfig(mapping, arguments.limits, arguments.as_of)
        gate = Gate(
            allow_rekeying(thresholds) if arguments.rekey else thresholds, arguments.lenient, arguments.allow_empty
        )
        spec = BatchSpec(arguments.batch, arguments.input, arguments.interval, arguments.look_back)
        lake.prepare(spec.batch)
        docs = DataDocs(lake)
        locking = hold_lock(lake.files, lake.root, batch_lock(spec.batch), run.runId)
        # No parentheses around these two: an old Python must parse this file, to reach the check of its version.
        with locking as lock, StageDisplay(find_terminal(), partial(count_spark_tasks, spark)) as stages:
            gate_report = build_and_publish(BuildContext(spark, lake, run, spec, build_config, gate, lock, stages))
            if gate_report is None:
                return Exit.DONE
            run.if_interrupted = (
                f"the build had ended by then, its gate {gate_report.gate}: all that may be missing is its page"
            )
            log_warnings(gate_report)
            warn_of_changed(lake.manifests, spec.batch)
            docs.show(gate_report, run.report.file_name(run.job, run.runId))
    if gate_report.gate == FAILED:
        raise GateFailedError(
            *describe_failure(gate_report), f"{docs.page(gate_report.batch)} shows why; correct it, build it again"
        )
    return Exit.DONE


def preview(spark: SparkSession, arguments: PreviewArguments, run: Run) -> Exit:
    """Show what becomes of the first records of a log, or of one; write nothing."""
    with run.interruption.cancelling(lambda: run.if_interrupted):
        mapping = checked_mapping(find_mapping(arguments.mapping, spark), spark)
        if arguments.text is None:
            records = read_records(spark, arguments.input, mapping)
        else:
            records = read_record(spark, arguments.text, mapping)
        sample = take_rows(records, mapping, arguments.as_of, max(SAMPLE, arguments.rows))
    write_lines(sys.stdout, *describe_rows(sample, arguments.rows))
    run.counters.update(count_rows(sample))
    return Exit.DONE


def _find_passed_run(current: Manifest | None) -> str | None:
    return current.runId if current is not None and current.gate != FAILED else None


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """The batch to build, and its input.

    Attributes:
        batch: the label.
        input: paths or globs of its raw logs; empty if its quarantine is retried.
        interval: its interval; None to take it from its label or its last publication.
        look_back: how many earlier batches are searched for repeated events.
    """

    batch: str
    input: tuple[str, ...]
    interval: Interval | None
    look_back: int


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a build works with.

    Attributes:
        spark: the session.
        lake: the tables.
        run: takes the counters and the report.
        spec: the batch.
        build_config: how records become rows.
        gate: how the batch is judged.
        lock: the lock on the batch.
        stages: shows the current stage.
    """

    spark: SparkSession
    lake: Lake
    run: Run
    spec: BatchSpec
    build_config: BuildConfig
    gate: Gate
    lock: Lock
    stages: StageDisplay


def build_and_publish(context: BuildContext) -> GateReport | None:
    """Build the batch, and publish it, or note that it failed its gate.

    Returns:
        The gate's report; None if there is no quarantine to retry.
    """
    lake, run, build_config = context.lake, context.run, context.build_config
    batch, look_back = context.spec.batch, context.spec.look_back
    stages = context.stages
    run.interruption.check(run.if_interrupted)  # waiting for the lock may have taken long
    version, found = lake.manifests.next_version(batch), lake.manifests.publications(batch)
    current = found.current if found.current is not None and found.current.gate != FAILED else None
    before = None if context.spec.input else find_retriable(lake, found.current, batch, build_config)
    if before is not None and not before.quarantined:
        run.counters.update(gate=before.gate, kept=None)
        return None
    run_output = RunOutput(lake, batch, run.runId)
    interval = context.spec.interval or published_interval(found.current)
    order = lake.manifests.order().with_batch(batch, interval)
    history = find_history(lake.manifests, order, batch, look_back, before)
    with lake.unpublished(batch, run.runId, found.newest, history.others):
        stages.begin("reading")
        records = take_records(context, before)
        try:
            result = build_rows(records, build_config, run_output, history, stages)
        except UnreadableTimeError:  # nothing is written before all is read once
            if before is not None:
                raise
            log.warning(
                "--input: times in it lie beyond all that Spark can read: those in columns that the mapping does not "
                "name are numbers in _raw and in quarantine, as the files have them"
            )
            records = read_records(context.spark, context.spec.input, build_config.mapping, times_as_numbers=True)
            result = build_rows(records, build_config, run_output, history, stages)
        run.counters.update(result.counters)
        if before is not None:
            check_retried(result.counters, before.quarantined)
            run.counters["attempts"] = count_attempts(result.quarantine)
        stages.begin("gate", f"{result.counters['events']:,} events")
        earlier = lake.manifests.alike_before(order, batch, context.gate.thresholds.settings.batches)
        gate_report = judge_rows(result, history, context, current, earlier)
        run.counters.update(gate=gate_report.gate, merged=gate_report.counts["merged"])
        run.report.gate_report, run.report.lengths = gate_report, result.lengths
        run.report.event_timeline = run.report.find_for_page(
            lambda: find_event_timeline(result.events, gate_report, history.interval)
        )
        if before is not None and gate_report.gate == FAILED:
            raise GateFailedError(*describe_failure(gate_report), f"batch {gate_report.batch}: was not changed")
        stages.begin("publishing")
        check_history(lake.manifests, history)
        context.lock.confirm()
        run.interruption.check(run.if_interrupted)
        manifest = make_manifest(gate_report, version, build_config, result, history)
        times = (interval.start.isoformat(), interval.end.isoformat()) if interval is not None else None
        lake.publish(replace(manifest, interval=times))
        run.counters["kept"] = gate_report.kept.runId if gate_report.kept else None
    return gate_report


def published_interval(published: Manifest | None) -> Interval | None:
    """Find the interval that the batch was given before. It stays if the batch is built again without one."""
    if published is None or published.interval is None:
        return None
    return Interval(*map(datetime.fromisoformat, published.interval))


def read_user_files(spark: SparkSession, mapping: str, thresholds: str | None) -> tuple[EventMapping, Thresholds]:
    """Read and check the files that the user has written.

    Raises:
        ConfigurationError: every fault of mapping and thresholds, a line each.
    """
    return all_or_faults(
        lambda: checked_mapping(find_mapping(mapping, spark), spark), lambda: find_thresholds(thresholds, spark)
    )


def find_retriable(lake: Lake, manifest: Manifest | None, batch: str, build_config: BuildConfig) -> Manifest:
    """Check that a batch's quarantine can be retried.

    Raises:
        ConfigurationError: it was never built, its events were not kept, or the indexes of its exploded elements refer
            to other elements now.
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
        candidates = lake.published_quarantine(manifest).where("stage = 'validate'")
        if not candidates.isEmpty():
            raise ConfigurationError(
                f"batch {batch}: [record] explode has changed since it was built, so the refused elements cannot "
                "be found again: build all of it again, from its --input"
            )
    return manifest


def take_records(context: BuildContext, before: Manifest | None) -> DataFrame:
    """Read the records to build: new input, or the batch's quarantine."""
    mapping = context.build_config.mapping
    if before is None:
        return read_records(context.spark, context.spec.input, mapping)
    return read_again(context.spark, context.lake.published_quarantine(before), mapping)


def judge_rows(
    result: BuildResult,
    history: BuildHistory,
    context: BuildContext,
    current: Manifest | None,
    earlier: Sequence[Manifest],
) -> GateReport:
    """Judge the whole batch by the gate.

    Args:
        result: its rows.
        history: the publications that they depend on.
        context: what the build works with.
        current: the batch's publication that passed; None if there is none.
        earlier: earlier batches with an interval of about the same length.
    """
    before, gate, build_config = history.own, context.gate, context.build_config
    counters = count_whole_batch(result.counters, result.known_events, before)
    # A run that only adds to the batch changes no delivered event.
    redelivery = compare_with_delivered(context.lake, current, result.events) if before is None else DeliveredChanges()
    batch = JudgedBatch(
        history.batch, history.interval, result, counters, build_config, earlier_batches(earlier), current, redelivery
    )
    numbers = count_batch(batch, gate.thresholds.settings)
    findings = evaluate_batch(batch, numbers, gate)
    return report_batch(batch, numbers, findings, gate.decide(findings), context.run.runId)


def log_warnings(gate_report: GateReport) -> None:
    """Log the warnings. The failures are reported when the job ends."""
    for finding in gate_report.unusual():
        if gate_report.gate != FAILED or finding.level != FAILED:
            log.warning("batch %s: %s", gate_report.batch, finding.describe())
    if gate_report.overruled:
        log.warning("batch %s: %s", gate_report.batch, OVERRULED)


def make_manifest(
    gate_report: GateReport, version: int, build_config: BuildConfig, result: BuildResult, history: BuildHistory
) -> Manifest:
    """Make the manifest. A batch that failed its gate keeps no events."""
    counts, state = gate_report.counts, result.state
    records = count_whole_batch(result.counters, result.known_events, history.own)
    return Manifest(
        batch=gate_report.batch,
        version=version,
        runId=gate_report.runId,
        gate=gate_report.gate,
        events=0 if gate_report.gate == FAILED else counts["events"],
        quarantined=counts["quarantined"],
        duplicates=counts["duplicates"],
        read=records["read"],
        filtered=records["filtered"],
        profile=dict(gate_report.profile),
        warnings=gate_report.warnings(),
        explode=build_config.mapping.explode,
        visits=0 if gate_report.gate == FAILED else state.visits,
        ids=state.ids,
        left=state.fingerprint,
        lookBack=history.look_back,
        upon=history.built_on,
        until=state.until,
        dataBytes=result.data_bytes,
    )


def describe_failure(gate_report: GateReport) -> list[str]:
    """Describe the failed checks in one line each, and what the batch keeps."""
    failed = [finding for finding in gate_report.findings if finding.level == FAILED]
    lines = [f"batch {gate_report.batch}: failed its gate: {finding.describe()}" for finding in failed]
    if any(finding.check.name == REKEYED for finding in failed):
        lines.append(
            f"batch {gate_report.batch}: a change of an event's content changes its eventId, so the service would "
            "take delivered events as new: build it with the earlier mapping, or give --rekey to send them again"
        )
    if permitted := [finding.write_permission() for finding in failed if finding.check.name != REKEYED]:
        more = " ..." if len(permitted) > _MOST_PERMITTED else ""
        lines.append(
            f"batch {gate_report.batch}: if the batch is correct, a --thresholds file with these lines lets it pass: "
            f"{', '.join(permitted[:_MOST_PERMITTED])}{more}"
        )
    if gate_report.kept is not None:
        lines.append(
            f"batch {gate_report.batch}: keeps what run {gate_report.kept.runId} published ({gate_report.kept.gate}, "
            f"{gate_report.kept.events:,} events); put_events uses that"
        )
    return lines


def main(argv: Sequence[str]) -> int:
    """Run the job; see `--help`."""
    names = "read filtered candidates events quarantined duplicates sessions users requests anonymousSessions merged"
    counters: dict[str, Any] = {**dict.fromkeys(names.split(), 0), "reasons": {}, "gate": None, "kept": None}
    if is_preview(argv):
        of_sample = dict.fromkeys(["read", "filtered", "candidates", "events", "quarantined", "duplicates"], 0)
        run = Run("build_events", {"preview": True, **of_sample, "reasons": {}})
        return run_without_lake(run, parse_preview, lambda spark, arguments: preview(spark, arguments, run), argv)
    run = Run("build_events", counters, if_interrupted="nothing was published; run it again: it starts over")
    return run_job(run, parse_and_check, build, argv, Lake)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
