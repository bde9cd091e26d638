"""How well a limit is used and kept: the calls that arrive at an emulator, second by second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final

from benchmarks.measuring.emulator import CALLER, emulator, told
from benchmarks.measuring.process import run, say, submitted
from benchmarks.plan import Bench
from benchmarks.results import Row, compare

LIMITS: Final = (100, 1_000)
QUOTA: Final = 1_000
"""The quota of the real service for a dataset group."""
BEYOND: Final = 20_000
"""Calls a second that two cores cannot make, with the emulator on them."""
GUESS: Final = 5_000
ROOM: Final = 0.9
EDGE: Final = 2
"""Seconds at each end that are left out: start-up, and an incomplete last second."""
LATENCY: Final = ("--latency-ms", "20")


def rows(bench: Bench) -> Iterator[Row]:
    """Measure."""
    seconds = bench.plan.seconds
    free, *kept = _deliver({BEYOND: GUESS * seconds, **{limit: limit * seconds for limit in LIMITS}})
    carried = _middle(free)
    quotas = [float(QUOTA)] * len(carried)
    note = "calls a second that two cores can make, the emulator included, against the quota of the service; "
    note += "one pair each second."
    carry = compare("budget", "carried without a limit, the service's quota", carried, quotas, "calls/s", note)
    yield carry
    for limit, summary in zip(LIMITS, kept, strict=True):
        yield from _rows(limit, summary, "")
    if bench.plan.quick:
        return
    most = int(carry.ours * ROOM) // 100 * 100
    (summary,) = _deliver({most: most * seconds})
    yield from _rows(most, summary, f"; this is {ROOM:.0%} of what two cores can make")


def _rows(limit: int, summary: dict[str, Any], words: str) -> Iterator[Row]:
    used, limits = _middle(summary), [float(limit)] * len(_middle(summary))
    note = (
        f"calls admitted in each full second, against --max-rate and a quota of {limit:,}{words}; one pair each second."
    )
    yield compare("budget", f"used of a limit of {limit:,}", used, limits, "calls/s", note)
    throttled, calls = [float(summary["throttled"])], [float(summary["calls"])]
    note = f"calls that a service with a quota of {limit:,} in any one second refuses, of all calls{words}."
    yield compare("budget", f"throttled at a limit of {limit:,}", throttled, calls, "calls", note)


def _deliver(calls: dict[int, int]) -> list[dict[str, Any]]:
    """Send so many calls at each limit, each to its own emulator; return their counts."""
    with ExitStack() as stack:
        urls = {limit: stack.enter_context(emulator(*LATENCY, "--quota", _quota(limit))) for limit in calls}
        run(submitted("benchmarks/peers/made_up_requests.py", *(f"{urls[n]},{n},{calls[n]}" for n in calls)), CALLER)
        summaries = {limit: told(url) for limit, url in urls.items()}
    for limit, summary in summaries.items():
        if summary["accepted"] != calls[limit]:
            raise SystemExit(f"of {calls[limit]} calls at a limit of {limit}, {summary['accepted']} were accepted")
        say(f"limit {limit:,}: {calls[limit]:,} calls, {summary['throttled']} throttled")
    return list(summaries.values())


def _quota(limit: int) -> str:
    return "0" if limit == BEYOND else str(limit)


def _middle(summary: dict[str, Any]) -> list[float]:
    """Return the counts of the full seconds."""
    seconds = sorted((int(second), float(count)) for second, count in summary["perSecond"].items())
    return [count for _, count in seconds][EDGE:-EDGE]
