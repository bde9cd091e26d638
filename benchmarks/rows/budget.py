"""How a limit is used and kept: the calls that arrive at an emulator, second by second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from benchmarks.measuring.emulator import CALLER, emulator, told
from benchmarks.measuring.process import run, say, submitted
from benchmarks.plan import Bench
from benchmarks.results import Row, compare

LIMITS: Final = (100, 1_000)
QUOTA: Final = 1_000
"""Of the real service, for a dataset group."""
BEYOND: Final = 20_000
"""Calls a second that two cores do not carry, nor the emulator on them."""
GUESS: Final = 3_000
ROOM: Final = 0.9
EDGE: Final = 2
"""Seconds at either end that are left out: start-up, and a last second that is not full."""
LATENCY: Final = ("--latency-ms", "20")


def rows(bench: Bench) -> Iterator[Row]:
    """Measure."""
    seconds = bench.plan.seconds
    free = _deliver(BEYOND, GUESS * seconds)
    carried = _middle(free)
    quotas = [float(QUOTA)] * len(carried)
    note = "calls a second that two cores carry, the emulator among it, against the service's quota; a pair a second."
    carry = compare("budget", "carried without a limit, the service's quota", carried, quotas, "calls/s", note)
    yield carry
    for limit in (*LIMITS, int(carry.ours * ROOM) // 100 * 100):
        most = "" if limit in LIMITS else f", {ROOM:.0%} of what two cores carry"
        summary = _deliver(limit, limit * seconds, "--quota", str(limit))
        used = _middle(summary)
        yield compare(
            "budget",
            f"used of a limit of {limit:,}",
            used,
            [float(limit)] * len(used),
            "calls/s",
            f"calls admitted in each full second, against --max-rate and a quota of {limit:,}{most}; a pair a second.",
        )
        yield compare(
            "budget",
            f"throttled at a limit of {limit:,}",
            [float(summary["throttled"])],
            [float(summary["calls"])],
            "calls",
            f"calls that a service with a quota of {limit:,} in any one second refuses, of all calls{most}.",
        )


def _deliver(limit: int, calls: int, *options: str) -> dict[str, Any]:
    with emulator(*LATENCY, *options) as url:
        run(submitted("benchmarks/peers/made_up_requests.py", url, str(limit), str(calls)), CALLER)
        summary = told(url)
    if summary["accepted"] != calls:
        raise SystemExit(f"of {calls} calls at a limit of {limit}, {summary['accepted']} were accepted")
    say(f"limit {limit:,}: {calls:,} calls, {summary['throttled']} throttled")
    return summary


def _middle(summary: dict[str, Any]) -> list[float]:
    """Give the full seconds' counts."""
    seconds = sorted((int(second), float(count)) for second, count in summary["perSecond"].items())
    return [count for _, count in seconds][EDGE:-EDGE]
