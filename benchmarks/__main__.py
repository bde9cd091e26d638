"""`python -m benchmarks [--quick] [--only build,send,...]`: measure, then write docs/benchmarks.md and results.json."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.machine import describe
from benchmarks.measuring.process import ROOT, say
from benchmarks.plan import FULL, QUICK, Bench
from benchmarks.results import GROUPS, Row, as_json, as_markdown, merged, read_rows
from benchmarks.rows import budget, build, growth, send, whole

MEASURES: Final[Mapping[str, Callable[[Bench], Iterator[Row]]]] = {
    "build": build.rows,
    "send": send.rows,
    "whole": whole.rows,
    "budget": budget.rows,
    "growth": growth.rows,
}
RESULTS: Final = ROOT / "benchmarks" / "results.json"
PAGE: Final = ROOT / "docs" / "benchmarks.md"
QUICK_FOLDER: Final = ROOT / "build"


def main(argv: Sequence[str]) -> int:
    """Measure the chosen groups."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The cost, against peers.")
    parser.add_argument("--quick", action="store_true", help="few records, one pair; writes build/bench-quick.*")
    parser.add_argument(
        "--only", type=groups, default=list(GROUPS), metavar="GROUPS", help=f"some of {', '.join(GROUPS)}"
    )
    given = parser.parse_args(argv)
    plan, started = QUICK if given.quick else FULL, time.monotonic()
    command = "make bench-quick" if plan.quick else "make bench"
    conditions, rows = describe(plan, command), []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        bench = Bench(plan, Path(name))
        for group in given.only:
            say(f"{GROUPS[group]}:")
            begun = time.monotonic()
            rows += list(MEASURES[group](bench))
            say(f"{GROUPS[group]} took {time.monotonic() - begun:.0f} s")
    results, page = (
        (QUICK_FOLDER / "bench-quick.json", QUICK_FOLDER / "bench-quick.md") if plan.quick else (RESULTS, PAGE)
    )
    rows = merged(read_rows(results), rows)
    results.parent.mkdir(exist_ok=True)
    results.write_text(as_json(rows))
    page.write_text(as_markdown(rows, conditions))
    print(page.read_text())
    print(
        f"{command}: {time.monotonic() - started:.0f} s in all; {results.relative_to(ROOT)}, {page.relative_to(ROOT)}"
    )
    return 0


def groups(text: str) -> list[str]:
    """Read a list of groups, in their own order."""
    named = text.split(",")
    if unknown := [name for name in named if name not in GROUPS]:
        raise argparse.ArgumentTypeError(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    return [name for name in GROUPS if name in named]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
