"""build_events without gate, report and page: it ends when its rows are written, counted and published.

spark-submit without_gate.py, with the arguments of build_events.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from unittest.mock import patch

from expectations.page import GateReport
from jobs import build_events
from jobs.building.batch_rows import BuildResult
from jobs.building.history import BuildHistory
from jobs.report.report import Report


def main(argv: Sequence[str]) -> int:
    """Build one batch."""
    with (
        patch("jobs.cli.run.start_report", Report),
        patch.object(build_events, "load_great_expectations"),
        patch.object(build_events, "judge_rows", _unjudged),
        patch("jobs.report.data_docs.DataDocs.show"),
    ):
        return build_events.main(argv)


def _unjudged(result: BuildResult, history: BuildHistory, context: build_events.BuildContext, *_: object) -> GateReport:
    counts = {**result.counters, "merged": 0}
    return GateReport(history.batch, context.run.runId, "passed", False, "", "", counts, [], [])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
