"""What the gate costs a build: pairs of fresh processes, with it and without, on the same records.

    python benchmarks/measure_gate.py [--records 1000000] [--pairs 5]

Without it, the build ends once its rows are written and counted: no facts, no Great Expectations, no page.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final
from unittest.mock import patch

from shop_log import AS_OF, BATCH, write_shop

ROOT: Final = Path(__file__).parents[1]


def build(folder: Path, *, gate: bool) -> int:
    """Build one batch in this process."""
    from jobs import build_events  # noqa: PLC0415 - the parent process needs no Spark

    argv = ["--input", str(folder / "raw"), "--mapping", str(folder / "shop.toml"), "--batch", BATCH]
    argv += ["--lake", str(folder / "lake"), "--as-of", AS_OF]
    if gate:
        return build_events.main(argv)
    with (
        patch.object(build_events, "load_great_expectations"),
        patch.object(build_events, "judge_rows", _nothing),
        patch.object(build_events.DataDocs, "show"),
    ):
        return build_events.main(argv)


def _nothing(slot: object, built: object, *_: object) -> object:
    from expectations.page import Judged  # noqa: PLC0415 - as above

    counts = {**built.counters, "merged": 0}  # type: ignore[attr-defined] # whatever judge_rows is given
    run_id = slot.runId  # type: ignore[attr-defined] # as above
    return Judged(BATCH, run_id, "passed", False, "", "", counts, [], [])


def timed(folder: Path, kind: str) -> float:
    """Run one build in a process of its own: seconds, start-up and all."""
    submit = "--master local[2] --driver-memory 4g --conf spark.ui.showConsoleProgress=false pyspark-shell"
    environment = {**os.environ, "PYSPARK_SUBMIT_ARGS": submit, "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    subprocess.run(  # noqa: S603 - our own command
        [sys.executable, __file__, "--folder", str(folder), "--one", kind],
        env=environment,
        capture_output=True,
        check=True,
    )
    return time.monotonic() - started


def main() -> int:
    """Compare."""
    parser = argparse.ArgumentParser(description="What the gate costs a build.")
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", choices=("with", "without"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return build(given.folder, gate=given.one == "with")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shop(folder, given.records)
        ratios = []
        for number in range(given.pairs):
            order = ("with", "without") if number % 2 else ("without", "with")  # neither always goes first
            seconds = {kind: timed(folder, kind) for kind in order}
            ratios.append(seconds["with"] / seconds["without"])
            print(f"with {seconds['with']:6.1f} s   without {seconds['without']:6.1f} s   ratio {ratios[-1]:.3f}")
    print(f"median ratio of {given.pairs} pairs, {given.records:,} records: {median(ratios):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
