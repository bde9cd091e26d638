"""Collects the content of a run's page, and writes the page beside its summary."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from delivery.http.endpoint import TrackerEndpoint
from expectations.gate import FAILED, PASSED, WARNED
from expectations.page import DeliveryEntry, GateReport
from jobs.background_import import start_import
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake
from jobs.ledger.tracker_ledger import TrackerLedger
from jobs.report.data_docs import DataDocs, run_path
from jobs.report.report_input import BatchGate, DeliveryTimeline, EventTimeline, ReportInput, SessionLengths

T = TypeVar("T")

log = logging.getLogger(__name__)

NEEDED: Final = ("jinja2", "matplotlib")
OTHERS: Final = 12
"""The most links to pages of the batch's other runs."""
_PAGE: Final = "jobs.report.page"
_HTML: Final = ".html"


@dataclass(frozen=True, slots=True)
class DeliveredBatch:
    """A batch that a run delivers.

    Attributes:
        manifest: of the publication that is sent.
        counts: its events by status, by the summary's names; empty until known.
    """

    manifest: Manifest
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """The content of a run's page besides its summary. The work fills it in.

    Attributes:
        wanted: whether a page will be written; otherwise nothing is computed for it.
        gate_report: the gate's report.
        event_timeline: when the events happened.
        lengths: how long sessions are.
        delivery_timeline: gives the delivery's timeline so far.
        tracker: the tracker that events go to, or would go to.
        batches: the batches that the run has started to deliver, by label, in order.
    """

    wanted: bool = False
    gate_report: GateReport | None = None
    event_timeline: EventTimeline | None = None
    lengths: SessionLengths | None = None
    delivery_timeline: Callable[[], DeliveryTimeline] | None = None
    tracker: TrackerEndpoint | None = None
    batches: dict[str, DeliveredBatch] = field(default_factory=dict)

    def begin_delivery(self, manifest: Manifest) -> dict[str, int]:
        """Start the delivery of a batch.

        Returns:
            The dictionary for its counts of events by status.
        """
        self.batches[manifest.batch] = DeliveredBatch(manifest)
        return self.batches[manifest.batch].counts

    def file_name(self, job: str, run_id: str) -> str:
        """Give the name of the run's file under `runs/`: its page, or its summary if no page is written."""
        return f"{job}-{run_id}{_HTML if self.wanted else '.json'}"

    def find_for_page(self, work: Callable[[], T | None]) -> T | None:
        """Do work that only the page needs. Its failure does not fail the run.

        Returns:
            The work's result; None if no page will be written, or the work failed.
        """
        if not self.wanted:
            return None
        try:
            return work()
        except Exception as failure:
            log.warning("the report will lack a chart: %s", type(failure).__name__)
            return None

    def write(self, lake: Lake, summary: Mapping[str, Any], started: datetime) -> None:
        """Write the page, and show the deliveries in the index of the Data Docs. A failure does not fail the run.

        Args:
            lake: the lake that they are written to.
            summary: the run's.
            started: when the run began, aware.
        """
        if self.wanted:
            self._write_page(lake, summary, started)
        self._note_deliveries(lake, summary)

    def _write_page(self, lake: Lake, summary: Mapping[str, Any], started: datetime) -> None:
        try:
            batch, job, run_id = (str(summary[name]) for name in ("batch", "job", "runId"))
            pages = [name for name in lake.run_files(batch, _HTML) if run_id not in name]
            documents = lake.files.children(f"{lake.root}/quality/batches")
            report_input = ReportInput(
                summary=summary,
                started=started,
                gate_report=self.gate_report,
                event_timeline=self.event_timeline,
                lengths=self.lengths,
                delivery_timeline=self.delivery_timeline() if self.delivery_timeline else None,
                trackingId=self.tracker.trackingId if self.tracker else None,
                gates={batch: _make_batch_gate(each.manifest) for batch, each in self.batches.items()},
                docs={name.removesuffix(_HTML) for name in documents},
                documentedRun=None if self.gate_report else _documented_run(lake, batch, documents),
                others=tuple(sorted(pages, key=_parse_run_id, reverse=True)[:OTHERS]),
            )
            page: Callable[[ReportInput], str] = import_module(_PAGE).page
            log.info("report: %s", lake.note_run(batch, job, run_id, _HTML, page(report_input)))
        except (Exception, KeyboardInterrupt) as failure:
            self.wanted = False
            told_as = failure if isinstance(failure, OSError) else type(failure).__name__
            log.warning("the report could not be written: %s", told_as)

    def _note_deliveries(self, lake: Lake, summary: Mapping[str, Any]) -> None:
        """Show the batches with known counts in the index. Other batches keep their entries."""
        known = {batch: each for batch, each in self.batches.items() if "events" in each.counts}
        if self.tracker is None or not known:
            return
        run_id, tracker = str(summary["runId"]), self.tracker
        page = run_path(str(summary["batch"]), self.file_name(str(summary["job"]), run_id))
        entries = {
            batch: DeliveryEntry(
                trackingId=tracker.trackingId,
                region=tracker.region,
                endpoint=tracker.endpoint,
                runId=run_id,
                source=each.manifest.runId,
                events=each.counts["events"],
                delivered=each.counts["alreadyDelivered"] + each.counts["delivered"],
                deadLettered=each.counts["deadLettered"],
                pending=each.counts["pending"],
                page=page,
            )
            for batch, each in known.items()
        }
        with suppress(KeyboardInterrupt):
            DataDocs(lake).note_deliveries(TrackerLedger(lake, tracker).name, entries)


def start_report() -> Report:
    """Check whether reports can be written, and start importing the libraries for them while Spark works."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        log.warning("no report is written; to get one, install on the driver: pip install %s", " ".join(missing))
        return Report()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs about its caches
    start_import(_PAGE)
    return Report(wanted=True)


def _make_batch_gate(manifest: Manifest) -> BatchGate:
    return BatchGate(manifest.gate, manifest.runId, tuple(manifest.warnings))


def _documented_run(lake: Lake, batch: str, documents: Collection[str]) -> str | None:
    """Find the run of a batch's page in the Data Docs; None if there is no page."""
    findings = [f"{batch}.{gate}.json" for gate in (PASSED, WARNED, FAILED) if f"{batch}.{gate}.json" in documents]
    if not findings:
        return None
    with suppress(ValueError, KeyError, TypeError):  # a crash left half of the file
        return str(json.loads(lake.files.read_bytes(f"{lake.root}/quality/batches/{findings[0]}"))["runId"])
    return None


def _parse_run_id(name: str) -> str:
    """Take the run's id, which begins with a time, from the name of a file."""
    return name.split("-", 1)[-1]
