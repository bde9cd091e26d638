"""When the bytes of an answer go out, on a clock that leaps: no test waits."""

import asyncio
import json
import selectors
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from emulator.connection import ClientConnection
from emulator.faults import InjectedFault, inject
from emulator.messages import HttpReply

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
    """Return a function to what goes out within a day for requests that come at once, one for each reply."""

    def run(*replies: HttpReply) -> Sent:
        rest = iter(replies)

        async def listen() -> Sent:
            connection, wire = ClientConnection(lambda _: next(rest), set()), Wire()
            connection.connection_made(wire)
            connection.data_received(REQUEST * len(replies))
            await asyncio.sleep(DAY)
            return wire.sent

        return runner.run(listen())

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        yield run


def slow_body(delay: float = 0.0) -> HttpReply:
    return inject(InjectedFault.SLOW_BODY, delay, slow_body_ms=10_000)


def test_an_answer_is_late_by_its_latency(converse: Any) -> None:
    [(at, data)] = converse(inject(None, 0.25, slow_body_ms=0))
    assert at == 0.25
    assert data.startswith(b"HTTP/1.1 200 OK\r\n") and data.endswith(b"Content-Length: 0\r\n\r\n")


def test_a_slow_body_starts_at_once_and_comes_byte_by_byte(converse: Any) -> None:
    (at, head), *drops = converse(slow_body())
    assert at == 0.0
    assert head.startswith(b"HTTP/1.1 200 OK\r\n") and head.endswith(b"Content-Length: 20\r\n\r\n")
    assert [time for time, _ in drops] == pytest.approx([0.5 * number for number in range(1, 21)])
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
