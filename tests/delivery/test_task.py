"""An attempt at a part, over a real socket to a real driver: what arrives, what is told, what becomes of the rest."""

import gc
import json
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

import emulator
from delivery.control.task_connection import DriverNotReachedError
from delivery.http.endpoint import TrackerEndpoint
from delivery.model import Outcome, Request, Response
from delivery.task import deliver, row
from emulator import EmulatorSettings, Faults, is_poison
from tests.delivery.drivers import NOWHERE, SOON, Driver, Instant, driving, name, pieces, request

DENIED = Response(403, "AccessDeniedException", "no")


@pytest.fixture(autouse=True)
def _nothing_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No thread, and no exception that nobody heard of."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(SOON)
        assert not thread.is_alive()
    gc.collect()
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Instant]:
    """A service that all attempts share; each closes its client."""
    instant = Instant()
    instant.stand_in(monkeypatch)
    yield instant
    assert instant.clients == 0


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks that give up a driver sooner than they do."""
    for patience, seconds in (("_SILENT", 0.5), ("_NEVER", 0.5), ("_LOST", 1.0), ("_GOODBYE", 0.5)):
        monkeypatch.setattr(f"delivery.control.task_connection.{patience}", seconds)


def once(count: int) -> Counter[str]:
    """Each of a test's requests, once."""
    return Counter(map(name, range(count)))


def clickstream(number: int, items: list[str], user: str | None = "u") -> Request:
    """A request as the emulator takes them."""
    ids = tuple(f"e{number}-{place}" for place in range(len(items)))
    events = [
        {"eventId": event, "eventType": "view", "itemId": item, "sentAt": 1704067200.5}
        for event, item in zip(ids, items, strict=True)
    ]
    return Request(name(number), user, f"s{number}", ids, tuple(map(json.dumps, events)))


# What arrives, and what is told.


def test_every_event_arrives_and_every_outcome_is_told_with_a_receipts_columns() -> None:
    begun = datetime.now(UTC)
    source = [clickstream(1, ["a", "b"]), clickstream(2, ["a"], user=None), clickstream(3, ["a", "bad"])]
    with (
        emulator.running(EmulatorSettings(faults=Faults(poison_items=frozenset({"bad"})))) as server,
        driving() as driver,
    ):
        left = deliver(
            driver.task_config(TrackerEndpoint("t-1", "eu-west-1", server.endpoint_url)),
            0,
            [source[:2], [], source[2:]],
        )
        events = {event["eventId"]: event for event in server.events()}
    rows = {each["requestId"]: each for each in driver.kept}
    assert (left.rows, len(driver.kept)) == ((), 4)

    for each in rows.values():
        assert begun.timestamp() - 1 <= each.pop("startedAt") / 1_000_000 <= datetime.now(UTC).timestamp()
        assert 0 <= each.pop("latencyMs") < 10_000
    delivered = {"status": "delivered", "httpStatus": 200, "errorCode": None, "errorMessage": None}
    assert rows == {
        name(1): {
            **delivered,
            "requestId": name(1),
            "userId": "u",
            "sessionId": "s1",
            "eventIds": ["e1-0", "e1-1"],
            "attempts": 1,
            "awsRequestId": events["e1-0"]["requestId"],
        },
        name(2): {
            **delivered,
            "requestId": name(2),
            "userId": None,
            "sessionId": "s2",
            "eventIds": ["e2-0"],
            "attempts": 1,
            "awsRequestId": events["e2-0"]["requestId"],
        },
        f"{name(3)}.1": {
            **delivered,
            "requestId": f"{name(3)}.1",
            "userId": "u",
            "sessionId": "s3",
            "eventIds": ["e3-0"],
            "attempts": 2,  # the refused whole's, and its own
            "awsRequestId": events["e3-0"]["requestId"],
        },
        f"{name(3)}.2": {
            "requestId": f"{name(3)}.2",
            "userId": "u",
            "sessionId": "s3",
            "eventIds": ["e3-1"],
            "status": "refused",
            "httpStatus": 400,
            "errorCode": "InvalidInputException",
            "errorMessage": "The request holds invalid input.",
            "attempts": 1,
            "awsRequestId": rows[f"{name(3)}.2"]["awsRequestId"],
        },
    }
    assert sorted(events) == ["e1-0", "e1-1", "e2-0", "e3-0"]
    assert events["e1-1"] | {"receivedAt": 0} == {
        "eventId": "e1-1",
        "eventType": "view",
        "itemId": "b",
        "sentAt": 1704067200.5,
        "trackingId": "t-1",
        "userId": "u",
        "sessionId": "s1",
        "requestId": rows[name(1)]["awsRequestId"],
        "receivedAt": 0,
    }


