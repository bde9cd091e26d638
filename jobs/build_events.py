"""Raw clickstream logs to validated, sessionised event rows: `spark-submit jobs/build_events.py --help`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from expectations.gate import gate
from expectations.rules import Judgement
from expectations.verdict import REASONS, STAGE, judge, rule_set
from jobs.arguments import JobParser, batch_label, duration, lake_root, moment
from jobs.counting import conserve, count_fates, count_tables
from jobs.errors import Exit, GateFailedError, JobError, UnfinishedError
from jobs.lake import Lake, Manifest
from jobs.mappings import checked_mapping, find_mapping
from jobs.run import Run, run_job
from jobs.sources import read_records, unreadable
from transforms.bookkeeping import FATE, FIRST, RAW, Fate
from transforms.candidates import map_candidates
from transforms.mapping import EventMapping
from transforms.records import select_records
from transforms.schemas import EVENTS, QUARANTINE
from transforms.sessions import cut_sessions, drop_repeats_by_given_id

FUTURE_TOLERANCE: Final = timedelta(hours=24)
"""How far after --as-of an event may be sent: visitors' clocks and time zones are not ours."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line, checked.

    Attributes:
        input: paths or globs of the batch's raw logs.
        mapping: name or path of the mapping.
        lake: root folder or URI of the tables.
        batch: the batch's label.
        session_gap: a pause strictly longer than this starts a new session.
        as_of: the run's time, aware; None for now.
    """

    input: tuple[str, ...]
    mapping: str
    lake: str
    batch: str
    session_gap: timedelta
    as_of: datetime | None


def parse(argv: Sequence[str]) -> Arguments:
    """Read the command line.

    Raises:
        ConfigurationError: it is not right.
    """
    parser = JobParser("build_events", description="Raw clickstream logs to event rows.")
    parser.add_argument("--input", nargs="+", required=True, metavar="PATH_OR_GLOB", help="the batch's raw logs")
    parser.add_argument("--mapping", required=True, metavar="NAME_OR_FILE", help="how a record becomes events")
    parser.add_argument("--lake", required=True, type=lake_root, metavar="ROOT", help="root of the tables")
    parser.add_argument("--batch", required=True, type=batch_label, metavar="LABEL", help="e.g. 2024-01-02")
    parser.add_argument(
        "--session-gap",
        type=duration,
        default="30m",
        metavar="TIME",
        help="a longer pause starts a session (30m)",
    )
    parser.add_argument("--as-of", type=moment, metavar="TIME", help="the run's time, for tests and replays (now)")
    given = parser.parse_args(argv)
    return Arguments(
        input=tuple(given.input),
        mapping=given.mapping,
        lake=given.lake,
        batch=given.batch,
        session_gap=given.session_gap,
        as_of=given.as_of,
    )


def build(spark: SparkSession, lake: Lake, arguments: Arguments, run: Run) -> Exit:
    """Check the mapping, then build the batch: read, map, judge, cut sessions, write, gate, publish."""
    mapping = checked_mapping(find_mapping(arguments.mapping), spark)
    lake.prepare(arguments.batch)
    write_batch(spark, lake, mapping, arguments, run)
    publish(lake, arguments.batch, run)
    return Exit.DONE


def write_batch(spark: SparkSession, lake: Lake, mapping: EventMapping, arguments: Arguments, run: Run) -> None:
    """Write and count the run's rows; whatever ends this early leaves none."""
    records = read_records(spark, arguments.input, mapping)
    as_of = arguments.as_of or datetime.now(UTC)
    judged = judged_candidates(records, mapping, arguments.session_gap, as_of + FUTURE_TOLERANCE)
    judged.persist(StorageLevel.MEMORY_AND_DISK)  # counted, and written to two tables, after one shuffle
    try:
        run.counters.update(count_fates(judged))
        write_tables(judged, lake, arguments.batch, run.runId)
        run.counters.update(count_tables(*written(lake, arguments.batch, run.runId)))
    except BaseException as error:
        with suppress(Exception):  # the JVM may be gone; the next publication of the batch sweeps then
            lake.discard(arguments.batch, run.runId)
        if known := _known(error, lake, arguments.batch, run.runId):
            raise known from None
        raise
    finally:
        with suppress(Exception):  # as above; what ended the build is what the reader must see
            judged.unpersist()


