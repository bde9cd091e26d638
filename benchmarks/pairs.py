"""What a part of a build costs: pairs of fresh processes, with it and without, on the same records.

Printed are seconds by the clock and, in parentheses, of the processors, which tell more on a shared machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from shop_log import AS_OF, BATCH, write_shop

ROOT: Final = Path(__file__).parents[1]


class Cost(NamedTuple):
    """What a build took: seconds by the clock, start-up and all, and of the processors, by Python and the JVM."""

    clock: float
    processors: float


def build(folder: Path) -> int:
    """Build one batch in this process, and print what it took of the processors."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - the parent process needs no Spark

    from jobs import build_events  # noqa: PLC0415 - as above

    argv = ["--input", str(folder / "raw"), "--mapping", str(folder / "shop.toml"), "--batch", BATCH]
    code = build_events.main([*argv, "--lake", str(folder / "lake"), "--as-of", AS_OF])
    jvm: Any = SparkSession.builder.getOrCreate()._jvm
    taken = jvm.java.lang.ProcessHandle.current().info().totalCpuDuration().get().toMillis() / 1000
    print(taken + time.process_time())
    return code


def compare(script: str, what: str, builds: Mapping[str, Callable[[Path], int]]) -> int:
    """Compare builds, as the command line says.

    Args:
        script: the benchmark's own path, which is run again for each build.
        what: for its help.
        builds: build one batch, `with` it and `without`.
    """
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", choices=("with", "without"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        return builds[given.one](given.folder)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shop(folder, given.records)
        ratios = []
        for number in range(given.pairs):
            order = ("with", "without") if number % 2 else ("without", "with")  # neither always goes first
            costs = {kind: _timed(script, folder, kind) for kind in order}
            ratios.append([one / other for one, other in zip(costs["with"], costs["without"], strict=True)])
            print(*[f"{kind} {cost.clock:.1f} s ({cost.processors:.1f})" for kind, cost in costs.items()], flush=True)
    clock, processors = (median(each) for each in zip(*ratios, strict=True))
    print(f"median ratio of {given.pairs} pairs, {given.records:,} records: {clock:.3f} ({processors:.3f})")
    return 0


def _timed(script: str, folder: Path, kind: str) -> Cost:
    """Run one build in a process of its own."""
    submit = "--master local[2] --driver-memory 4g --conf spark.ui.showConsoleProgress=false pyspark-shell"
    environment = {**os.environ, "PYSPARK_SUBMIT_ARGS": submit, "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, script, "--folder", str(folder), "--one", kind],
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    )
    return Cost(time.monotonic() - started, float(done.stdout.splitlines()[-1]))
