"""From raw records to acknowledged events: both jobs, against a plain PySpark script with stock boto3."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
"""Calls a second that two cores cannot make, so that nothing waits."""
EVENTS_A_CALL: Final = 10
FEW: Final = 800
"""Records: enough to run all code, so that the start does not count as the cost of events."""


class Took(NamedTuple):
    """The time for so many events.

    Attributes:
        cost: without the emulator.
        events: the number of events.
    """

    cost: Cost
    events: int


NOTHING: Final = Took(Cost(0.0, 0.0), 0)


def rows(bench: Bench) -> Iterator[Row]:
    """Measure; for our build, use the times of the group `build` if there are any."""
    plan = bench.plan
    lake = _Lake.built(bench, plan.sent)
    build_start, put_start, plain_start = _starts(bench)
    contestants: dict[str, Callable[[], Took]] = {
        "put": lake.put,
        "batching": partial(_plain, bench, plan.batching, EVENTS_A_CALL),
        "singly": partial(_plain, bench, plan.singly, 1),
    }
    if not bench.builds:
        contestants["build"] = lambda: _Lake.built(bench, plan.records).took
    took = in_turn(contestants, plan.pairs)
    events = _counted(bench, plan.records)["events"]
    builds = took.get("build") or [Took(cost, events) for cost in bench.builds]
    ours = [
        _sum(_scaled(build, build_start), _scaled(put, put_start))
        for build, put in zip(builds, took["put"], strict=True)
    ]
    for name, what, size, goal in (
        ("batching", "plain script", "ten events of a user and session a call", 4.0),
        ("singly", "one event a call", "one event a call", 25.0),
    ):
        note = (
            f"raw records to acknowledged events, for a million events: a build of {plan.records:,} records and a "
            f"delivery of {plan.sent:,}, against a PySpark script with stock boto3, {size}, on "
            f"{getattr(plan, name):,}; all scaled, without the time of {FEW} records, measured once, as start-up; "
            "the time of the emulator does not count"
        )
        peer = [_scaled(each, plain_start) for each in took[name]]
        clocks = [cost.clock for cost in ours], [cost.clock for cost in peer]
        processors = [cost.processors for cost in ours], [cost.processors for cost in peer]
        title = f"both jobs, {what}"
        yield compare("whole", f"{title}: processors", *processors, "CPU s", f"{note}.", "peer / ours", goal)
        yield compare(
            "whole", title, *clocks, "s", "the same by the clock, with the emulator on the same cores.", "peer / ours"
        )
    sent = [_scaled(put, put_start) for put in took["put"]]
    note = "processor seconds of the delivery of a million events, against those of the build."
    yield compare(
        "whole",
        "delivery, build",
        [cost.processors for cost in sent],
        [_scaled(build, build_start).processors for build in builds],
        "CPU s",
        note,
    )
    note = "calls made, against the fewest calls that the users and sessions of the events allow."
    calls = float(lake.calls)
    yield compare("whole", "requests, minimum", [calls], [float(lake.minimum)], "calls", note, goal=1.0)


def _starts(bench: Bench) -> tuple[Took, Took, Took]:
    """Return the start-up of builds, deliveries and plain scripts; a quick run leaves it out."""
    if bench.plan.quick:
        return (NOTHING, NOTHING, NOTHING)
    few = _Lake.built(bench, FEW)
    return few.took, few.put(), _plain(bench, FEW, 1)


def _scaled(took: Took, start: Took) -> Cost:
    """Return the time of a million events: start-up, and the time of each further event."""
    more = (MILLION - start.events) / (took.events - start.events)
    return Cost(*(begun + (whole - begun) * more for whole, begun in zip(took.cost, start.cost, strict=True)))


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(one.clock + other.clock, one.processors + other.processors)


@dataclass
class _Lake:
    """A lake with one batch. It is sent from a copy, so that it can be sent again.

    Attributes:
        folder: its path.
        took: the time of the build.
        minimum: calls that its events need, computed by DuckDB.
        calls: the calls of the last delivery.
    """

    folder: Path
    took: Took
    minimum: int
    calls: int = 0

    @classmethod
    def built(cls, bench: Bench, size: int) -> _Lake:
        """Build it again."""
        folder = bench.folder / f"lake-{size}"
        shutil.rmtree(folder, ignore_errors=True)
        cost, summary = build(bench.shop(size), folder)
        expected = _counted(bench, size)
        if summary["events"] != expected["events"]:
            raise SystemExit(f"build_events made {summary['events']} events, DuckDB {expected['events']}")
        return cls(folder, Took(cost, summary["events"]), expected["requests"])

    def put(self) -> Took:
        """Send all of it."""
        lake = self.folder.with_name("sent")
        shutil.copytree(self.folder, lake)
        with emulator() as url:
            where = ["--lake", str(lake), "--batch", BATCH, "--tracking-id", TRACKER, "--region", REGION]
            ended = run(submitted("jobs/put_events.py", *where, "--endpoint-url", url, "--max-rate", NO_LIMIT), CALLER)
            book = told(url)
        shutil.rmtree(lake)
        put = json.loads(ended.output[-1])
        self.calls = put["requests"]
        _hold("put_events", book, self.took.events, self.calls)
        say(f"put_events: {self.calls:,} calls, {put['achievedRate']} a second")
        return Took(ended.cost, self.took.events)


def _plain(bench: Bench, records: int, size: int) -> Took:
    shop, expected = bench.shop(records), _counted(bench, records)
    with emulator() as url:
        ended = run(submitted("benchmarks/peers/plain_script.py", str(shop / "raw"), SCHEMA, url, str(size)), CALLER)
        book = told(url)
    _hold("the plain script", book, expected["events"], expected["requests"] if size > 1 else expected["events"])
    return Took(ended.cost, expected["events"])


def _hold(who: str, book: dict[str, Any], events: int, calls: int) -> None:
    found = (book["events"], book["duplicateEventIds"], book["accepted"])
    if found != (events, 0, calls):
        raise SystemExit(f"{who}: events, repeats and received calls are {found}, expected {(events, 0, calls)}")


def _counted(bench: Bench, records: int) -> dict[str, Any]:
    """Count a log with DuckDB; the group `build` checks that its counts are the same as ours."""
    out = bench.folder / "counted"
    ended = run(
        [sys.executable, str(ROOT / "benchmarks/peers/duckdb_build.py"), str(bench.shop(records) / "raw"), str(out)]
    )
    shutil.rmtree(out)
    return dict(json.loads(ended.output[-1]))
