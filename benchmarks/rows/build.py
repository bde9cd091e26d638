"""build_events, with its gate and without, against Spark's floor, rows in Python, and DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.contestants import WITHOUT_GATE, Builders
from benchmarks.measuring.in_turn import in_turn
from benchmarks.plan import Bench
from benchmarks.results import Of, Row, compare

_PAIRS: tuple[tuple[str, str, Of, float | None], ...] = (
    ("without", "floor", "ours / peer", 1.5),
    ("with", "floor", "ours / peer", 1.9),
    ("without", "Python", "peer / ours", 2.0),
    ("without", "DuckDB", "ours / peer", 2.5),
    ("with", "without", "ours / peer", None),
)
_AGAINST = {
    "floor": "Spark that only reads the same files with a schema, shuffles by visitor, sorts and writes Parquet",
    "Python": "rows parsed, mapped and checked in mapInPandas, with the same rules, eventIds, quarantine and counts, "
    "and sessions cut by window functions",
    "DuckDB": "one DuckDB process on two threads that reads, checks, cuts, writes and counts the same, without a JVM",
    "without": "the same build without gate, report and page",
}
_NAMES = {
    "floor": "Spark's floor",
    "without": "build without gate",
    "with": "build with gate",
    "Python": "rows in Python",
    "DuckDB": "DuckDB",
}


def rows(bench: Bench) -> Iterator[Row]:
    """Measure."""
    builders, shop = Builders(bench.folder), bench.shop(bench.plan.records)
    costs = in_turn(
        {
            "floor": partial(builders.floor, shop),
            "without": partial(builders.ours, shop, WITHOUT_GATE),
            "with": partial(builders.ours, shop),
            "Python": partial(builders.in_python, shop),
            "DuckDB": partial(builders.duckdb, shop),
        },
        bench.plan.pairs,
    )
    bench.builds.extend(costs["with"])
    for ours, peer, of, goal in _PAIRS:
        name = f"{_NAMES[ours]}, {_NAMES[peer]}"
        note = f"{_NAMES[ours]} of {bench.plan.records:,} JSON records, against {_AGAINST[peer]}"
        one, other = costs[ours], costs[peer]
        clocks = [cost.clock for cost in one], [cost.clock for cost in other]
        processors = [cost.processors for cost in one], [cost.processors for cost in other]
        yield compare("build", name, *clocks, "s", f"{note}; by the clock.", of, goal)
        yield compare("build", f"{name}: processors", *processors, "CPU s", "the same in processor seconds.", of)