def test_a_row_keeps_the_microseconds_of_its_call_and_can_be_written_as_json() -> None:
    moment = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
    found = row(
        Outcome(Request("f.1", None, "s", ("e",), ("{}",)), "refused", Response(400, "C", "m", "a"), 3, moment, 7)
    )
    assert json.loads(json.dumps(found)) == {
        "requestId": "f.1",
        "userId": None,
        "sessionId": "s",
        "eventIds": ["e"],
        "status": "refused",
        "httpStatus": 400,
        "errorCode": "C",
        "errorMessage": "m",
        "attempts": 3,
        "awsRequestId": "a",
        "startedAt": 1_709_251_199_123_456,
        "latencyMs": 7,
    }


def test_faults_mixed_lose_no_event_and_no_neighbour_of_a_poison() -> None:
    source = [clickstream(number, ["item"] * 10) for number in range(150)]
    ids = {event for each in source for event in each.eventIds}
    poison = {event for event in ids if is_poison(event, 0.01)}
    faults = Faults(error_rate=0.05, reset_before_rate=0.02, reset_after_rate=0.06, poison_rate=0.01, seed=5)
    with emulator.running(EmulatorSettings(quota=100, faults=faults)) as server, driving(limit=300.0) as driver:
        task_config = driver.task_config(TrackerEndpoint("t-1", "eu-west-1", server.endpoint_url), in_flight=64)
        left = deliver(task_config, 0, [source[:70], source[70:]])
        summary = server.summary()
        received = Counter(event["eventId"] for event in server.events())
        calls = driver.server.call(driver.dispatcher.progress).calls

    assert (left.rows, len(poison) > 5) == ((), True)
    ended = Counter((event, each["status"]) for each in driver.kept for event in each["eventIds"])
    assert ended == Counter((event, "refused" if event in poison else "delivered") for event in ids)
    assert set(received) == ids - poison
    accepted_and_reset = summary["faults"]["reset-after"]
    assert accepted_and_reset > 0 and received.total() - len(received) <= 10 * accepted_and_reset
    assert sum(each["attempts"] for each in driver.kept) == calls.attempts == summary["calls"]
    assert calls.throttled == summary["throttled"] > 0


def test_a_part_without_requests_makes_no_call(service: Instant) -> None:
    with driving() as driver:
        assert deliver(driver.task_config(), 0, []).rows == ()
        assert deliver(driver.task_config(), 1, [[], []]).rows == ()
    assert (service.calls, driver.kept) == ([], [])


def test_parts_side_by_side_are_sent_whole(service: Instant) -> None:
    with driving() as driver, ThreadPoolExecutor(3) as pool:
        parts = [[[request(number)] for number in range(part, 150, 3)] for part in range(3)]
        works = [pool.submit(deliver, driver.task_config(), part, source) for part, source in enumerate(parts)]
        assert [work.result(SOON).rows for work in works] == [(), (), ()]
    assert driver.told() == service.delivered == once(150)


def test_of_a_request_that_is_refused_its_parts_are_told_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"e7-2", "e7-3", "e8-0"}
    refused = Response(400, "InvalidInputException", "invalid")
    service = Instant(lambda each: refused if bad & set(each.eventIds) else Response(200))
    service.stand_in(monkeypatch)
    with driving() as driver:
        deliver(driver.task_config(), 0, pieces(20, events=4))
    ended = Counter((event, each["status"]) for each in driver.kept for event in each["eventIds"])
    ids = {f"e{number}-{place}" for number in range(20) for place in range(4)}
    assert ended == Counter((event, "refused" if event in bad else "delivered") for event in ids)


# What ends it.


def test_the_driver_ends_the_delivery(service: Instant) -> None:
    with driving(limit=200.0) as driver, ThreadPoolExecutor(1) as pool:
        work = pool.submit(deliver, driver.task_config(), 0, pieces(100_000))
        service.wait_for(50)
        driver.server.stop()
        assert work.result(SOON).rows == ()
    assert 50 <= service.delivered.total() < 10_000
    assert driver.told() == service.delivered


def test_a_hopeless_answer_ends_the_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Instant(lambda each: DENIED if each.requestId == name(30) else Response(200))
    service.stand_in(monkeypatch)
    with driving() as driver:
        assert deliver(driver.task_config(), 0, pieces(100_000)).rows == ()
    assert driver.dispatcher.stopped
    assert driver.dispatcher.ending == replace(DENIED, errorMessage=None)  # its words may quote values
    assert driver.told() == service.delivered
    assert name(30) not in service.delivered


def test_a_service_that_is_not_there_ends_the_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("delivery.control.dispatcher._UNREACHABLE", 0.5)
    with driving(limit=100.0) as driver:
        assert deliver(driver.task_config(NOWHERE), 0, pieces(100)).rows == ()
    assert driver.dispatcher.ending == Response(None, "EndpointConnectionError")
    assert driver.kept == []


