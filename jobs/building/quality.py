"""Judges a batch's quality: counts for the gate, its findings, and its report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession

from expectations.checks import checks_on, filled_fields
from expectations.facts import RefusedSample, event_facts, refused_samples, repetition_facts
from expectations.gate import FAILED, WARNED, Finding, judge_batch, outcome
from expectations.interval import Interval
from expectations.observations import BatchNumbers, EarlierBatch, observe
from expectations.page import GateReport, StandingPublication
from expectations.threshold_reader import read_thresholds
from expectations.thresholds import CheckSettings, Thresholds
from expectations.verdict import rule_set
from jobs.background_import import start_import
from jobs.building.batch_rows import BuildConfig, BuildResult
from jobs.building.redelivery import REKEYED, DeliveredChanges
from jobs.errors import ConfigurationError
from jobs.lake.manifests import Manifest
from jobs.reading.user_files import check_local_file, faulty, read_user_file

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES: Final = ("earliest", "latest")
_EVENT_COUNTS: Final = (
    "anonymous",
    "without_item",
    "sentAt_outside_interval",
    "sentAt_before_2010",
    "eventValue_out_of_range",
)
"""The counts of `event_facts` for the checks of the same names."""
_PAGE_COUNTS: Final = (
    "read",
    "filtered",
    "candidates",
    "events",
    "quarantined",
    "duplicates",
    "sessions",
    "users",
    "requests",
    "anonymousSessions",
)
"""The counters on the batch's page, by the summary's names; `read` is None if an older version did not keep it."""


@dataclass(frozen=True, slots=True)
class Gate:
    """How a batch is judged.

    Attributes:
        thresholds: where checks warn and fail.
        lenient: whether a batch that fails still passes, marked as `warned`.
        allow_empty: whether a batch may have no events.
    """

    thresholds: Thresholds
    lenient: bool
    allow_empty: bool = False

    def decide(self, findings: Sequence[Finding]) -> str:
        """Decide the outcome. Lenience does not cover events that would be sent twice: only `--rekey` allows those."""
        ruling = outcome(findings)
        rekeyed = any(finding.check.name == REKEYED and finding.level == FAILED for finding in findings)
        return WARNED if self.lenient and ruling == FAILED and not rekeyed else ruling


def load_great_expectations() -> None:
    """Start importing Great Expectations, which takes seconds, while Spark works.

    Raises:
        ConfigurationError: it is not installed.
    """
    if find_spec("great_expectations") is None:
        raise ConfigurationError(
            "the gate needs great-expectations on the driver, not on executors: pip install great-expectations"
        )
    start_import("expectations.suite")


def check_thresholds_file(path: str | None) -> None:
    """Check, before Spark is started, that the file of `--thresholds` can be read.

    Raises:
        ConfigurationError: it cannot.
    """
    if path is not None:
        check_local_file("--thresholds", path)


def find_thresholds(path: str | None, spark: SparkSession) -> Thresholds:
    """Read `--thresholds`.

    Raises:
        ConfigurationError: the file has faults; one line for each, with its position.
    """
    if path is None:
        return Thresholds()
    thresholds, faults = read_thresholds(read_user_file("--thresholds", path, spark))
    if faults:
        raise faulty(path, faults)
    return thresholds


@dataclass(frozen=True, slots=True)
class JudgedBatch:
    """A batch for the gate to judge.

    Attributes:
        label: the batch's label.
        interval: its interval; None if unknown.
        result: its rows, as they were written.
        counters: the counters of the whole batch.
        build_config: how it was built.
        earlier: the batches before it.
        current: the publication that it replaces if it passes; None if none has passed.
        redelivery: what happens to the delivered events of that publication.
    """

    label: str
    interval: Interval | None
    result: BuildResult
    counters: Mapping[str, Any]
    build_config: BuildConfig
    earlier: Sequence[EarlierBatch]
    current: Manifest | None
    redelivery: DeliveredChanges


def earlier_batches(manifests: Sequence[Manifest]) -> list[EarlierBatch]:
    """Take the numbers to compare with from the manifests of earlier batches."""
    return [EarlierBatch(one.candidates, one.read, one.filtered, one.profile) for one in manifests]


def count_batch(batch: JudgedBatch, settings: CheckSettings) -> BatchNumbers:
    """Count what the gate checks: two Spark aggregates over the events; the other counts are known."""
    result, counters, mapping = batch.result, batch.counters, batch.build_config.mapping
    fields, repeated = filled_fields(mapping), result.repeated
    columns = [name for name in fields if name not in ("eventId", "sessionId")]  # a missing one is derived
    event_counts = _collect_row(
        event_facts(result.events, batch.interval, settings, columns, None if repeated is None else repeated.hash)
    )
    largest = 0 if repeated is None else repeated.duplicates + event_counts.pop("repeated_here")
    micros = [event_counts[name] for name in _TIMES]
    times = [None if each is None else _EPOCH + timedelta(microseconds=each) for each in micros]
    counts = {
        **counters["reasons"],
        **{name: counters[name] for name in ("quarantined", "duplicates")},
        **{name: event_counts[name] for name in _EVENT_COUNTS},
        **_collect_row(repetition_facts(result.events)),
        "largest_eventId": largest if largest > 1 else 0,
        "anonymous_sessions": counters["anonymousSessions"],
    }
    sizes = {name: counters[name] for name in ("candidates", "events", "sessions")}
    return BatchNumbers(
        sizes=sizes if counters["read"] is None else {"records": counters["read"], **sizes},
        filtered=counters["filtered"],
        counts=counts,
        filled={name: event_counts[name] for name in columns} | result.given_ids,
        event_types=event_counts["event_types"],
        property_keys=len(mapping.properties),
        single_event_sessions=result.lengths.sizes[0],
        sessions_given="sessionId" in mapping.event,
        earliest=times[0],
        latest=times[1],
    )


def evaluate_batch(batch: JudgedBatch, numbers: BatchNumbers, gate: Gate) -> list[Finding]:
    """Judge a batch by its counts."""
    observed = observe(numbers, batch.interval, batch.earlier, allow_empty=gate.allow_empty)
    observed |= batch.redelivery.observations()
    checks = checks_on(filled_fields(batch.build_config.mapping))
    return judge_batch(batch.label, observed, numbers.sizes, gate.thresholds, checks)


def report_batch(
    batch: JudgedBatch, numbers: BatchNumbers, findings: list[Finding], gate: str, run_id: str
) -> GateReport:
    """Gather the content of the batch's page, with a bounded sample of its refused records."""
    kept = batch.current if gate == FAILED else None
    return GateReport(
        batch=batch.label,
        runId=run_id,
        gate=gate,
        overruled=gate != outcome(findings),
        asOf=batch.build_config.as_of.isoformat(timespec="seconds"),
        ruleSet=rule_set(),
        counts={name: int(batch.counters[name]) for name in _PAGE_COUNTS if batch.counters[name] is not None}
        | {"merged": numbers.counts["merged"]},
        findings=findings,
        samples=_collect_samples(batch) if batch.counters["reasons"] else [],
        kept=StandingPublication(kept.runId, kept.gate, kept.events) if kept else None,
        profile=numbers.profile(),
        filled=numbers.filled,
    )


def _collect_samples(batch: JudgedBatch) -> list[RefusedSample]:
    rows = refused_samples(batch.result.quarantine).orderBy("code", "place").drop("place").collect()
    return [RefusedSample(**row.asDict()) for row in rows]


def _collect_row(facts: DataFrame) -> dict[str, Any]:
    return facts.collect()[0].asDict()
