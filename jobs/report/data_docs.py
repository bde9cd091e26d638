"""Writes the Data Docs of a lake, the folder `quality/`: a page and a file of findings for each batch, and an index.

    batches/<batch>.html                 the page of the batch's last build
    batches/<batch>.<gate>.json          the findings of its gate
    notes/<batch>~build~<run>.json       the index's entry on that build
    notes/<batch>~<tracker>~<run>.json   the index's entry on the last delivery to a tracker
    index.json                           the notes of the last index, so that the next one reads only new ones
    index.html                           the index

Each run writes its own notes, so concurrent runs lose nothing: the next index has all notes. A note is never changed,
so a note with a known name need not be read again.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final, NamedTuple

from expectations.gate import FAILED, PASSED, WARNED
from expectations.page import (
    BuildEntry,
    DeliveryEntry,
    GateReport,
    IndexRow,
    StandingPublication,
    batch_page,
    index_page,
)
from jobs.lake.batch_order import BatchOrder
from jobs.lake.tables import Lake

_FINDINGS_NAME: Final = re.compile(rf"(.+)\.({PASSED}|{WARNED}|{FAILED})\.json")
_NOTE_NAME: Final = re.compile(r"(?P<batch>[^~]+)~(?P<kind>[^~]+)~(?P<run>[^~]+)\.json")
_BUILD: Final = "build"
"""Stands for the tracker in the name of a build's note."""
_PARSE_ERRORS: Final = (ValueError, TypeError, KeyError, AttributeError)
"""The errors of reading an incomplete note."""

log = logging.getLogger(__name__)


class _NoteName(NamedTuple):
    """The parts of a note's name."""

    batch: str
    kind: str
    run: str

    @property
    def text(self) -> str:
        return f"{'~'.join(self)}.json"


