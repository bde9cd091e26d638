"""Run seeds: `python -m tests.simulation --seeds 0:10000`; each that fails is printed, with what went before."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.sweep import sweep

_TELL_SECONDS = 30.0
"""From one line that says how far it is to the next."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument(
        "--seeds", default="0:1000", metavar="A:B", help="from A up to B, B left out; or one seed alone"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--failures", type=int, default=10, help="end after so many seeds that fail")
    options = parser.parse_args()
    first, _, end = options.seeds.partition(":")
    seeds = range(int(first), int(end) if end else int(first) + 1)
    begun = told = time.monotonic()
    seen = calls = twice = failures = 0
    for result in sweep(seeds, options.processes):
        seen, calls, twice = seen + 1, calls + result.calls, twice + result.twice
        if result.violation is not None:
            failures += 1
            print(result.report(), flush=True)
        if failures >= options.failures:
            break
        if time.monotonic() - told > _TELL_SECONDS:
            told = time.monotonic()
            print(f"{seen:,} of {len(seeds):,} seeds, {failures} fail, {told - begun:.0f} s", flush=True)
    seconds = time.monotonic() - begun
    print(f"{seen:,} seeds, {calls:,} calls, {twice:,} of them twice, {failures} seeds fail, {seconds:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