def test_a_name_server_that_hangs_holds_no_attempt_up_that_is_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up, hung, gives_up = socket.getaddrinfo, threading.Event(), threading.Event()

    def getaddrinfo(host: str, *rest: Any, **hints: Any) -> Any:
        if host != "slow.example":
            return look_up(host, *rest, **hints)
        hung.set()
        gives_up.wait(2 * SOON)
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with driving() as driver, ThreadPoolExecutor(1) as pool:
        task_config = driver.task_config(replace(NOWHERE, endpoint_url="http://slow.example"))
        work = pool.submit(deliver, task_config, 0, pieces(100))
        try:
            assert hung.wait(SOON)
            driver.server.stop()
            assert work.result(SOON).rows == ()
        finally:
            gives_up.set()
    assert driver.kept == []


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("read", [0, 10, 600])
def test_an_exception_of_the_reader_surfaces_and_the_next_attempt_sends_the_rest(
    service: Instant, error: type[BaseException], read: int
) -> None:
    def source() -> Iterator[list[Request]]:
        yield from pieces(read)
        raise error

    with driving(limit=4_000.0) as driver:
        with pytest.raises(error):
            deliver(driver.task_config(), 0, source())
        assert service.delivered.total() <= read
        deliver(driver.task_config(), 0, pieces(700))
    assert driver.told() == service.delivered == once(700)


