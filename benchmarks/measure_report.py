"""What the report costs a build: pairs of fresh processes, with it and without, on the same records.

    python benchmarks/measure_report.py [--records 1000000] [--pairs 5]

Without it, nothing is imported for it, no aggregate is run for it, and no page is written.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

from pairs import build, compare


def without(folder: Path) -> int:
    """Build one batch in this process without a report."""
    from jobs.report.report import Report  # noqa: PLC0415 - the parent process needs no Spark

    with patch("jobs.frame.run.start_report", Report):
        return build(folder)


if __name__ == "__main__":
    sys.exit(compare(__file__, "What the report costs a build.", {"with": build, "without": without}))
