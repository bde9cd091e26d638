"""A batch's rows: every record's fate, written and counted where nobody reads yet."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from expectations.rules import Judgement
from expectations.verdict import REASONS, STAGE, judge, rule_set
from jobs.counting import conserve, count_fates, count_tables
from jobs.lake import Lake
from jobs.sources import unreadable
from transforms.bookkeeping import AT, ATTEMPTS, FATE, FIRST, RAW, RENDERED, Fate
from transforms.candidates import map_candidates
from transforms.mapping import EventMapping
from transforms.records import select_records
from transforms.schemas import EVENTS, QUARANTINE
from transforms.sessions import cut_sessions, drop_repeats_by_given_id, mark_known

FUTURE_TOLERANCE: Final = timedelta(hours=24)
"""How far after --as-of an event may be sent: visitors' clocks and time zones are not ours."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How records become rows.

    Attributes:
        mapping: says what of a record is which field.
        session_gap: a pause strictly longer than this starts a new session.
        as_of: the run's time, aware.
    """

    mapping: EventMapping
    session_gap: timedelta
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Slot:
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
class Built:
    """The rows that a run has written.

    Attributes:
        events: its rows of the table.
        quarantine: its rows of the table.
        counters: of the summary; `events` are those that were not known before.
        known: how many events were.
    """

    events: DataFrame
    quarantine: DataFrame
    counters: dict[str, Any]
    known: int


def build_rows(records: DataFrame, recipe: Recipe, slot: Slot, known: DataFrame | None = None) -> Built:
    """Write and count a run's rows.

    Args:
        records: what `read_records` or `read_again` gives.
        recipe: how they become rows.
        slot: where they go.
        known: events that the batch has already; they are written along, as they are.

    Raises:
        ConfigurationError: an input file cannot be read.
    """
    judged = judged_candidates(records, recipe, known)
    judged.persist(StorageLevel.MEMORY_AND_DISK)  # counted, and written to two tables, after one shuffle
    try:
        counters = count_fates(judged)
        write_tables(judged, slot)
        events, quarantine = written(slot)
        counters |= count_tables(events, quarantine)
        kept = counters.pop("known")
        counters["events"] -= kept
        conserve(counters)
    except BaseException as error:
        if found := unreadable(error):
            raise found from None
        raise
    finally:
        with suppress(Exception):  # the JVM may be gone; what ended the build is what the reader must see
            judged.unpersist()
    return Built(events, quarantine, counters, kept)


def judged_candidates(records: DataFrame, recipe: Recipe, known: DataFrame | None = None) -> DataFrame:
    """Give every record its fate: the columns of `events` and `_fate`, `_first`, `_stage`, `_reasons`, `_raw`.

    Where the records have them, `_at`, `_attempts` and `_rendered` too.
    """
    mapping = recipe.mapping
    candidates = map_candidates(select_records(records, mapping), mapping)
    judged = judge(candidates, Judgement(recipe.as_of + FUTURE_TOLERANCE))
    if known is not None:
        judged = mark_known(judged, known, given_sessions="sessionId" in mapping.event)
    if "eventId" in mapping.event:
        judged = drop_repeats_by_given_id(judged)
    own = [name for name in (FATE, FIRST, STAGE, REASONS, RAW, AT, ATTEMPTS, RENDERED) if name in judged.columns]
    return cut_sessions(judged, recipe.session_gap).select(*EVENTS.names, *own)


def write_tables(judged: DataFrame, slot: Slot) -> None:
    """Write the run's rows of `events` and `quarantine`, where nobody reads yet."""
    events = judged.where(F.col(FATE).isin(Fate.VALID, Fate.KNOWN)).select(*EVENTS.names)
    events.write.parquet(slot.folder("events"))
    refused = judged.where(F.col(FATE) == Fate.QUARANTINED)
    at = F.col(AT) if AT in judged.columns else F.lit(None)
    tried = F.coalesce(F.col(ATTEMPTS), F.lit(1)) if ATTEMPTS in judged.columns else F.lit(0)
    quarantine = refused.select(
        F.col(STAGE).alias("stage"),
        F.col(REASONS).alias("reasons"),
        F.col(RAW).alias("record"),
        "sourceFile",
        F.lit(rule_set()).alias("ruleSet"),
        at.cast("int").alias("element"),
        (tried + 1).cast("int").alias("attempts"),
        (F.col(RENDERED) if RENDERED in judged.columns else F.lit(False)).alias("rendered"),
    )
    quarantine.write.parquet(slot.folder("quarantine"))


def written(slot: Slot) -> tuple[DataFrame, DataFrame]:
    """Read back a run's rows of `events` and `quarantine`."""
    events = slot.lake.rows(slot.folder("events"), EVENTS)
    return events, slot.lake.rows(slot.folder("quarantine"), QUARANTINE)
