"""Deliveries over real sockets to services that refuse all, that never answer one request, or that are not there."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import emulator
from delivery.control.dispatcher import ServiceHistory
from delivery.http.endpoint import TrackerEndpoint
from delivery.model import OutcomeRow, Request, Response
from delivery.responses import ResponseMeaning, interpret_response
from delivery.sender.request_executor import RetryPolicy
from delivery.task import deliver
from emulator import EmulatorSettings, Faults, Server
from tests.delivery.drivers import UNKNOWN, driving

HASTY = RetryPolicy(budget=4.0, aside=1.0, rest=0.3)
"""As the default one, with a tenth of the time or less."""
MOST = 200
"""Calls that a service that takes nothing may get."""


def make_request(number: int, items: Iterable[str]) -> Request:
    ids, events = [], []
    for place, item in enumerate(items):
        ids.append(f"e{number}-{place}")
        events.append(json.dumps({"eventId": ids[-1], "eventType": "view", "itemId": item, "sentAt": 1704067200}))
    return Request(sha256(str(number).encode()).hexdigest(), f"u{number}", f"s{number}", tuple(ids), tuple(events))


def batch(requests: int, events: int = 10, tasks: int = 4, bad: Iterable[int] = (), item: str = "bad") -> Parts:
    """Make a batch's parts; of the requests that are named, one event is of the bad item."""
    wrong = set(bad)
    made = [
        make_request(
            number, [item if number in wrong and place == number % events else "fine" for place in range(events)]
        )
        for number in range(requests)
    ]
    return [made[part::tasks] for part in range(tasks)]


Parts = list[list[Request]]


@dataclass(frozen=True)
class Result:
    """What came of a delivery: what would be written as receipts, why it ended, how often it called."""

    rows: list[OutcomeRow]
    ending: Response | None
    attempts: int

    def events(self, status: str) -> set[str]:
        return {event for row in self.rows if row["status"] == status for event in row["eventIds"]}

    def codes(self) -> set[str]:
        return {row["errorCode"] for row in self.rows if row["status"] == "refused"}


def send(
    url: str, parts: Parts, *, trust: ServiceHistory = UNKNOWN, limit: float = 500.0, retry: RetryPolicy = HASTY
) -> Result:
    """Deliver parts, each in a task of its own, all at once."""
    with driving(limit, trust) as driver:
        task_config = replace(driver.task_config(TrackerEndpoint("t-1", "eu-west-1", url), in_flight=64), retry=retry)

        def task(number: int) -> None:
            pieces = [parts[number][start : start + 20] for start in range(0, len(parts[number]), 20)]
            left = deliver(task_config, number, pieces)
            for place, row in left.rows:
                driver.server.call(partial(driver.dispatcher.accept, left.attempt, place, row))

        with ThreadPoolExecutor(len(parts)) as pool:
            list(pool.map(task, range(len(parts))))
    return Result(driver.kept, driver.dispatcher.ending, driver.dispatcher.progress().calls.attempts)


def ids(parts: Parts) -> set[str]:
    return {event for part in parts for each in part for event in each.eventIds}


def received(server: Server) -> list[str]:
    return [event["eventId"] for event in server.events()]


def run(faults: Faults, parts: Parts, **how: Any) -> tuple[Result, dict[str, Any], list[str]]:
    with emulator.running(EmulatorSettings(latency_ms=how.pop("latency_ms", 10.0), faults=faults)) as server:
        result = send(server.endpoint_url, parts, **how)
        return result, server.summary(), received(server)


# Refusing everything.


@pytest.mark.parametrize(
    ("latency_ms", "tasks"),
    [
        *((1.0, tasks) for tasks in (1, 4, 16)),
        (300.0, 16),
        *(pytest.param(300.0, tasks, marks=pytest.mark.long) for tasks in (1, 4)),
    ],
)
def test_a_service_that_refuses_everything_ends_the_delivery_soon_and_nothing_is_marked(
    tasks: int, latency_ms: float
) -> None:
    result, summary, _ = run(Faults(refuse_after=0), batch(600, tasks=tasks), latency_ms=latency_ms)
    assert summary["calls"] <= MOST
    assert result.rows == []
    assert result.ending is not None
    assert result.ending.errorMessage == "The request holds invalid input."
    assert interpret_response(result.ending) is ResponseMeaning.REFUSED


@pytest.mark.parametrize("tasks", [1, 4, 16])
def test_a_service_that_begins_to_refuse_everything_in_between_does_as_well(tasks: int) -> None:
    parts = batch(600, tasks=tasks)
    result, summary, taken = run(Faults(refuse_after=250), parts)
    assert sum(summary["refused"].values()) <= MOST
    assert result.events("refused") == set()
    assert result.events("delivered") == set(taken)
    assert len(taken) == 2_500
    assert result.ending is not None


@pytest.mark.parametrize("trust", [ServiceHistory(), ServiceHistory(acknowledged=True)])
def test_a_few_events_that_are_all_refused_are_the_services_fault_unless_it_took_others_before(
    trust: ServiceHistory,
) -> None:
    result, _, _ = run(Faults(refuse_after=0), batch(1, events=3, tasks=1), trust=trust)
    assert result.events("refused") == ({"e0-0", "e0-1", "e0-2"} if trust.acknowledged else set())
    assert (result.ending is None) == trust.acknowledged


def test_what_it_took_before_does_not_save_a_service_that_refuses_much() -> None:
    result, summary, _ = run(Faults(refuse_after=0), batch(100), trust=ServiceHistory(acknowledged=True))
    assert (result.rows, summary["calls"] <= MOST) == ([], True)
    assert result.ending is not None


