"""The cost of a call of ten events for the caller: with the sender of a task, with boto3, and as an unsigned POST.

All run in this process, in turn. The emulator, which verifies the signatures, and the driver, which gives the sender
its leases, run in their own processes.
"""

from __future__ import annotations

import http.client
import itertools
import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
import pyarrow as pa
from botocore.config import Config

from benchmarks.measuring.emulator import CALLER, REGION, TRACKER, emulator, told
from benchmarks.measuring.in_turn import in_turn
from benchmarks.measuring.process import Cost
from benchmarks.plan import Bench
from benchmarks.results import Row, compare
from delivery.control.dispatcher import Dispatcher
from delivery.control.server import serving_tasks
from delivery.control.wire import DriverAddress
from delivery.http.client import render_body
from delivery.http.endpoint import TrackerEndpoint
from delivery.model import Request
from delivery.rate.aimd import AimdRateController
from delivery.task import TaskConfig, TaskDelivery

IN_FLIGHT: Final = 25
THREADS: Final = 8
STOCK: Final = 5
"""boto3 makes fewer calls by this factor, because each takes longer."""

Arguments = dict[str, Any]
Run = Callable[[], None]


def rows(bench: Bench) -> Iterator[Row]:
    """Measure."""
    os.environ.update(CALLER)
    calls, rounds = bench.plan.calls, bench.plan.pairs
    with emulator() as url, driver() as address:
        ways = _ways(url, address, calls)
        for run, _ in ways.values():
            run()  # the cost of the first calls does not count
        costs = in_turn({name: partial(_timed, *way) for name, way in ways.items()}, rounds)
        accepted = told(url)["accepted"]
    if accepted != (rounds + 1) * (calls + 2 * (calls // STOCK)):
        raise SystemExit(f"the emulator accepted {accepted} calls, and another number was sent")
    processors = {name: [cost.processors * 1_000 for cost in each] for name, each in costs.items()}
    rates = {name: [1 / cost.clock for cost in each] for name, each in costs.items()}
    loop, threads = "put_events of stock boto3 in a loop", f"put_events of one stock boto3 client in {THREADS} threads"
    post = "unsigned POSTs on a kept-alive connection, one after another, which the emulator refuses at once"
    for peer, words in (("boto3 in a loop", loop), ("boto3 in threads", threads)):
        note = f"processor time a call of ten events in one process: {words}, against a Spark task's whole sender."
        goal = 5.0 if peer == "boto3 in a loop" else None
        ours, theirs = processors["sender"], processors[peer]
        yield compare("send", f"sender, {peer}", ours, theirs, "CPU ms a call", note, "peer / ours", goal)
    note = f"processor time a call of a task's whole sender (leases, signatures, receipts), against {post}."
    yield compare(
        "send", "sender, unsigned POST", processors["sender"], processors["unsigned"], "CPU ms a call", note, goal=2.5
    )
    for peer in ("boto3 in a loop", "boto3 in threads", "unsigned"):
        note = f"calls a second of one process, {IN_FLIGHT} of the sender's in flight, "
        note += "with the emulator on the same two cores."
        yield compare("send", f"sender, {peer}: calls/s", rates["sender"], rates[peer], "calls/s", note)


def _ways(url: str, address: DriverAddress, calls: int) -> dict[str, tuple[Run, int]]:
    given = [arguments(number) for number in range(calls)]
    requests, few = [request(each) for each in given], given[: calls // STOCK]
    return {
        "boto3 in a loop": (by_boto3(url, few, 1), len(few)),
        "boto3 in threads": (by_boto3(url, few, THREADS), len(few)),
        "sender": (by_task(url, requests, address), calls),
        "unsigned": (unsigned(url, requests), calls),
    }


def _timed(run: Run, calls: int) -> Cost:
    """Return the seconds of a call."""
    clock, processors = time.monotonic(), time.process_time()
    run()
    return Cost((time.monotonic() - clock) / calls, (time.process_time() - processors) / calls)


def arguments(number: int) -> Arguments:
    """Make the arguments of boto3."""
    events = [
        {
            "eventId": f"{number:032x}{place:032x}",
            "eventType": "view",
            "sentAt": 1704067200.125 + number,
            "itemId": f"item-{number % 997}",
            "properties": '{"numberOfRatings":"12"}',
        }
        for place in range(10)
    ]
    return {"trackingId": TRACKER, "userId": f"user-{number}", "sessionId": f"s-{number}", "eventList": events}


def request(call: Arguments) -> Request:
    """Make the requests of delivery, whose events are JSON."""
    events = call["eventList"]
    members = tuple(json.dumps(event, separators=(",", ":")) for event in events)
    return Request("r", call["userId"], call["sessionId"], tuple(event["eventId"] for event in events), members)


def by_boto3(url: str, calls: list[Arguments], threads: int) -> Run:
    """Call with boto3, one after another or in threads."""
    config = Config(retries={"total_max_attempts": 1}, max_pool_connections=THREADS)
    client = boto3.client("personalize-events", region_name=REGION, endpoint_url=url, config=config)

    def put(call: Arguments) -> None:
        client.put_events(**call)

    def one_by_one() -> None:
        for call in calls:
            put(call)

    def side_by_side() -> None:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(put, calls))

    return one_by_one if threads == 1 else side_by_side


def by_task(url: str, requests: list[Request], driver: DriverAddress) -> Run:
    """Send as a Spark task does: from Arrow batches, with leases and reports to the driver."""
    terms = TaskConfig(TrackerEndpoint(TRACKER, REGION, url), driver, max_in_flight=IN_FLIGHT)
    rows = [{**_row(each), "requestId": f"{number:064x}"} for number, each in enumerate(requests)]
    parts = itertools.count()

    def run() -> None:
        table = pa.Table.from_pylist(rows)
        numbers = pa.array([next(parts)] * len(rows), pa.int32())  # a part is sent once
        batches = table.append_column("part", numbers).to_batches(max_chunksize=1_000)
        assert not list(TaskDelivery(terms)(batches))

    return run


def _row(request: Request) -> dict[str, Any]:
    return {
        "userId": request.userId,
        "sessionId": request.sessionId,
        "eventIds": list(request.eventIds),
        "events": list(request.events),
    }


@contextmanager
def driver() -> Iterator[DriverAddress]:
    """Run a driver without a limit in its own process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_drive, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        ours.send("end")
        process.join()


def _drive(pipe: Any) -> None:
    dispatcher = Dispatcher(AimdRateController(1e6))
    with serving_tasks(dispatcher, "127.0.0.1", "127.0.0.1", 0) as (server, address):
        pipe.send(address)
        while not pipe.poll(0.5):
            server.call(dispatcher.take)
            server.call(dispatcher.confirm_durable)


def unsigned(url: str, requests: list[Request]) -> Run:
    """Post one after another."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    bodies = [render_body(TRACKER, each) for each in requests]
    headers = {"Content-Type": "application/json"}

    def run() -> None:
        for body in bodies:
            connection.request("POST", "/events", body, headers)
            connection.getresponse().read()

    return run
