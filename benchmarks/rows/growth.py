"""How the time of a build grows with its records, one large visitor and cores; and the time of its start."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median
from typing import Final

from benchmarks.contestants import Builders
from benchmarks.measuring.in_turn import in_turn
from benchmarks.measuring.process import Cost, run, say, submitted
from benchmarks.plan import Bench
from benchmarks.results import Row, compare

TEN_TIMES: Final = 10.5
SHARES: Final = (0.01, 0.3)


def rows(bench: Bench) -> Iterator[Row]:
    """Measure; leave out a row if its log is too small to measure without start-up."""
    costs = _measured(bench)
    return (row for row in _rows(bench, costs) if min(row.ours, row.peer, row.ratio) > 0)


def _measured(bench: Bench) -> dict[str, list[Cost]]:
    plan, builders, empty = bench.plan, Builders(bench.folder), bench.shop(0)
    always = {
        "empty": partial(builders.ours, empty),
        "bare": partial(_bare, str(next((empty / "raw").iterdir()))),
        "small": partial(builders.ours, bench.shop(plan.small)),
    }
    if not bench.builds:
        always["records"] = partial(builders.ours, bench.shop(plan.records))
    aside = {f"{share:.0%}": partial(builders.ours, bench.shop(plan.small, share)) for share in SHARES if plan.aside}
    aside["one core"] = partial(builders.ours, bench.shop(plan.small), cores=1)
    costs = in_turn({**always, **aside}, plan.aside)
    for name, more in in_turn(always, plan.pairs - plan.aside).items():
        costs[name] += more
    costs.setdefault("records", bench.builds)
    if plan.large:
        large = builders.ours(bench.shop(plan.large))
        say(f"{plan.large:,} records: {large.clock:.1f} s, {large.processors:.1f} CPU s")
        costs["large"] = [large]
    return costs


def _rows(bench: Bench, costs: dict[str, list[Cost]]) -> Iterator[Row]:
    plan, start = bench.plan, median(cost.clock for cost in costs["empty"])
    after = {name: [cost.clock - start for cost in each] for name, each in costs.items()}
    yield _ten_times(plan.small, after["records"], after["small"])
    if plan.large:
        yield _ten_times(plan.records, after["large"], [median(after["records"])])
    even = after["small"][: plan.aside]
    for share in SHARES if plan.aside else ():
        name = f"{share:.0%}"
        note = f"clock of a build of {plan.small:,} records of which {name} belong to one visitor, "
        note += "against a build without so large a visitor; without start-up (an empty batch)."
        yield compare("growth", f"{name} in one visitor, even", after[name], even, "s", note)
    if plan.aside:
        note = f"clock of a build of {plan.small:,} records with local[1], against local[2]; without start-up."
        yield compare("growth", "two cores, one core", even, after["one core"], "s", note, "peer / ours")
    note = "spark-submit of build_events of an empty batch, with gate and report, against one that opens a session and "
    note += "counts an empty file; by the clock."
    clocks = [cost.clock for cost in costs["empty"]], [cost.clock for cost in costs["bare"]]
    processors = [cost.processors for cost in costs["empty"]], [cost.processors for cost in costs["bare"]]
    yield compare("growth", "start-up, bare session", *clocks, "s", note, goal=2.0)
    name = "start-up, bare session: processors"
    yield compare("growth", name, *processors, "CPU s", "the same in processor seconds.")


def _ten_times(small: int, ours: Sequence[float], peer: Sequence[float]) -> Row:
    note = (
        f"clock of a build with gate of {small * 10:,} records, against {small:,}; without start-up (an empty batch)."
    )
    return compare("growth", f"{small * 10:,} records, {small:,}", ours, peer, "s", note, goal=TEN_TIMES)


def _bare(file: str) -> Cost:
    return run(submitted("benchmarks/peers/bare_session.py", file)).cost
