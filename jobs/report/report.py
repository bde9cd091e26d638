"""What a run has found out for its page, and the writing of the page beside its summary."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from threading import Thread
from typing import Any, Final, TypeVar

from expectations.gate import FAILED, PASSED, WARNED
from expectations.page import GateReport
from jobs.lake.tables import Lake
from jobs.report.report_input import DeliveryTimeline, EventTimeline, ReportInput, SessionLengths

T = TypeVar("T")

log = logging.getLogger(__name__)

NEEDED: Final = ("jinja2", "matplotlib")
OTHERS: Final = 12
"""Pages of the batch's other runs that a page leads to."""
_PAGE: Final = "jobs.report.page"


@dataclass(slots=True)
class Report:
    """What a run has to tell beside its summary; filled in as the work goes on.

    Attributes:
        wanted: whether a page will be written: what costs something is not found out for nothing.
        judged: what the gate has said.
        event_timeline: when the events happened.
        lengths: how long sessions are.
        delivery_timeline: tells how the delivery went until now.
    """

    wanted: bool = False
    judged: GateReport | None = None
    event_timeline: EventTimeline | None = None
    lengths: SessionLengths | None = None
    delivery_timeline: Callable[[], DeliveryTimeline] | None = None

    def found(self, work: Callable[[], T | None]) -> T | None:
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
        """Write the page; whatever it suffers, the run stands as it is.

        Args:
            lake: where it goes.
            summary: the run's.
            started: when the run began, aware.
        """
        if not self.wanted:
            return
        try:
            batch, job, run_id = (str(summary[name]) for name in ("batch", "job", "runId"))
            pages = [name for name in lake.run_files(batch, ".html") if run_id not in name]
            documents = lake.files.children(f"{lake.root}/quality/batches")
            told = ReportInput(
                summary=summary,
                started=started,
                judged=self.judged,
                event_timeline=self.event_timeline,
                lengths=self.lengths,
                delivery_timeline=self.delivery_timeline() if self.delivery_timeline else None,
                docs={name.removesuffix(".html") for name in documents},
                documentedRun=None if self.judged else _documented_run(lake, batch, documents),
                others=tuple(sorted(pages, key=_run, reverse=True)[:OTHERS]),
            )
            page: Callable[[ReportInput], str] = import_module(_PAGE).page
            log.info("report: %s", lake.note_run(batch, job, run_id, ".html", page(told)))
        except (Exception, KeyboardInterrupt) as failure:
            told_as = failure if isinstance(failure, OSError) else type(failure).__name__
            log.warning("the report could not be written: %s", told_as)


def start_report() -> Report:
    """See whether reports can be written, and start importing what draws them, while Spark is at work."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        log.warning("no report is written; to get one, install on the driver: pip install %s", " ".join(missing))
        return Report()
    Thread(target=_load, name="import matplotlib", daemon=True).start()
    return Report(wanted=True)


def _documented_run(lake: Lake, batch: str, documents: Collection[str]) -> str | None:
    """Find the run whose findings a batch's page in the Data Docs shows; None where there is no such page."""
    findings = [f"{batch}.{gate}.json" for gate in (PASSED, WARNED, FAILED) if f"{batch}.{gate}.json" in documents]
    if not findings:
        return None
    with suppress(ValueError, KeyError, TypeError):  # a crash has left half of it: the page goes without
        return str(json.loads(lake.files.read_bytes(f"{lake.root}/quality/batches/{findings[0]}"))["runId"])
    return None


def _load() -> None:
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its caches
    try:
        import_module(_PAGE)
    except Exception as failure:  # the page will import it again, and say so
        log.debug("importing %s: %s", _PAGE, type(failure).__name__)


def _run(name: str) -> str:
    """Take a run's id, which begins with its time, from the name of a file."""
    return name.split("-", 1)[-1]