def _known(error: BaseException, lake: Lake, batch: str, run_id: str) -> JobError | None:
    """Take an error for what it is where the reason lies outside: a file that cannot be read, another run."""
    if "PATH_NOT_FOUND" in str(error) and (newest := lake.manifest(batch)) and newest.runId > run_id:
        return UnfinishedError(f"batch {batch}: another run published it meanwhile; nothing was changed")
    return unreadable(error)


def judged_candidates(
    records: DataFrame, mapping: EventMapping, session_gap: timedelta, latest_sent_at: datetime
) -> DataFrame:
    """Give every record its fate: the columns of `events`, `_fate`, `_first`, `_stage`, `_reasons` and `_raw`."""
    candidates = map_candidates(select_records(records, mapping), mapping)
    judged = judge(candidates, Judgement(latest_sent_at))
    if "eventId" in mapping.event:
        judged = drop_repeats_by_given_id(judged)
    return cut_sessions(judged, session_gap).select(*EVENTS.names, FATE, FIRST, STAGE, REASONS, RAW)


def write_tables(judged: DataFrame, lake: Lake, batch: str, run_id: str) -> None:
    """Write the run's rows of `events` and `quarantine`, where nobody reads yet."""
    events = judged.where(F.col(FATE) == Fate.VALID).select(*EVENTS.names)
    events.write.parquet(lake.folder("events", batch, f"runId={run_id}"))
    refused = judged.where(F.col(FATE) == Fate.QUARANTINED)
    columns = {"stage": STAGE, "reasons": REASONS, "record": RAW, "sourceFile": "sourceFile"}
    named = [F.col(column).alias(name) for name, column in columns.items()]
    quarantine = refused.select(*named, F.lit(rule_set()).alias("ruleSet"))
    quarantine.write.parquet(lake.folder("quarantine", batch, f"runId={run_id}"))


def written(lake: Lake, batch: str, run_id: str) -> tuple[DataFrame, DataFrame]:
    """Read back a run's rows of `events` and `quarantine`."""
    events = lake.rows(lake.folder("events", batch, f"runId={run_id}"), EVENTS)
    return events, lake.rows(lake.folder("quarantine", batch, f"runId={run_id}"), QUARANTINE)


def publish(lake: Lake, batch: str, run: Run) -> None:
    """Pass the batch through the gate and make it the one that readers see.

    Raises:
        GateFailedError: it did not pass; it is published as failed, without events.
    """
    counters = run.counters
    conserve(counters)
    counters["gate"] = gate(counters["candidates"], counters["quarantined"])
    kept = 0 if counters["gate"] == "failed" else counters["events"]
    lake.publish(Manifest(batch, lake.next_version(batch), run.runId, counters["gate"], kept, counters["quarantined"]))
    if counters["gate"] == "failed":
        raise GateFailedError(
            f"batch {batch}: {counters['quarantined']:,} of {counters['candidates']:,} candidates were refused; "
            f"the gate lets no more than half be: see {lake.folder('quarantine', batch)}, mend, build again"
        )


def main(argv: Sequence[str]) -> int:
    """Run the job; see `--help`."""
    zeros = dict.fromkeys(
        (
            "read",
            "filtered",
            "candidates",
            "events",
            "quarantined",
            "duplicates",
            "sessions",
            "users",
            "requests",
        ),
        0,
    )
    return run_job(Run("build_events", {**zeros, "reasons": {}, "gate": None}), parse, build, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
