"""A batch's quality: what the gate is told, and what its page tells."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from statistics import median
from threading import Thread
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from expectations.facts import Refused, event_facts, refused_samples, repetition_facts
from expectations.gate import FAILED, WARNED, Finding, Observation, judge_batch, outcome
from expectations.interval import Interval
from expectations.page import Judged, Kept
from expectations.threshold_reader import read_thresholds
from expectations.thresholds import LEAST_HISTORY, Thresholds
from expectations.verdict import rule_set
from jobs.building.build import Built, Recipe
from jobs.building.redelivery import REKEYED, Redelivery
from jobs.errors import ConfigurationError
from jobs.lake.manifests import Manifest
from jobs.reading.user_files import faulty, read_user_file


@dataclass(frozen=True, slots=True)
class Gate:
    """How a batch is to be judged.

    Attributes:
        thresholds: where checks warn and fail.
        lenient: whether a batch that fails passes all the same, marked as `warned`.
        allow_empty: whether a batch may be empty.
    """

    thresholds: Thresholds
    lenient: bool
    allow_empty: bool = False

    def rule(self, findings: Sequence[Finding]) -> str:
        """Sum findings up. What would be sent twice is not let pass with all the rest: `--rekey` is its own word."""
        ruling = outcome(findings)
        rekeyed = any(finding.check.name == REKEYED and finding.level == FAILED for finding in findings)
        return WARNED if self.lenient and ruling == FAILED and not rekeyed else ruling


def load_great_expectations() -> None:
    """Start importing Great Expectations, which takes seconds, while Spark is at work.

    Raises:
        ConfigurationError: it is not installed.
    """
    if find_spec("great_expectations") is None:
        raise ConfigurationError(
            "the gate needs great-expectations on the driver, not on executors: pip install great-expectations"
        )
    Thread(target=_import_suite, name="import great_expectations", daemon=True).start()


def _import_suite() -> None:
    usual = sys.getswitchinterval()
    # The main thread asks the JVM thousands of small questions meanwhile: at the usual 5 ms, each may wait so long.
    sys.setswitchinterval(0.0002)
    try:
        with suppress(Exception):  # the gate will import it again, and its error is told there
            import_module("expectations.suite")
    finally:
        sys.setswitchinterval(usual)


def find_thresholds(path: str | None, spark: SparkSession) -> Thresholds:
    """Read `--thresholds`.

    Raises:
        ConfigurationError: one line for each fault, with its place in the file.
    """
    if path is None:
        return Thresholds()
    thresholds, faults = read_thresholds(read_user_file("--thresholds", path, spark))
    if faults:
        raise faulty(path, faults)
    return thresholds


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the gate sees it.

    Attributes:
        label: names it.
        interval: the time that it is of, where that is known.
        built: its rows, as they were written.
        counters: of the batch as a whole.
        metadata: how many property keys the mapping gives, which become metadata columns.
        sizes_before: candidates of the batches before it.
        current: the publication that it replaces, unless it fails; None where none has passed.
        redelivery: what becomes of the events of that one that were delivered.
    """

    label: str
    interval: Interval | None
    built: Built
    counters: Mapping[str, Any]
    metadata: int
    sizes_before: Sequence[int]
    current: Manifest | None
    redelivery: Redelivery


def find_out(batch: Batch, using: Thresholds) -> list[Finding]:
    """Judge a batch: a few small aggregates by Spark, then the checkpoint."""
    interval = batch.interval
    events, counters, keys = batch.built.events, batch.counters, batch.metadata
    facts = _one_row(event_facts(events, interval, using.settings)) | _one_row(repetition_facts(events))
    types = facts.pop("event_types")
    observed = {name: Observation(count) for name, count in (*counters["reasons"].items(), *facts.items())}
    observed |= {
        "quarantined": Observation(counters["quarantined"]),
        "duplicates": Observation(counters["duplicates"]),
        "no_events": Observation(int(counters["candidates"] > 0 and counters["events"] == 0)),
        "batch_size": _size(counters["candidates"], batch.sizes_before, using.settings.warn_from),
        "event_types_and_metadata": Observation(types + keys, f"{types:,} event types, {keys} property keys"),
        "metadata_columns": Observation(keys, f"{keys} property keys in the mapping"),
        "anonymous_sessions": Observation(counters["anonymousSessions"]),
        **batch.redelivery.observations(),
    }
    if interval is None:
        observed["sentAt_outside_interval"] = Observation(None, "neither --interval nor the batch's label gives one")
    return judge_batch(batch.label, observed, counters, using)


def tell(batch: Batch, findings: list[Finding], gate: str, recipe: Recipe, run_id: str) -> Judged:
    """Gather what the batch's page tells; a bounded sample of its refused records with it."""
    kept = batch.current if gate == FAILED else None
    names = ("candidates", "events", "quarantined", "duplicates", "sessions", "users", "requests", "anonymousSessions")
    merged = next(finding.value for finding in findings if finding.check.name == "merged")
    return Judged(
        batch=batch.label,
        runId=run_id,
        gate=gate,
        overruled=gate != outcome(findings),
        asOf=recipe.as_of.isoformat(timespec="seconds"),
        ruleSet=rule_set(),
        counts={name: int(batch.counters[name]) for name in names} | {"merged": int(merged or 0)},
        findings=findings,
        samples=_samples(batch) if batch.counters["reasons"] else [],
        kept=Kept(kept.runId, kept.gate, kept.events) if kept else None,
    )


def _samples(batch: Batch) -> list[Refused]:
    rows = refused_samples(batch.built.quarantine).orderBy("code", "place").drop("place").collect()
    return [Refused(**row.asDict()) for row in rows]


def _size(candidates: int, before: Sequence[int], least: int) -> Observation:
    if len(before) < LEAST_HISTORY:
        return Observation(None, f"{len(before)} batches before it; a median needs {LEAST_HISTORY}")
    middle = median(before)
    if middle < least:
        return Observation(None, f"the median of the {len(before)} batches before it is {middle:,.0f}: too few to tell")
    return Observation(candidates / middle, f"{candidates:,} against a median of {middle:,.0f}")


def _one_row(facts: DataFrame) -> dict[str, int]:
    return dict(facts.collect()[0].asDict())
