"""Builds a batch's rows: gives every record its fate, then writes and counts the rows in the run's own folders."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from expectations.facts import RepeatedKey, most_repeated
from expectations.rules import RuleContext
from expectations.verdict import judge_candidates, reasons, rule_set, stage
from jobs.building.counts import check_conservation, count_repeated_headers, count_rows, count_tables
from jobs.building.history import BatchState, BuildHistory, VisitRetention
from jobs.building.skew import warn_of_heavy_visitor
from jobs.cli.stages import StageDisplay
from jobs.lake.tables import VISITS_TABLE, Lake
from jobs.reading.headers import files_with_header
from jobs.reading.read_faults import explain_unreadable_input
from jobs.report.report_input import SessionLengths
from jobs.spark_internals.catalyst import CatalystExpressions, input_bytes
from transforms.candidates import events_of, map_candidates, pack_candidates
from transforms.columns import AT, ATTEMPTS, BROKEN, FATE, HEADER_TEXT, RAW, REFUSAL, RENDERED, Fate
from transforms.duplicates import drop_repeats_by_given_id, earlier_events
from transforms.mapping.model import EventMapping
from transforms.records import select_records
from transforms.schemas import EVENTS, QUARANTINE, VISITS
from transforms.sessions import SessionLimits, cut_sessions, fingerprint, update_visits

log = logging.getLogger(__name__)

FUTURE_TOLERANCE: Final = timedelta(hours=24)
"""How far after --as-of sentAt may be: visitors' clocks and time zones can differ from ours."""


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """How records become rows.

    Attributes:
        mapping: how a record becomes events.
        limits: where sessions end.
        as_of: the run's time, aware.
    """

    mapping: EventMapping
    limits: SessionLimits
    as_of: datetime


