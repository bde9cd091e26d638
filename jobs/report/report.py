"""What a run has found out for its page, and the writing of the page beside its summary."""

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
"""Pages of the batch's other runs that a page leads to."""
_PAGE: Final = "jobs.report.page"
_HTML: Final = ".html"


@dataclass(frozen=True, slots=True)
class DeliveredBatch:
    """A batch that a run has to deliver.

    Attributes:
        manifest: of the publication that is sent.
        counts: its events by what became of them, by the summary's names; empty until they are known.
    """

    manifest: Manifest
    counts: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What a run has to tell beside its summary; filled in as the work goes on.

    Attributes:
        wanted: whether a page will be written: what costs something is not found out for nothing.
        gate_report: what the gate has said.
        event_timeline: when the events happened.
        lengths: how long sessions are.
        delivery_timeline: tells how the delivery went until now.
        tracker: that events go to, or would go to.
        batches: those that the run has begun to deliver, by label, in order.
    """

    wanted: bool = False
    gate_report: GateReport | None = None
    event_timeline: EventTimeline | None = None
    lengths: SessionLengths | None = None
    delivery_timeline: Callable[[], DeliveryTimeline] | None = None
    tracker: TrackerEndpoint | None = None
    batches: dict[str, DeliveredBatch] = field(default_factory=dict)

    def begin_delivery(self, manifest: Manifest) -> dict[str, int]:
        """Go on to the delivery of a batch.

        Returns:
            Where its events are to be counted, by what became of them.
        """
        self.batches[manifest.batch] = DeliveredBatch(manifest)
        return self.batches[manifest.batch].counts

    def file_name(self, job: str, run_id: str) -> str:
        """Name the file under `runs/` that tells of the run: its page, or its summary where no page is written."""
        return f"{job}-{run_id}{_HTML if self.wanted else '.json'}"

    def find_for_page(self, work: Callable[[], T | None]) -> T | None:
        """Do what serves the page alone; what goes wrong with it is no fault of the run.

        Returns:
            None where no page will be written, or it went wrong.
        """
        if not self.wanted:
            return None
        try:
            return work()
        except Exception as failure:
            log.warning("the report will lack a chart: %s", type(failure).__name__)
            return None

    def write(self, lake: Lake, summary: Mapping[str, Any], started: datetime) -> None:
        """Write the page, and show in the Data Docs' index what was delivered; whatever they suffer, the run stands.

        Args:
            lake: where they go.
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
        """Show in the index what became of the batches whose events were counted; others stay as they were."""
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
    """See whether reports can be written, and start importing what draws them, while Spark is at work."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        log.warning("no report is written; to get one, install on the driver: pip install %s", " ".join(missing))
        return Report()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its caches
    start_import(_PAGE)
    return Report(wanted=True)


def _make_batch_gate(manifest: Manifest) -> BatchGate:
    return BatchGate(manifest.gate, manifest.runId, tuple(manifest.warnings))


def _documented_run(lake: Lake, batch: str, documents: Collection[str]) -> str | None:
    """Find the run whose findings a batch's page in the Data Docs shows; None where there is no such page."""
    findings = [f"{batch}.{gate}.json" for gate in (PASSED, WARNED, FAILED) if f"{batch}.{gate}.json" in documents]
    if not findings:
        return None
    with suppress(ValueError, KeyError, TypeError):  # a crash has left half of it: the page goes without
        return str(json.loads(lake.files.read_bytes(f"{lake.root}/quality/batches/{findings[0]}"))["runId"])
    return None


def _parse_run_id(name: str) -> str:
    """Take a run's id, which begins with its time, from the name of a file."""
    return name.split("-", 1)[-1]
