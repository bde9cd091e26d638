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
from jobs.building.counts import conserve, conserve_headers, count_rows, count_tables
from jobs.building.history import BatchState, BuildHistory, VisitRetention
from jobs.building.skew import warn_of_heavy_visitor
from jobs.lake.tables import VISITS_TABLE, Lake, bytes_of
from jobs.reading.csv_headers import files_with_header
from jobs.reading.sources import unreadable
from jobs.report.report_input import SessionLengths
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
        known: how many it had.
        left: what it leaves for the batches after it.
        lengths: of its sessions.
        given: events whose eventId, or sessionId, the log gave; of each that the mapping gives. None where the run only
            adds to the batch, since nobody knows it of the events that were there.
        repeated: the eventId that most of its duplicates bear; None where it has none.
        data_bytes: of the files that it wrote, by table.
    """

    events: DataFrame
    quarantine: DataFrame
    counters: dict[str, Any]
    known: int
    left: BatchState
    lengths: SessionLengths
    given: dict[str, int]
    repeated: RepeatedKey | None
    data_bytes: dict[str, int]


def build_rows(
    records: DataFrame, build_config: BuildConfig, run_output: RunOutput, history: BuildHistory
) -> BuildResult:
    """Write and count a run's rows.

    Args:
        records: what `read_records` or `read_again` gives.
        build_config: how they become rows.
        run_output: where they go.
        history: what earlier publications know. Events that the batch has already are written along, as they are.

    Raises:
        ConfigurationError: an input file cannot be read.
    """
    lake, itself = run_output.lake, history.itself
    warn_of_heavy_visitor(records, build_config.mapping)
    events, visits = history.events(lake), history.visits(lake)
    judged = judged_candidates(records, build_config, events, visits)
    judged.persist(StorageLevel.DISK_ONLY)  # read four times after one shuffle; memory is for the sorting
    known = itself.events if itself else 0
    its_events = lake.published_events([itself], EVENTS) if itself and known else None
    try:
        counted = count_rows(judged, its_events, given_sessions="sessionId" in build_config.mapping.event)
        tell_headers(counted.headers, files_with_header(records))
        write_tables(judged, run_output, its_events)
        events, quarantine = written(run_output)
        counters = counted.counters | count_tables(events, quarantine)
        counters |= {name: counters[name] - known for name in ("candidates", "events")}
        conserve(counters)
        carried = update_visits(judged, visits, run_output.batch)
        kept = history.kept(counted.newest, build_config.limits)
        left, left_visits = write_visits(carried, run_output, kept, history.ids(counted.ids))
        repeated = find_repeated(judged) if counters["duplicates"] else None
    except BaseException as error:
        if found := lake.explain(error) or unreadable(error):
            raise found from None
        raise
    finally:
        with suppress(Exception):  # the JVM may be gone; what ended the build is what the reader must see
            judged.unpersist()
    tables = {"events": events, "quarantine": quarantine, VISITS_TABLE: left_visits}
    sizes = {table: bytes_of(rows) for table, rows in tables.items()}
    given = {} if known else counted.given
    return BuildResult(events, quarantine, counters, known, left, counted.lengths, given, repeated, sizes)


def tell_headers(headers: int, files: int) -> None:
    """Say how many lines were headers: every file has one, and files that were joined have more.

    Raises:
        RuntimeError: a file's header went another way.
    """
    repeated = conserve_headers(headers, files)
    if files:
        log.info("--input: the header lines of %d files are not records", files)
    if repeated:
        log.warning("--input: %d more lines repeat their file's header: they are not records either", repeated)


def judged_candidates(
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
    candidates = map_candidates(select_records(records, mapping), mapping)
    settled = pack_candidates(judge_candidates(candidates, RuleContext(build_config.as_of + FUTURE_TOLERANCE)), mapping)
    if "eventId" in mapping.event:
        return cut_sessions(drop_repeats_by_given_id(settled, known), build_config.limits, visits)
    given = "sessionId" in mapping.event
    earlier = earlier_events(known, given_sessions=given) if known is not None else None
    return cut_sessions(settled, build_config.limits, visits, earlier)


def write_tables(judged: DataFrame, run_output: RunOutput, known: DataFrame | None) -> None:
    """Write the run's rows of `events` and `quarantine`, where nobody reads yet; events that the batch has, along."""
    events = events_of(judged)
    (events if known is None else events.unionByName(known)).write.parquet(run_output.folder("events"))
    refused = judged.where(F.col(REFUSAL).isNotNull()).select(f"{REFUSAL}.*")
    at = F.col(AT) if AT in refused.columns else F.lit(None)
    tried = F.coalesce(F.col(ATTEMPTS), F.lit(1)) if ATTEMPTS in refused.columns else F.lit(0)
    quarantine = refused.select(
        stage(F.col(BROKEN)).alias("stage"),
        reasons(F.col(BROKEN)).alias("reasons"),
        F.col(RAW).alias("record"),
        "sourceFile",
        F.lit(rule_set()).alias("ruleSet"),
        at.cast("int").alias("element"),
        (tried + 1).cast("int").alias("attempts"),
        (F.col(RENDERED) if RENDERED in refused.columns else F.lit(False)).alias("rendered"),
    )
    quarantine.write.parquet(run_output.folder("quarantine"))


def find_repeated(judged: DataFrame) -> RepeatedKey:
    """Find the eventId that most of the run's duplicates bear: they are written nowhere, and gone with the rows."""
    row = most_repeated(judged.where(F.col(FATE) == Fate.DUPLICATE)).collect()[0]
    return RepeatedKey(row["hash"], row["rows"])


def write_visits(
    visits: DataFrame, run_output: RunOutput, kept: VisitRetention, ids: int
) -> tuple[BatchState, DataFrame]:
    """Write what the batch leaves for those after it, where nobody reads yet, and read it back."""
    folder = run_output.folder(VISITS_TABLE)
    visits.where(kept.condition).write.parquet(folder)
    rows = run_output.lake.rows(folder, VISITS)
    row = fingerprint(rows).collect()[0]
    return BatchState(row["visits"], ids, f"{ids:x}/{row['visits']}/{row['digest']}", kept.until), rows


def written(run_output: RunOutput) -> tuple[DataFrame, DataFrame]:
    """Read back a run's rows of `events` and `quarantine`."""
    events = run_output.lake.rows(run_output.folder("events"), EVENTS)
    return events, run_output.lake.rows(run_output.folder("quarantine"), QUARANTINE)
