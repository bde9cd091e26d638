"""How a build grows with its records, with one large visitor, with cores; and what merely starting it takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median
from typing import Final

from benchmarks.contestants import Builders
from benchmarks.measuring.in_turn import in_turn
from benchmarks.measuring.process import Cost, run, say, submitted
from benchmarks.plan import Bench, Plan
from benchmarks.results import Row, compare

TEN_TIMES: Final = 10.5
SHARES: Final = (0.01, 0.3)
LEAST: Final = 0.01
"""Seconds: of a log so small that the noise is more than its time, nothing would be left without start-up."""


def rows(bench: Bench) -> Iterator[Row]:
    """Measure."""
    plan, builders = bench.plan, Builders(bench.folder)
    empty, even = bench.shop(0), bench.shop(plan.skewed)
    contestants = {
        "empty": partial(builders.ours, empty),
        "bare": partial(_bare, str(next((empty / "raw").iterdir()))),
        "small": partial(builders.ours, bench.shop(plan.small)),
        "even": partial(builders.ours, even),
        "one core": partial(builders.ours, even, cores=1),
        **{f"{share:.0%}": partial(builders.ours, bench.shop(plan.skewed, share)) for share in SHARES},
    }
    if not bench.builds:
        contestants["records"] = partial(builders.ours, bench.shop(plan.records))
    costs = in_turn(contestants, plan.pairs)
    costs.setdefault("records", bench.builds)
    start = costs["empty"]
    yield from _growth(plan, costs)
    if plan.large:
        large = builders.ours(bench.shop(plan.large))
        say(f"{plan.large:,} records: {large.clock:.1f} s, {large.processors:.1f} of the processors")
        yield _ten_times(plan.records, [large], [_middle(costs["records"])], [_middle(start)])
    after = {name: _after(each, start) for name, each in costs.items()}
    for share in SHARES:
        name = f"{share:.0%}"
        note = f"clock of a build of {plan.skewed:,} records of which {name} are one visitor's, against none so large; "
        yield compare(
            "growth", f"{name} in one visitor, even", after[name], after["even"], "s", f"{note}start-up aside."
        )
    note = f"clock of a build of {plan.skewed:,} records by local[1], against local[2]; start-up aside."
    yield compare("growth", "two cores, one core", after["even"], after["one core"], "s", note, "peer / ours")
    note = (
        "whole spark-submit of build_events of an empty batch, with gate and report, against one that opens a session "
    )
    note += "and counts an empty file"
    clocks, processors = ([list(each) for each in zip(*costs[name], strict=True)] for name in ("empty", "bare"))
    yield compare("growth", "start-up, bare session", clocks[0], processors[0], "s", f"{note}; by the clock.", goal=2.0)
    yield compare("growth", "start-up, bare session: processors", clocks[1], processors[1], "CPU s", f"{note}.")


def _growth(plan: Plan, costs: dict[str, list[Cost]]) -> Iterator[Row]:
    yield _ten_times(plan.small, costs["records"], costs["small"], costs["empty"])


def _ten_times(small: int, ours: Sequence[Cost], peer: Sequence[Cost], start: Sequence[Cost]) -> Row:
    note = f"clock of a build with gate of {small * 10:,} records, against {small:,}; start-up (an empty batch) aside."
    name = f"{small * 10:,} records, {small:,}"
    return compare("growth", name, _after(ours, start), _after(peer, start), "s", note, goal=TEN_TIMES)


def _after(costs: Sequence[Cost], start: Sequence[Cost]) -> list[float]:
    """Take start-up off."""
    return [max(cost.clock - begun.clock, LEAST) for cost, begun in zip(costs, start, strict=True)]


def _middle(costs: Sequence[Cost]) -> Cost:
    return Cost(*(median(each) for each in zip(*costs, strict=True)))


def _bare(file: str) -> Cost:
    return run(submitted("benchmarks/peers/bare_session.py", file)).cost
