"""The Data Docs of a lake: the folder `quality/`, a page and a file of findings for each batch, and an index."""

from __future__ import annotations

import json
import logging
import re
from typing import Final

from pyspark.sql import SparkSession

from expectations.gate import FAILED, PASSED, WARNED
from expectations.page import GateReport, batch_page, index_page
from jobs.lake.batch_order import BatchOrder, IntervalNotes
from jobs.lake.filesystem import FileSystem

_FINDINGS: Final = re.compile(rf"(.+)\.({PASSED}|{WARNED}|{FAILED})\.json")

log = logging.getLogger(__name__)


class DataDocs:
    """The pages under one lake's root.

    The gate stands in the name of the findings' file, so that one listing gives the index, however many batches there
    are.

    Args:
        spark: writes them.
        root: folder or URI of the lake.
    """

    def __init__(self, spark: SparkSession, root: str) -> None:
        self._files = FileSystem(spark)
        self._notes = IntervalNotes(self._files, root.rstrip("/") or root)
        self._root = f"{root.rstrip('/') or root}/quality"
        self._batches = f"{self._root}/batches"

    def page(self, batch: str) -> str:
        """Name a batch's page."""
        return f"{self._batches}/{batch}.html"

    def show(self, judged: GateReport) -> None:
        """Put a batch's page in place of its last one, and the index anew; what cannot be written fails no batch."""
        try:
            self._files.replace(self.page(judged.batch), batch_page(judged))
            for gate in {PASSED, WARNED, FAILED} - {judged.gate}:
                self._files.delete(f"{self._batches}/{judged.batch}.{gate}.json")
            self._files.replace(f"{self._batches}/{judged.batch}.{judged.gate}.json", _findings(judged))
            self._files.replace(f"{self._root}/index.html", index_page(self._gates()))
        except Exception as error:  # the batch is published by now: whatever a page suffers, it stands
            told = error if isinstance(error, OSError) else type(error).__name__
            log.warning("the page of batch %s could not be written: %s", judged.batch, told)

    def _gates(self) -> list[tuple[str, str]]:
        """Find each batch's gate, the last batch first."""
        found = [_FINDINGS.fullmatch(name) for name in self._files.children(self._batches)]
        gates = {match.group(1): match.group(2) for match in found if match}
        order = BatchOrder(tuple(gates), self._notes.read()).in_order()
        return [(label, gates[label]) for label in reversed(order)]


def _findings(judged: GateReport) -> str:
    """Write what was found for machines: one JSON object; no record is in it."""
    checks = {
        finding.check.name: {"level": finding.level, "value": finding.value, "share": finding.share}
        for finding in judged.findings
    }
    kept = judged.kept.runId if judged.kept else None
    told = {"batch": judged.batch, "runId": judged.runId, "gate": judged.gate, "kept": kept, "checks": checks}
    return json.dumps(told, indent=1)