class DataDocs:
    """The pages under one lake's root.

    The name of a findings file holds the gate's outcome, so one listing gives every batch and its gate.

    Args:
        lake: the lake of the batches.
    """

    def __init__(self, lake: Lake) -> None:
        self._files = lake.files
        self._intervals = lake.manifests.notes
        self._root = f"{lake.root}/quality"
        self._batches = f"{self._root}/batches"
        self._notes = f"{self._root}/notes"

    def page(self, batch: str) -> str:
        """Give the path of a batch's page."""
        return f"{self._batches}/{batch}.html"

    def show(self, gate_report: GateReport, run_page: str) -> None:
        """Replace a batch's page, and write the index again. A failure to write does not fail the batch.

        Args:
            gate_report: the gate's report on the batch.
            run_page: the name of the build's page in the batch's folder of `runs/`.
        """

        def write() -> None:
            self._files.replace(self.page(gate_report.batch), batch_page(gate_report))
            for gate in {PASSED, WARNED, FAILED} - {gate_report.gate}:
                self._files.delete(f"{self._batches}/{gate_report.batch}.{gate}.json")
            self._files.replace(
                f"{self._batches}/{gate_report.batch}.{gate_report.gate}.json", _write_findings(gate_report)
            )
            path = run_path(gate_report.batch, run_page)
            entry = BuildEntry(gate_report.runId, gate_report.gate, dict(gate_report.counts), path, gate_report.kept)
            self._write_notes({_NoteName(gate_report.batch, _BUILD, gate_report.runId): asdict(entry)})

        _write_or_warn(write, f"the page of batch {gate_report.batch}")

    def note_deliveries(self, tracker: str, deliveries: Mapping[str, DeliveryEntry]) -> None:
        """Show deliveries in the index. A failure to write does not fail the delivery.

        Args:
            tracker: its name in the ledger.
            deliveries: by the batch's label.
        """
        notes = {_NoteName(batch, tracker, each.runId): asdict(each) for batch, each in deliveries.items()}
        _write_or_warn(lambda: self._write_notes(notes), "the index of the Data Docs")

    def _write_notes(self, notes: Mapping[_NoteName, Mapping[str, Any]]) -> None:
        """Write notes, delete the older notes of the same kinds, then write the index."""
        for name, values in notes.items():
            self._files.replace(f"{self._notes}/{name.text}", json.dumps(values))
        told = {(name.batch, name.kind): name for name in notes}
        names = [
            _NoteName(**match.groupdict())
            for match in map(_NOTE_NAME.fullmatch, self._files.children(self._notes))
            if match
        ]
        older = [name for name in names if told.get((name.batch, name.kind), name) != name]
        for name in older:
            self._files.delete(f"{self._notes}/{name.text}")
        known = self._read_known_notes()
        kept: dict[str, Any] = {}
        for name in sorted(set(names) - set(older)):
            kept[name.text] = notes.get(name) or known.get(name.text) or self._read_json(f"{self._notes}/{name.text}")
        self._files.replace(f"{self._root}/index.json", json.dumps(kept))
        self._files.replace(f"{self._root}/index.html", index_page(self._build_rows(kept)))

    def _read_known_notes(self) -> dict[str, Any]:
        """Read the notes of the last index; none if its file is missing or damaged."""
        path = f"{self._root}/index.json"
        found = self._read_json(path) if self._files.exists(path) else None
        return found if isinstance(found, dict) else {}

    def _read_json(self, path: str) -> Any:
        """Read a file of JSON; None if a crash left half of it, or another run has deleted it."""
        with suppress(OSError, ValueError):
            return json.loads(self._files.read(path))
        return None

    def _build_rows(self, notes: Mapping[str, Any]) -> list[IndexRow]:
        """Make the index's rows from notes and gates, the newest batch first."""
        found = [_FINDINGS_NAME.fullmatch(name) for name in self._files.children(self._batches)]
        gates = {match.group(1): match.group(2) for match in found if match}
        builds: dict[str, BuildEntry] = {}
        deliveries: dict[str, dict[str, DeliveryEntry]] = {}
        # If a crash left two notes of one kind, the one of the later run counts: it comes last.
        for text, values in notes.items():
            batch, kind, _ = text.split("~")
            with suppress(*_PARSE_ERRORS):
                if kind == _BUILD:
                    builds[batch] = _build_entry(values)
                else:
                    deliveries.setdefault(batch, {})[kind] = DeliveryEntry(**values)
        order = BatchOrder(tuple({*gates, *builds, *deliveries}), self._intervals.read())
        return [
            IndexRow(
                label,
                gates.get(label),
                order.interval(label),
                builds.get(label),
                sorted(deliveries.get(label, {}).values(), key=lambda each: (each.trackingId, each.region)),
            )
            for label in reversed(order.in_order())
        ]


def _write_or_warn(write: Callable[[], None], what: str) -> None:
    try:
        write()
    except Exception as error:  # the batch is published, or its events are sent, whatever happens to a page
        told = error if isinstance(error, OSError) else type(error).__name__
        log.warning("%s could not be written: %s", what, told)


def run_path(batch: str, name: str) -> str:
    """Give the index's link to a file of a run."""
    return f"../runs/{batch}/{name}"


def _build_entry(values: Mapping[str, Any]) -> BuildEntry:
    kept = values["kept"]
    return BuildEntry(**{**values, "kept": StandingPublication(**kept) if kept else None})


def _write_findings(gate_report: GateReport) -> str:
    """Write the findings for programs: one JSON object, without records."""
    checks = {
        finding.check.name: {"level": finding.level, "value": finding.value, "share": finding.share}
        for finding in gate_report.findings
    }
    kept = gate_report.kept.runId if gate_report.kept else None
    told = {
        "batch": gate_report.batch,
        "runId": gate_report.runId,
        "gate": gate_report.gate,
        "kept": kept,
        "checks": checks,
    }
    return json.dumps(told, indent=1)