def test_who_says_that_the_service_works_has_all_that_it_refuses_as_dead_letters() -> None:
    parts = batch(40)
    result, _, _ = run(Faults(refuse_after=0), parts, trust=ServiceHistory(working=True))
    assert (result.events("refused"), result.ending) == (ids(parts), None)


@pytest.mark.parametrize("tasks", [1, 4])
@pytest.mark.parametrize("events", [1, 10])
@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_poison_among_others_ends_as_dead_letters_however_much_there_is(tasks: int, events: int, rate: float) -> None:
    parts = batch(2000 // events, events=events, tasks=tasks)
    poison = {event for event in ids(parts) if emulator.is_poison(event, rate)}
    result, _, taken = run(Faults(poison_rate=rate), parts, limit=2_000.0)
    assert result.ending is None
    assert result.events("refused") == poison
    assert sorted(taken) == sorted(ids(parts) - poison)


@pytest.mark.parametrize("tasks", [1, 3])
def test_requests_of_poison_alone_that_come_first_do_not_hide_the_good_ones(tasks: int) -> None:
    wrong = [make_request(number, ["bad"] * 10) for number in range(40)]
    right = [make_request(number, ["fine"] * 10) for number in range(40, 400)]
    parts = [[*wrong[part::tasks], *right[part::tasks]] for part in range(tasks)]
    result, _, taken = run(Faults(poison_items=frozenset({"bad"})), parts)
    assert result.ending is None
    assert result.events("refused") == {event for each in wrong for event in each.eventIds}
    assert len(taken) == 3_600


# One request that never gets an answer.


@pytest.mark.parametrize(
    ("by", "tasks"),
    [
        ("error", 4),
        ("reset", 1),
        pytest.param("error", 1, marks=pytest.mark.long),
        pytest.param("reset", 4, marks=pytest.mark.long),
    ],
)
def test_an_event_that_never_gets_an_answer_is_a_dead_letter_and_all_others_are_delivered(tasks: int, by: str) -> None:
    parts = batch(200, tasks=tasks, bad=[77])
    result, _, taken = run(Faults(fail_items=frozenset({"bad"}), fail_by=by), parts)
    assert result.ending is None
    assert (result.events("refused"), result.codes()) == ({"e77-7"}, {"unanswered"})
    assert sorted(taken) == sorted(ids(parts) - {"e77-7"})


@pytest.mark.parametrize("bad", [0, 199, *(pytest.param(bad, marks=pytest.mark.long) for bad in (99, 100))])
def test_it_is_found_wherever_it_is_and_when_it_is_alone_in_its_request(bad: int) -> None:
    parts = batch(200, events=1, tasks=2, bad=[bad])
    result, _, taken = run(Faults(fail_items=frozenset({"bad"})), parts)
    assert (result.events("refused"), result.ending, len(taken)) == ({f"e{bad}-0"}, None, 199)


def test_a_share_of_the_requests_that_never_get_an_answer_is_found_as_well() -> None:
    parts = batch(600, events=1)
    failing = {event for event in ids(parts) if emulator.is_poison(f"fail:{event}", 0.08)}
    result, _, taken = run(Faults(fail_rate=0.08), parts)
    assert len(failing) > 30
    assert (result.events("refused"), result.ending) == (failing, None)
    assert sorted(taken) == sorted(ids(parts) - failing)


@pytest.mark.parametrize("by", ["error", "reset"])
def test_an_outage_marks_nothing(by: str) -> None:
    result, _, _ = run(Faults(fail_rate=1.0, fail_by=by), batch(100))
    assert result.rows == []
    assert result.ending is not None
    assert interpret_response(result.ending) is ResponseMeaning.FAULT


# Nobody there.


def test_where_nobody_listens_one_call_at_a_time_finds_that_out() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        result = send(url, batch(600))
    assert (result.rows, result.ending and result.ending.errorCode) == ([], "EndpointConnectionError")
    assert result.attempts <= 20


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_at_a_port_of_something_else_few_calls_are_made(scheme: str) -> None:
    connections = 0
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)

        def hang_up() -> None:
            nonlocal connections
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connections += 1
                connection.close()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(hang_up)
            result = send(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", batch(600))
            listener.shutdown(socket.SHUT_RDWR)
    assert result.rows == []
    assert result.ending is not None
    assert connections <= 20


@contextmanager
def web_server(status: int, headers: str = "") -> Iterator[tuple[str, list[int]]]:
    """A web server that knows nothing of events: its URL, and an entry for each call."""
    calls: list[int] = []
    page = b"<html><body>Something went wrong</body></html>"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            calls.append(status)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            if headers:
                self.send_header(headers, "1234")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(server.serve_forever)
        yield f"http://127.0.0.1:{server.server_port}", calls
        server.shutdown()


@pytest.mark.parametrize("status", [200, 301, 403, 404, 405, 429, 500, 501, 502, 503])
def test_a_web_server_in_the_services_place_is_found_out_in_a_few_calls(status: int) -> None:
    with web_server(status) as (url, calls):
        result = send(url, batch(600))
    assert (result.rows, len(calls) <= 20) == ([], True)
    assert result.ending is not None
    assert (result.ending.errorCode, interpret_response(result.ending)) == ("NotTheService", ResponseMeaning.STOP)


def test_a_service_whose_load_balancer_fails_is_not_taken_for_a_web_server() -> None:
    with web_server(503, "x-amzn-RequestId") as (url, _):
        result = send(url, batch(20))
    assert result.ending is not None and interpret_response(result.ending) is ResponseMeaning.FAULT


def test_a_healthy_service_gets_each_request_once() -> None:
    parts = batch(200)
    result, summary, taken = run(Faults(), parts, latency_ms=20.0)
    assert (result.ending, sorted(taken), summary["calls"]) == (None, sorted(ids(parts)), 200)
