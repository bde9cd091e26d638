"""When the bytes of an answer go out, on a clock that leaps, and what a call costs: no test waits."""

import asyncio
import json
import selectors
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emulator import EmulatorClock, EmulatorSettings
from emulator.connection import ClientConnection
from emulator.faults import InjectedFault, inject
from emulator.messages import HttpReply, HttpRequest
from emulator.request_parser import RequestParser
from emulator.service import PutEventsService
from tests.emulator.measure_emulator import build_calls

DAY = 86_400.0
REQUEST = b"POST /events HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
Sent = list[tuple[float, bytes]]


class Leap(selectors.DefaultSelector):
    """Waits for nothing: what an event loop would wait for has come at once, and the clock says so."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "there is nothing more to wait for"
        self.now += timeout
        return super().select(0)


class LeapingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leap = Leap()
        super().__init__(self._leap)

    def time(self) -> float:
        return self._leap.now


class Wire(asyncio.Transport):
    """Keeps what is written, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: Sent = []

    def write(self, data: Any) -> None:
        self.sent.append((asyncio.get_running_loop().time(), data))

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return True

    def pause_reading(self) -> None:
        pass


@pytest.fixture
def converse() -> Iterator[Callable[..., Sent]]:
    """Return a function to what goes out within a day for requests that come at once, one for each reply.

    Each of so many clients makes them.
    """

    def run(*replies: HttpReply, clients: int = 1) -> Sent:
        async def listen() -> Sent:
            wires = [Wire() for _ in range(clients)]
            for wire in wires:
                rest = iter(replies)
                connection = ClientConnection(lambda _, rest=rest: next(rest), set())
                connection.connection_made(wire)
                connection.data_received(REQUEST * len(replies))
            await asyncio.sleep(DAY)
            return [each for wire in wires for each in wire.sent]

        return runner.run(listen())

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        yield run


def slow_body(delay: float = 0.0) -> HttpReply:
    return inject(InjectedFault.SLOW_BODY, delay, slow_body_ms=10_000)


def test_a_call_costs_the_same_however_many_came_before() -> None:
    """In processor time of this thread alone: a quadratic slip makes the last calls cost ten times as much or more."""
    service = PutEventsService(EmulatorSettings(quota=100_000), EmulatorClock())
    calls: list[HttpRequest] = []
    parser = RequestParser(calls.append, lambda: None)
    for call in build_calls("http://127.0.0.1:1", 3_000):
        parser.feed(call)

    def cost(some: list[HttpRequest]) -> float:
        begun = time.thread_time()
        assert {service.put_events(call).status for call in some} == {200}
        return time.thread_time() - begun

    first, _, last = (cost(calls[start : start + 1_000]) for start in (0, 1_000, 2_000))
    assert last < 4 * first


def test_an_answer_is_late_by_its_latency(converse: Any) -> None:
    [(at, data)] = converse(inject(None, 0.25, slow_body_ms=0))
    assert at == 0.25
    assert data.startswith(b"HTTP/1.1 200 OK\r\n") and data.endswith(b"Content-Length: 0\r\n\r\n")


def test_latency_does_not_limit_concurrency(converse: Any) -> None:
    sent = converse(inject(None, 0.25, slow_body_ms=0), clients=20)
    assert [at for at, _ in sent] == [0.25] * 20


def test_a_slow_body_starts_at_once_and_comes_byte_by_byte(converse: Any) -> None:
    (at, head), *drops = converse(slow_body())
    assert at == 0.0
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and head.endswith(b"Content-Length: 20\r\n\r\n")
    assert [at for at, _ in drops] == pytest.approx([0.5 * number for number in range(1, 21)])
    assert {len(data) for _, data in drops} == {1}
    assert json.loads(b"".join(data for _, data in drops)) == {}


def test_a_slow_body_comes_after_the_latency(converse: Any) -> None:
    times = [at for at, _ in converse(slow_body(delay=3.0))]
    assert (times[0], times[-1]) == pytest.approx((3.0, 13.0))


def test_the_next_answer_waits_for_a_slow_body(converse: Any) -> None:
    sent = converse(slow_body(), HttpReply())
    assert sent[-1][0] == pytest.approx(10.0)
    assert sent[-1][1].startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(sent) == 1 + 20 + 1


def test_a_slow_body_of_no_time_is_whole_at_once(converse: Any) -> None:
    [(at, data)] = converse(inject(InjectedFault.SLOW_BODY, 0.0, slow_body_ms=0))
    assert at == 0.0
    assert json.loads(data.partition(b"\r\n\r\n")[2]) == {}


@pytest.mark.parametrize("fault", [InjectedFault.HANG_BEFORE, InjectedFault.HANG_AFTER])
def test_a_call_that_hangs_is_not_answered_nor_what_follows_it(converse: Any, fault: InjectedFault) -> None:
    assert converse(inject(fault, 0.1, slow_body_ms=0), HttpReply()) == []
