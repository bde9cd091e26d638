"""From raw records to acknowledged events: both jobs, against a plain PySpark script with stock boto3."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.contestants import build
from benchmarks.measuring.emulator import CALLER, REGION, TRACKER, emulator, told
from benchmarks.measuring.in_turn import in_turn
from benchmarks.measuring.process import ROOT, Cost, run, say, submitted
from benchmarks.plan import Bench
from benchmarks.results import Row, compare
from benchmarks.shop_log import BATCH, SCHEMA

MILLION: Final = 1_000_000
NO_LIMIT: Final = "20000"
"""Calls a second that two cores do not carry, so that nothing waits."""
EVENTS_A_CALL: Final = 10
FEW: Final = 800
"""Records: enough that all code has run, so that what it costs to start is not taken for the cost of events."""


class Sent(NamedTuple):
    """What came of sending a log.

    Attributes:
        cost: what it took, without the emulator.
        events: acknowledged.
        requests: calls made.
        minimum: calls needed.
    """

    cost: Cost
    events: int
    requests: int
    minimum: int


def rows(bench: Bench) -> Iterator[Row]:
    """Measure."""
    plan, lake = bench.plan, bench.folder / "lake"
    shops = {size: bench.shop(size, visits=True) for size in (FEW, plan.batching, plan.singly, plan.records)}
    expected = {size: _counted(shop, bench.folder) for size, shop in shops.items()}
    contestants: dict[str, Callable[[], Sent]] = {
        "ours": partial(_ours, shops[plan.records], lake),
        "batching": partial(_plain, shops[plan.batching], expected[plan.batching], EVENTS_A_CALL),
        "singly": partial(_plain, shops[plan.singly], expected[plan.singly], 1),
    }
    start, plain_start = _ours(shops[FEW], lake), _plain(shops[FEW], expected[FEW], 1)
    sent = in_turn(contestants, plan.pairs)
    ours = [_scaled(each, start) for each in sent["ours"]]
    for name, what, records, goal in (
        ("batching", "plain script", plan.batching, 4.0),
        ("singly", "one event a call", plan.singly, 25.0),
    ):
        size = "ten events of a user and session a call" if name == "batching" else "one event a call"
        note = (
            f"raw records to acknowledged events, for a million events: both jobs on {plan.records:,} records, against "
            f"a PySpark script with stock boto3, {size}, on {records:,}; both scaled, with what {FEW} records take, "
            "measured once, set aside as start-up; the emulator's own time is not counted"
        )
        peer = [_scaled(each, plain_start) for each in sent[name]]
        clocks = [cost.clock for cost in ours], [cost.clock for cost in peer]
        processors = [cost.processors for cost in ours], [cost.processors for cost in peer]
        title = f"both jobs, {what}"
        yield compare("whole", f"{title}: processors", *processors, "CPU s", f"{note}.", "peer / ours", goal)
        yield compare(
            "whole", title, *clocks, "s", "the same by the clock, the emulator on the same cores.", "peer / ours"
        )
    requests, minimum = ([float(getattr(each, name)) for each in sent["ours"]] for name in ("requests", "minimum"))
    note = "calls made, against the fewest that the users and sessions of the events allow."
    yield compare("whole", "requests, minimum", requests, minimum, "calls", note, goal=1.0)


def _scaled(sent: Sent, start: Sent) -> Cost:
    """Give what a million events take: start-up, and for each event what those beyond the start took."""
    more = (MILLION - start.events) / (sent.events - start.events)
    return Cost(*(begun + (took - begun) * more for took, begun in zip(sent.cost, start.cost, strict=True)))


def _ours(shop: Path, lake: Path) -> Sent:
    built, summary = build(shop, lake)
    with emulator() as url:
        where = ["--lake", str(lake), "--batch", BATCH, "--tracking-id", TRACKER, "--region", REGION]
        ended = run(submitted("jobs/put_events.py", *where, "--endpoint-url", url, "--max-rate", NO_LIMIT), CALLER)
        book = told(url)
    put = json.loads(ended.output[-1])
    shutil.rmtree(lake)
    _hold("ours", book, summary["events"], put["requests"])
    if put["delivered"] != summary["events"]:
        raise SystemExit(f"put_events delivered {put['delivered']} of {summary['events']} events")
    both = Cost(*(sum(each) for each in zip(built, ended.cost, strict=True)))
    say(f"both jobs: build {built.clock:.1f} s, put {ended.cost.clock:.1f} s, {put['achievedRate']} calls a second")
    return Sent(both, summary["events"], put["requests"], put["requestsMinimum"])


def _plain(shop: Path, expected: dict[str, Any], size: int) -> Sent:
    calls = expected["requests"] if size > 1 else expected["events"]
    with emulator() as url:
        ended = run(submitted("benchmarks/peers/plain_script.py", str(shop / "raw"), SCHEMA, url, str(size)), CALLER)
        book = told(url)
    _hold("the plain script", book, expected["events"], calls)
    say(f"plain script, {size} a call: {ended.cost.clock:.1f} s, {ended.cost.processors:.1f} of the processors")
    return Sent(ended.cost, expected["events"], calls, expected["requests"])


def _hold(who: str, book: dict[str, Any], events: int, calls: int) -> None:
    found = (book["events"], book["duplicateEventIds"], book["accepted"])
    if found != (events, 0, calls):
        raise SystemExit(f"{who}: events, repeats and calls received are {found}, and should be {(events, 0, calls)}")


def _counted(shop: Path, folder: Path) -> dict[str, Any]:
    """Count a log by DuckDB, which counts as ours does (the build rows hold them to it)."""
    out = folder / "counted"
    ended = run([sys.executable, str(ROOT / "benchmarks/peers/duckdb_build.py"), str(shop / "raw"), str(out)])
    shutil.rmtree(out)
    return dict(json.loads(ended.output[-1]))