@dataclass(frozen=True, slots=True)
class RunOutput:
    """The folders that only this run writes.

    Attributes:
        lake: the tables.
        batch: the label.
        runId: part of the folders' names.
    """

    lake: Lake
    batch: str
    runId: str

    def folder(self, table: str) -> str:
        """Name the run's folder of a table."""
        return self.lake.folder(table, self.batch, f"runId={self.runId}")


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The rows that a run has written, and their counts.

    Attributes:
        events: the run's rows of `events`.
        quarantine: the run's rows of `quarantine`.
        counters: the summary's; `events` counts those that the batch did not have before.
        known_events: how many events the batch had before.
        state: what the batch leaves for later batches.
        lengths: how long its sessions are.
        given_ids: for eventId and sessionId, if the mapping gives them: how many events have one from the log. Empty if
            the run only adds to the batch, because it is unknown for the earlier events.
        repeated: the most frequent eventId of its duplicates; None without duplicates.
        data_bytes: bytes of the files that the run wrote, by table.
    """

    events: DataFrame
    quarantine: DataFrame
    counters: dict[str, Any]
    known_events: int
    state: BatchState
    lengths: SessionLengths
    given_ids: dict[str, int]
    repeated: RepeatedKey | None
    data_bytes: dict[str, int]


def build_rows(
    records: DataFrame,
    build_config: BuildConfig,
    run_output: RunOutput,
    history: BuildHistory,
    stages: StageDisplay,
) -> BuildResult:
    """Write and count a run's rows.

    Args:
        records: what `read_records` or `read_again` gives.
        build_config: how they become rows.
        run_output: where they are written.
        history: the earlier publications. Events that the batch already has are written again, unchanged.
        stages: shows the current stage.

    Raises:
        ConfigurationError: an input file cannot be read.
    """
    lake, own = run_output.lake, history.own
    stages.begin("checking")
    warn_of_heavy_visitor(records, build_config.mapping)
    events, visits = history.events(lake), history.visits(lake)
    candidates = judge_records(records, build_config, events, visits)
    candidates.persist(StorageLevel.DISK_ONLY)  # read four times after one shuffle; the sorting needs the memory
    known_events = own.events if own else 0
    own_events = lake.published_events([own]) if own and known_events else None
    try:
        build_counts = count_rows(candidates, own_events, given_sessions="sessionId" in build_config.mapping.event)
        read, candidate_count = (build_counts.counters[name] for name in ("read", "candidates"))
        stages.begin("writing events", f"{candidate_count:,} candidates" if read is None else f"{read:,} records")
        log_headers(build_counts.headers, files_with_header(records))
        if read == 0:
            log.warning("--input: there is no record in it")
        write_tables(candidates, run_output, own_events)
        events, quarantine = read_tables(run_output)
        counters = build_counts.counters | count_tables(events, quarantine)
        counters |= {name: counters[name] - known_events for name in ("candidates", "events")}
        check_conservation(counters)
        updated_visits = update_visits(candidates, visits, run_output.batch)
        retention = history.find_retention(build_counts.newest, build_config.limits)
        state, visit_rows = write_visits(updated_visits, run_output, retention, history.ids(build_counts.ids))
        repeated = find_most_repeated(candidates) if counters["duplicates"] else None
    except BaseException as error:
        found = lake.explain(error)
        if found is None and isinstance(error, Exception):
            found = explain_unreadable_input(error, records.sparkSession, build_config.mapping.source, lake.root)
        if found is not None:
            raise found from None
        raise
    finally:
        with suppress(Exception):  # the JVM may be gone; the error that ended the build must be reported
            candidates.unpersist()
    tables = {"events": events, "quarantine": quarantine, VISITS_TABLE: visit_rows}
    data_bytes = {table: input_bytes(rows) for table, rows in tables.items()}
    given_ids = {} if known_events else build_counts.given_ids
    return BuildResult(
        events, quarantine, counters, known_events, state, build_counts.lengths, given_ids, repeated, data_bytes
    )


def log_headers(headers: int, files: int) -> None:
    """Log how many lines were headers. Every file has one; concatenated files have more.

    Raises:
        RuntimeError: the header of a file was not found.
    """
    repeated = count_repeated_headers(headers, files)
    if files:
        log.info("--input: the header lines of %d files are not records", files)
    if repeated:
        log.warning("--input: %d more lines repeat their file's header: they are not records either", repeated)


def judge_records(
    records: DataFrame, build_config: BuildConfig, known: DataFrame | None = None, visits: DataFrame | None = None
) -> DataFrame:
    """Give every record its fate, and every valid candidate its session.

    Args:
        records: what `read_records` or `read_again` gives.
        build_config: how they become rows.
        known: events of the lake; a candidate that repeats one becomes a duplicate.
        visits: visits of earlier batches.
    """
    mapping = build_config.mapping
    expressions = CatalystExpressions(records.sparkSession)
    candidates = map_candidates(select_records(records, mapping, expressions), mapping, expressions)
    verdicts = judge_candidates(candidates, RuleContext(build_config.as_of + FUTURE_TOLERANCE))
    packed = pack_candidates(verdicts, mapping, expressions)
    if "eventId" in mapping.event:
        return cut_sessions(drop_repeats_by_given_id(packed, known), build_config.limits, visits)
    gives_sessions = "sessionId" in mapping.event
    earlier = earlier_events(known, given_sessions=gives_sessions) if known is not None else None
    return cut_sessions(packed, build_config.limits, visits, earlier)


def write_tables(candidates: DataFrame, run_output: RunOutput, known: DataFrame | None) -> None:
    """Write the run's rows of `events`, with those that the batch already has, and of `quarantine`, in its folders."""
    events = events_of(candidates)
    (events if known is None else events.unionByName(known)).write.parquet(run_output.folder("events"))
    refused = candidates.where(F.col(REFUSAL).isNotNull()).select(f"{REFUSAL}.*")
    at = F.col(AT) if AT in refused.columns else F.lit(None)
    attempts = F.coalesce(F.col(ATTEMPTS), F.lit(1)) if ATTEMPTS in refused.columns else F.lit(0)
    quarantine = refused.select(
        stage(F.col(BROKEN)).alias("stage"),
        reasons(F.col(BROKEN)).alias("reasons"),
        F.col(RAW).alias("record"),
        "sourceFile",
        F.lit(rule_set()).alias("ruleSet"),
        at.cast("int").alias("element"),
        (attempts + 1).cast("int").alias("attempts"),
        (F.col(RENDERED) if RENDERED in refused.columns else F.lit(False)).alias("rendered"),
        (F.col(HEADER_TEXT) if HEADER_TEXT in refused.columns else F.lit(None).cast("string")).alias("header"),
    )
    quarantine.write.parquet(run_output.folder("quarantine"))


def find_most_repeated(candidates: DataFrame) -> RepeatedKey:
    """Find the most frequent eventId of the run's duplicates. Duplicates are not written, so it is not found later."""
    row = most_repeated(candidates.where(F.col(FATE) == Fate.DUPLICATE)).collect()[0]
    return RepeatedKey(row["hash"], row["rows"])


def write_visits(
    visits: DataFrame, run_output: RunOutput, retention: VisitRetention, ids: int
) -> tuple[BatchState, DataFrame]:
    """Write the visits that the batch leaves for later batches in the run's own folder, and read them back."""
    folder = run_output.folder(VISITS_TABLE)
    visits.where(retention.condition).write.parquet(folder)
    rows = run_output.lake.rows(folder, VISITS)
    row = fingerprint(rows).collect()[0]
    return BatchState(row["visits"], ids, f"{ids:x}/{row['visits']}/{row['digest']}", retention.until), rows


def read_tables(run_output: RunOutput) -> tuple[DataFrame, DataFrame]:
    """Read the run's rows of `events` and `quarantine` from its files."""
    events = run_output.lake.rows(run_output.folder("events"), EVENTS)
    return events, run_output.lake.rows(run_output.folder("quarantine"), QUARANTINE)
