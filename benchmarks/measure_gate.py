"""What the gate costs a build: pairs of fresh processes, with it and without, on the same records.

    python benchmarks/measure_gate.py [--records 1000000] [--pairs 5]

Without it, the build ends once its rows are written and counted: no facts, no Great Expectations, no page.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

from pairs import build, compare
from shop_log import BATCH


def gated(folder: Path) -> int:
    """Build one batch in this process, without a report."""
    from jobs.report.report import Report  # noqa: PLC0415 - the parent process needs no Spark

    with patch("jobs.frame.run.start_report", Report):
        return build(folder)


def without(folder: Path) -> int:
    """Build one batch in this process without the gate."""
    from jobs import build_events  # noqa: PLC0415 - as above

    with (
        patch.object(build_events, "load_great_expectations"),
        patch.object(build_events, "judge_rows", _nothing),
        patch.object(build_events.DataDocs, "show"),
    ):
        return gated(folder)


def _nothing(slot: object, built: object, *_: object) -> object:
    from expectations.page import Judged  # noqa: PLC0415 - as above

    counts = {**built.counters, "merged": 0}  # type: ignore[attr-defined] # whatever judge_rows is given
    run_id = slot.runId  # type: ignore[attr-defined] # as above
    return Judged(BATCH, run_id, "passed", False, "", "", counts, [], [])


if __name__ == "__main__":
    sys.exit(compare(__file__, "What the gate costs a build.", {"with": gated, "without": without}))
