"""From raw records to acknowledged events: both jobs, against a plain PySpark script with stock boto3."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
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
    plan = bench.plan
    batching, singly = bench.shop(plan.batching, visits=True), bench.shop(plan.singly, visits=True)
    sent = in_turn(
        {
            "ours": partial(_ours, bench.shop(plan.records, visits=True), bench.folder / "lake"),
            "start": partial(_plain, bench.shop(0), EVENTS_A_CALL, bench.folder),
            "batching": partial(_plain, batching, EVENTS_A_CALL, bench.folder),
            "singly": partial(_plain, singly, 1, bench.folder),
        },
        plan.pairs,
    )
    start = [each.cost for each in sent["start"]]
    for name, title, goal in (("batching", "plain script", 4.0), ("singly", "one event a call", 25.0)):
        size = f"{EVENTS_A_CALL} events of a user and session a call" if name == "batching" else "one event a call"
        records = plan.batching if name == "batching" else plan.singly
        note = (
            f"raw records to acknowledged events, for a million events: both jobs on {plan.records:,} records, scaled "
            f"start-up and all, against a PySpark script with stock boto3, {size}, on {records:,} records, scaled "
            "without its start-up (an empty log); the emulator's own time is not counted"
        )
        ours, peer = sent["ours"], sent[name]
        yield compare(
            "whole",
            f"both jobs, {title}: processors",
            [each.cost.processors / each.events * MILLION for each in ours],
            _scaled(peer, [cost.processors for cost in start], "processors"),
            "CPU s",
            f"{note}.",
            "peer / ours",
            goal,
        )
        yield compare(
            "whole",
            f"both jobs, {title}",
            [each.cost.clock / each.events * MILLION for each in ours],
            _scaled(peer, [cost.clock for cost in start], "clock"),
            "s",
            "the same by the clock, the emulator on the same two cores.",
            "peer / ours",
        )
    requests, minimum = ([float(getattr(each, name)) for each in sent["ours"]] for name in ("requests", "minimum"))
    note = "calls made, against the fewest that the users and sessions of the events allow."
    yield compare("whole", "requests, minimum", requests, minimum, "calls", note, goal=1.0)


def _scaled(sent: Sequence[Sent], start: Sequence[float], what: str) -> list[float]:
    """Give what a million events take."""
    return [
        begun + (getattr(each.cost, what) - begun) / each.events * MILLION
        for each, begun in zip(sent, start, strict=True)
    ]


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


def _plain(shop: Path, size: int, folder: Path) -> Sent:
    expected = _counted(shop, folder)
    calls = expected["requests"] if size > 1 else expected["events"]
    with emulator() as url:
        ended = run(submitted("benchmarks/peers/plain_script.py", str(shop / "raw"), SCHEMA, url, str(size)), CALLER)
        book = told(url)
    _hold("the plain script", book, expected["events"], calls)
    say(f"plain script, {size} a call: {ended.cost.processors:.1f} of the processors")
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
