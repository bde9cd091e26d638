"""What a call costs this side's CPU: by boto3, by our client, by a whole Spark task's sender, and as an unsigned POST.

    python benchmarks/measure_sender.py [--calls 3000] [--rounds 7]

All in this process, in turn; calls of 10 events of about 200 bytes. The emulator, which verifies the signatures, and
the driver that the sender asks for its leases and tells its outcomes run in processes of their own. Processor time, so
other work on the machine shows little in it.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import urlopen

import boto3
import pyarrow as pa
from botocore.config import Config

from delivery.arrow import TaskDelivery
from delivery.budget.target import Target
from delivery.channel.dispatcher import Dispatcher
from delivery.channel.messages import Address
from delivery.channel.server import serving
from delivery.http.body import render_body
from delivery.http.client import Client, connect
from delivery.http.service import Service
from delivery.records import Request
from delivery.task import Terms

ROOT: Final = Path(__file__).parents[1]
REGION: Final = "eu-west-1"
TRACKER: Final = "measure"
IN_FLIGHT: Final = 25
ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "AKIDEMULATOR",
    "AWS_SECRET_ACCESS_KEY": "emulator-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
}

Arguments = dict[str, Any]
Run = Callable[[], None]


def arguments(number: int) -> Arguments:
    """Make what boto3 is called with."""
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
    """Make what delivery is called with: its events come as JSON."""
    events = call["eventList"]
    members = tuple(json.dumps(event, separators=(",", ":")) for event in events)
    return Request("r", call["userId"], call["sessionId"], tuple(event["eventId"] for event in events), members)


def by_boto3(url: str, calls: list[Arguments]) -> Run:
    """Call one after the other, by boto3."""
    config = Config(retries={"total_max_attempts": 1})
    client = boto3.client("personalize-events", region_name=REGION, endpoint_url=url, config=config)

    def run() -> None:
        for call in calls:
            client.put_events(**call)

    return run


def by_ours(url: str, requests: list[Request], runner: asyncio.Runner) -> Run:
    """Call side by side, by ours."""
    client = connect(Service(TRACKER, REGION, url), IN_FLIGHT)
    return lambda: runner.run(_put_all(client, requests))


async def _put_all(client: Client, requests: list[Request]) -> None:
    rest = iter(requests)

    async def put_some() -> None:
        for each in rest:
            answer = await client.put(each)
            assert answer.errorCode is None, answer

    await asyncio.gather(*(put_some() for _ in range(IN_FLIGHT)))


def by_task(url: str, requests: list[Request], driver: Address) -> Run:
    """Send as a Spark task does: from Arrow batches, leased, told to the driver."""
    terms = Terms(Service(TRACKER, REGION, url), driver, static_rate=1.0, in_flight=IN_FLIGHT)
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
def driver() -> Iterator[Address]:
    """Run a driver without a limit in a process of its own."""
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
    dispatcher = Dispatcher(Target(1e6), 1.0)
    with serving(dispatcher, "127.0.0.1", "127.0.0.1", 0) as (server, address):
        pipe.send(address)
        while not pipe.poll(0.5):
            server.call(dispatcher.take)


def unsigned(url: str, requests: list[Request]) -> Run:
    """Post one after the other; the emulator refuses them, in one line."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    bodies = [render_body(TRACKER, each) for each in requests]
    headers = {"Content-Type": "application/json"}

    def run() -> None:
        for body in bodies:
            connection.request("POST", "/events", body, headers)
            connection.getresponse().read()

    return run


@contextmanager
def emulator() -> Iterator[str]:
    """Run the emulator; give its URL."""
    command = [sys.executable, "-m", "emulator", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:  # noqa: S603 - our own
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def milliseconds(run: Run, calls: int) -> float:
    """Return the processor time a call takes."""
    begun = time.process_time()
    run()
    return (time.process_time() - begun) * 1_000 / calls


def measure(url: str, address: Address, calls: int, rounds: int) -> dict[str, list[float]]:
    """Return each way's figures, a round each; the rounds differ in who goes first."""
    given = [arguments(number) for number in range(calls)]
    requests = [request(each) for each in given]
    with asyncio.Runner() as runner:
        ways = {
            "boto3": (by_boto3(url, given[: calls // 5]), calls // 5),
            "client": (by_ours(url, requests, runner), calls),
            "sender": (by_task(url, requests, address), calls),
            "unsigned": (unsigned(url, requests), calls),
        }
        for run, _ in ways.values():
            run()  # what the first calls cost is no part of it
        figures: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds):
            names = list(ways)
            for name in names[number % 4 :] + names[: number % 4]:
                figures[name].append(milliseconds(*ways[name]))
    return figures


def main() -> int:
    """Compare."""
    parser = argparse.ArgumentParser(description="What a call costs this side's CPU.")
    parser.add_argument("--calls", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    with emulator() as url, driver() as address:
        figures = measure(url, address, given.calls, given.rounds)
        with urlopen(f"{url}/_emulator/summary") as answer:  # noqa: S310 - our own
            accepted = json.load(answer)["accepted"]
    assert accepted == (given.rounds + 1) * (2 * given.calls + given.calls // 5)
    print(f"medians of {given.rounds} rounds, 10 events a call, {IN_FLIGHT} of ours in flight")
    for name, each in figures.items():
        print(f"  {name:9} {median(each):.3f} ms a call ({min(each):.3f} to {max(each):.3f})")
    for one, other in (("boto3", "sender"), ("boto3", "client"), ("sender", "unsigned"), ("client", "unsigned")):
        ratios = [a / b for a, b in zip(figures[one], figures[other], strict=True)]
        print(f"  {one} / {other}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
