"""What the gate costs a build: pairs of fresh processes, with it and without, on the same records.

    python benchmarks/measure_gate.py [--records 1000000] [--pairs 5]

Without it, the build ends once its rows are written and counted: no facts, no Great Expectations, no page.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final
from unittest.mock import patch

ROOT: Final = Path(__file__).parents[1]
FILES: Final = 8
DAY: Final = 1_704_153_600_000  # 2024-01-02T00:00:00Z
MAPPING: Final = """
[source]
format = "json"
schema = "visitor STRING, user STRING, action STRING, at BIGINT, sku STRING, price DOUBLE, device STRING"
[record]
where = "action <> 'ping'"
[event]
eventType  = "action"
sentAt     = "timestamp_millis(at)"
visitorId  = "visitor"
userId     = "user"
itemId     = "sku"
eventValue = "price"
[event.properties]
device = "device"
"""


def write_records(folder: Path, records: int) -> None:
    """Write a day of a shop's clicks as JSON lines; about 1 % of them is refused, for one of three reasons."""
    chance = random.Random(7)  # noqa: S311 - the same records every time
    for number in range(FILES):
        with (folder / f"log{number}.jsonl").open("w") as file:
            file.writelines(_line(chance, max(records // 20, 1)) for _ in range(records // FILES))


def _line(chance: random.Random, visitors: int) -> str:
    visitor, fault = chance.randrange(visitors), chance.random()
    if fault < 0.004:
        return '{"broken\n'
    record = {
        "visitor": f"v{visitor}",
        "user": None if visitor % 3 else f"u{visitor}",
        "action": chance.choice(["view", "cart", "buy", "ping"]),
        "at": None if fault < 0.008 else DAY + chance.randrange(86_400_000),
        "sku": "x" * 300 if fault > 0.996 else f"sku{chance.randrange(50_000)}",
        "price": chance.choice([None, 9.5, 19.9]),
        "device": chance.choice(["ios", "android", "web"]),
    }
    return json.dumps(record) + "\n"


def build(folder: Path, *, gate: bool) -> int:
    """Build one batch in this process."""
    from jobs import build_events  # noqa: PLC0415 - the parent process needs no Spark

    argv = ["--input", str(folder / "raw"), "--mapping", str(folder / "shop.toml"), "--batch", "2024-01-02"]
    argv += ["--lake", str(folder / "lake"), "--as-of", "2024-01-03"]
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
    return Judged("2024-01-02", run_id, "passed", False, "", "", counts, [], [])


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
        (folder / "raw").mkdir()
        (folder / "shop.toml").write_text(MAPPING)
        write_records(folder / "raw", given.records)
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