@pytest.mark.parametrize("broken", [0, 55])
def test_a_mistake_of_ours_surfaces_and_leaves_the_part_to_the_next_attempt(
    broken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(each: Request) -> Response:
        if each.requestId == name(broken):
            raise ZeroDivisionError
        return Response(200)

    first, second = Instant(answer), Instant()
    with driving() as driver:
        first.stand_in(monkeypatch)
        with pytest.raises(ZeroDivisionError):
            deliver(driver.task_config(), 0, pieces(2_000))
        second.stand_in(monkeypatch)
        deliver(driver.task_config(), 0, pieces(100))
    assert first.clients == second.clients == 0
    assert driver.told() == first.delivered + second.delivered == once(100) | first.delivered


def test_a_client_that_cannot_be_had_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("delivery.task.connect", connect)
    with driving() as driver, pytest.raises(ZeroDivisionError):
        deliver(driver.task_config(), 0, pieces(10_000))


# Drivers that are not there, or not any more.


@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize("count", [1, 10_000])
def test_a_driver_that_is_never_reached_has_nothing_sent(service: Instant, count: int) -> None:
    with driving() as driver:
        task_config = driver.task_config()
    with pytest.raises(DriverNotReachedError):
        deliver(task_config, 0, pieces(count))
    assert service.calls == []


@pytest.mark.usefixtures("_impatient")
def test_who_does_not_know_the_secret_has_no_driver(service: Instant) -> None:
    with driving() as driver:
        task_config = driver.task_config()
        with pytest.raises(DriverNotReachedError) as raised:
            deliver(replace(task_config, address=replace(task_config.address, secret="wrong")), 0, pieces(10))
    assert service.calls == []
    assert task_config.address.secret not in f"{raised.value} {task_config}"


@pytest.mark.usefixtures("_impatient")
def test_what_a_driver_that_died_did_not_hear_is_given_back(service: Instant) -> None:
    with ThreadPoolExecutor(1) as pool:
        with driving(limit=500.0) as driver:
            work = pool.submit(deliver, driver.task_config(), 0, pieces(100_000))
            service.wait_for(200)
        heard = driver.told().total()
        left = work.result(SOON)
    numbers = [number for number, _ in left.rows]
    assert numbers == list(range(service.delivered.total() - len(numbers), service.delivered.total()))
    assert numbers[0] <= heard  # it may have heard some and not been able to say so
    driver.accept(left)
    assert driver.told() == service.delivered
    assert set(service.delivered.values()) == {1}


@pytest.mark.usefixtures("_impatient")
def test_a_driver_that_died_is_known_to_be_dead_though_its_name_has_two_addresses(
    service: Instant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused where it was reached: it is not waited for until it has been silent for long."""
    monkeypatch.setattr("delivery.control.task_connection._LOST", 3 * SOON)
    look_up = socket.getaddrinfo

    def two(host: Any, port: Any, *more: Any, **hints: Any) -> Any:
        if host != "driver.example":
            return look_up(host, port, *more, **hints)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ("127.0.0.1", "127.0.0.2")]

    monkeypatch.setattr("socket.getaddrinfo", two)
    with ThreadPoolExecutor(1) as pool:
        with driving(limit=500.0) as driver:
            task_config = replace(driver.task_config(), address=replace(driver.address, host="driver.example"))
            work = pool.submit(deliver, task_config, 0, pieces(100_000))
            service.wait_for(200)
        work.result(SOON)
    assert service.delivered.total() < 100_000


@pytest.mark.usefixtures("_impatient")
def test_what_a_driver_that_fell_silent_for_good_did_not_hear_is_given_back(service: Instant) -> None:
    with driving(limit=500.0) as driver, ThreadPoolExecutor(1) as pool:
        work = pool.submit(deliver, driver.task_config(), 0, pieces(100_000))
        service.wait_for(200)
        with silent(driver):
            left = work.result(SOON)
    assert left.rows
    driver.accept(left)
    assert driver.told() == service.delivered
    assert set(service.delivered.values()) == {1}


def test_a_driver_that_falls_silent_for_a_while_is_not_missed(
    service: Instant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("delivery.rate.rate_lease.LEASE_SECONDS", SOON)  # however slow the machine
    with driving(limit=20.0) as driver, ThreadPoolExecutor(1) as pool:
        work = pool.submit(deliver, driver.task_config(), 0, pieces(70))
        service.wait_for(5)
        with silent(driver):
            service.wait_for(len(service.calls) + 30)  # a lease, of a second, lets no more than 20 pass
        assert work.result(SOON).rows == ()
    assert driver.told() == service.delivered == once(70)


class silent:  # noqa: N801 - reads as a verb of the driver's
    """Have a driver neither hear nor answer, though its connections stay."""

    def __init__(self, driver: Driver) -> None:
        self._silent, self._heard_again = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: driver.server.call(self._fall_silent))

    def __enter__(self) -> None:
        self._thread.start()
        assert self._silent.wait(SOON)

    def __exit__(self, *_: object) -> None:
        self._heard_again.set()
        self._thread.join()

    def _fall_silent(self) -> None:
        self._silent.set()
        self._heard_again.wait()


# Several attempts at one part: together they send each request once.


def test_an_attempt_after_one_that_ended_has_nothing_to_send(service: Instant) -> None:
    with driving() as driver:
        for _ in range(3):
            assert deliver(driver.task_config(), 0, pieces(100)).rows == ()
    assert driver.told() == service.delivered == once(100)
    assert len(service.calls) == 100


def test_an_attempt_after_one_that_split_a_request_takes_up_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(each: Request) -> Response:
        if each.eventIds[-1] == "e5-7":
            return DENIED if len(each.eventIds) == 2 else Response(400, "InvalidInputException")
        return Response(200)

    first, second = Instant(refuse), Instant()
    with driving() as driver:
        first.stand_in(monkeypatch)
        deliver(driver.task_config(in_flight=1), 0, [[request(5, events=8)]])
        driver.dispatcher.stopped = False
        second.stand_in(monkeypatch)
        deliver(driver.task_config(in_flight=1), 0, [[request(5, events=8)]])
    calls = [each.requestId.removeprefix(name(5)) for each in first.calls]
    assert calls == ["", ".1", ".2", ".2.1", ".2.2"]
    assert [each.requestId.removeprefix(name(5)) for each in second.calls] == [".2.2"]
    assert driver.told() == first.delivered + second.delivered


def test_two_attempts_at_once_send_each_request_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Instant(), Instant()
    with driving(limit=300.0) as driver, ThreadPoolExecutor(2) as pool:
        first.stand_in(monkeypatch)
        slow = pool.submit(deliver, driver.task_config(in_flight=4), 0, pieces(400))
        first.wait_for(100)
        first.hold()
        second.stand_in(monkeypatch)
        fast = pool.submit(deliver, driver.task_config(in_flight=4), 0, pieces(400))
        driver.wait_for(tasks=2)
        first.let_go()
        assert (slow.result(SOON).rows, fast.result(SOON).rows) == ((), ())
    assert driver.told() == first.delivered + second.delivered == once(400)
    assert len(first.calls) + len(second.calls) == 400
    assert first.delivered.total() >= 100 and second.delivered.total() > 0


def test_the_first_of_two_attempts_goes_on_when_the_second_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def source() -> Iterator[list[Request]]:
        yield from pieces(150)
        second.wait_for(1)
        raise OSError

    first, second = Instant(), Instant()
    with driving(limit=300.0) as driver, ThreadPoolExecutor(2) as pool:
        first.stand_in(monkeypatch)
        slow = pool.submit(deliver, driver.task_config(), 0, pieces(400))
        first.wait_for(50)
        second.stand_in(monkeypatch)
        fast = pool.submit(deliver, driver.task_config(), 0, source())
        assert isinstance(fast.exception(SOON), OSError)
        assert slow.result(SOON).rows == ()
    assert driver.told() == first.delivered + second.delivered == once(400)
