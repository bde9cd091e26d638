"""A batch's rows: every record's fate, written and counted where nobody reads yet."""

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
from jobs.reading.csv_headers import files_with_header
from jobs.reading.read_faults import explain_unreadable_input
from jobs.report.report_input import SessionLengths
from jobs.spark_internals.catalyst import CatalystExpressions, input_bytes
from transforms.candidates import events_of, map_candidates, pack_candidates
from transforms.columns import AT, ATTEMPTS, BROKEN, FATE, RAW, REFUSAL, RENDERED, Fate
from transforms.duplicates import drop_repeats_by_given_id, earlier_events
from transforms.mapping.model import EventMapping
from transforms.records import select_records
from transforms.schemas import EVENTS, QUARANTINE, VISITS
from transforms.sessions import SessionLimits, cut_sessions, fingerprint, update_visits

log = logging.getLogger(__name__)

FUTURE_TOLERANCE: Final = timedelta(hours=24)
"""How far after --as-of an event may be sent: visitors' clocks and time zones are not ours."""


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """How records become rows.

    Attributes:
        mapping: says what of a record is which field.
        limits: where sessions end.
        as_of: the run's time, aware.
    """

    mapping: EventMapping
    limits: SessionLimits
    as_of: datetime


@dataclass(frozen=True, slots=True)
class RunOutput:
    """Where a run writes, and nobody else.

    Attributes:
        lake: the tables.
        batch: the label.
        runId: names the folders.
    """

    lake: Lake
    batch: str
    runId: str

    def folder(self, table: str) -> str:
        """Name the run's folder of a table."""
        return self.lake.folder(table, self.batch, f"runId={self.runId}")


@dataclass(frozen=True, slots=True)
class BuildResult:
    """The rows that a run has written.

    Attributes:
        events: its rows of the table.
        quarantine: its rows of the table.
        counters: of the summary; `events` are those that the batch did not have before.
        known_events: how many it had.
        state: what it leaves for the batches after it.
        lengths: of its sessions.
        given_ids: events whose eventId, or sessionId, the log gave; of each that the mapping gives. None where the run
            only adds to the batch, since nobody knows it of the events that were there.
        repeated: the eventId that most of its duplicates bear; None where it has none.
        data_bytes: of the files that it wrote, by table.
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
        run_output: where they go.
        history: what earlier publications know. Events that the batch has already are written along, as they are.
        stages: is told what is done.

    Raises:
        ConfigurationError: an input file cannot be read.
    """
    lake, own = run_output.lake, history.own
    stages.begin("checking")
    warn_of_heavy_visitor(records, build_config.mapping)
    events, visits = history.events(lake), history.visits(lake)
    candidates = judge_records(records, build_config, events, visits)
    candidates.persist(StorageLevel.DISK_ONLY)  # read four times after one shuffle; memory is for the sorting
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
        with suppress(Exception):  # the JVM may be gone; what ended the build is what the reader must see
            candidates.unpersist()
    tables = {"events": events, "quarantine": quarantine, VISITS_TABLE: visit_rows}
    data_bytes = {table: input_bytes(rows) for table, rows in tables.items()}
    given_ids = {} if known_events else build_counts.given_ids
    return BuildResult(
        events, quarantine, counters, known_events, state, build_counts.lengths, given_ids, repeated, data_bytes
    )


def log_headers(headers: int, files: int) -> None:
    """Say how many lines were headers: every file has one, and files that were joined have more.

    Raises:
        RuntimeError: a file's header went another way.
    """
    repeated = count_repeated_headers(headers, files)
    if files:
        log.info("--input: the header lines of %d files are not records", files)
    if repeated:
        log.warning("--input: %d more lines repeat their file's header: they are not records either", repeated)


def judge_records(
    records: DataFrame, build_config: BuildConfig, known: DataFrame | None = None, visits: DataFrame | None = None
) -> DataFrame:
    """Give every record its fate: what `pack_candidates` and `cut_sessions` give.

    Args:
        records: what `read_records` or `read_again` gives.
        build_config: how they become rows.
        known: events that are there already, of which none is to be had twice.
        visits: those that are known already.
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
    """Write the run's rows of `events` and `quarantine`, where nobody reads yet; events that the batch has, along."""
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
    )
    quarantine.write.parquet(run_output.folder("quarantine"))


def find_most_repeated(candidates: DataFrame) -> RepeatedKey:
    """Find the eventId that most of the run's duplicates bear: they are written nowhere, and gone with the rows."""
    row = most_repeated(candidates.where(F.col(FATE) == Fate.DUPLICATE)).collect()[0]
    return RepeatedKey(row["hash"], row["rows"])


def write_visits(
    visits: DataFrame, run_output: RunOutput, retention: VisitRetention, ids: int
) -> tuple[BatchState, DataFrame]:
    """Write what the batch leaves for those after it, where nobody reads yet, and read it back."""
    folder = run_output.folder(VISITS_TABLE)
    visits.where(retention.condition).write.parquet(folder)
    rows = run_output.lake.rows(folder, VISITS)
    row = fingerprint(rows).collect()[0]
    return BatchState(row["visits"], ids, f"{ids:x}/{row['visits']}/{row['digest']}", retention.until), rows


def read_tables(run_output: RunOutput) -> tuple[DataFrame, DataFrame]:
    """Read back a run's rows of `events` and `quarantine`."""
    events = run_output.lake.rows(run_output.folder("events"), EVENTS)
    return events, run_output.lake.rows(run_output.folder("quarantine"), QUARANTINE)
