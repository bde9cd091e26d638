"""How a build bears skew and growth, in 2 GB: fresh processes, one after another.

    python benchmarks/measure_sessions.py skew [--records 2000000] [--share 0.3] [--pairs 3]
    python benchmarks/measure_sessions.py growth [--records 100000 1000000 10000000]

Skew: the same number of records, with and without one visitor who holds a share of them. Growth: ten times the records,
the start-up (the build of an empty batch) taken off; the memory is the most that the JVM held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from shop_log import AS_OF, BATCH, write_shop

ROOT: Final = Path(__file__).parents[1]
SUBMIT: Final = "spark-submit --master local[2] --driver-memory 2g --conf spark.ui.showConsoleProgress=false"


class Cost(NamedTuple):
    """What a build took."""

    seconds: float
    megabytes: float


def build(folder: Path, lake: str) -> Cost:
    """Build a batch in a process of its own."""
    command = [*SUBMIT.split(), str(ROOT / "jobs" / "build_events.py"), "--input", str(folder / "raw")]
    command += ["--mapping", str(folder / "shop.toml"), "--lake", str(folder / lake), "--batch", BATCH]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--as-of", AS_OF], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    said = process.stdout.read().splitlines()
    _, status, used = os.wait4(process.pid, 0)
    summary = json.loads(said[-1])
    if status or summary["candidates"] != summary["events"] + summary["quarantined"] + summary["duplicates"]:
        raise SystemExit(f"the build failed: {said[-1]}")
    return Cost(summary["seconds"], used.ru_maxrss / 1024)


def skew(records: int, share: float, pairs: int) -> None:
    """Compare one visitor who holds a share with many who hold as much each."""
    with tempfile.TemporaryDirectory() as name:
        folders = {"even": Path(name, "even"), "skewed": Path(name, "skewed")}
        for kind, folder in folders.items():
            folder.mkdir()
            write_shop(folder, records, share if kind == "skewed" else 0.0)
        ratios = []
        for number in range(pairs):
            order = ("even", "skewed") if number % 2 else ("skewed", "even")  # neither always goes first
            costs = {kind: build(folders[kind], f"lake{number}") for kind in order}
            ratios.append(costs["skewed"].seconds / costs["even"].seconds)
            print(
                f"even {costs['even'].seconds:6.1f} s   skewed {costs['skewed'].seconds:6.1f} s   {ratios[-1]:.2f}",
                flush=True,
            )
    print(f"median ratio of {pairs} pairs, {records:,} records, {share:.0%} one visitor's: {median(ratios):.2f}")


def growth(sizes: list[int]) -> None:
    """Compare each size with the one before."""
    with tempfile.TemporaryDirectory() as name:
        start = _sized(Path(name), 0)
        print(f"start-up {start.seconds:.1f} s, {start.megabytes:.0f} MB")
        before, took_before = 0, 0.0
        for records in sizes:
            cost = _sized(Path(name), records)
            took = cost.seconds - start.seconds
            times = f", {took / took_before:.2f} times for {records / before:g} times the records" if before else ""
            print(f"{records:>12,} records: {cost.megabytes:.0f} MB, {took:.1f} s after start-up{times}", flush=True)
            before, took_before = records, took


def _sized(root: Path, records: int) -> Cost:
    folder = root / str(records)
    folder.mkdir()
    write_shop(folder, records)
    return build(folder, "lake")


def main() -> int:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description="How a build bears skew and growth.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    skewed = kinds.add_parser("skew")
    skewed.add_argument("--records", type=int, default=2_000_000)
    skewed.add_argument("--share", type=float, default=0.3)
    skewed.add_argument("--pairs", type=int, default=3)
    grown = kinds.add_parser("growth")
    grown.add_argument("--records", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    given = parser.parse_args()
    if given.kind == "skew":
        skew(given.records, given.share, given.pairs)
    else:
        growth(given.records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
