"""Requests from a reader's thread to a sender's loop: in order, a few at a time, and nobody waits for ever."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from delivery.model import Request
from delivery.sender import request_queue
from delivery.sender.request_queue import RequestBuffer

SOON = 30.0
"""Seconds that a test waits for what must happen, before it fails."""
ROOM = 400


def request(number: int) -> Request:
    return Request(f"{number:x}", None, "s", (f"e{number}",), ("{}",))


def quiet() -> RequestBuffer:
    return RequestBuffer(lambda: None)


def drain(buffer: RequestBuffer) -> list[str]:
    taken = []
    while (each := buffer.take()) is not None:
        taken.append(each.requestId)
    return taken


class Reader:
    """A thread that puts numbered requests one by one, and closes the feed after the last."""

    def __init__(self, buffer: RequestBuffer, requests: int) -> None:
        self._buffer = buffer
        self._requests = requests
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._read)
        self.put = 0
        """How many requests the feed has taken in."""
        self.refused = False

    def start(self) -> None:
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def join(self, seconds: float = SOON) -> bool:
        self._thread.join(seconds)
        return self.ended

    def wait_for(self, requests: int) -> bool:
        with self._moved:
            return self._moved.wait_for(lambda: self.put >= requests, SOON)

    def _read(self) -> None:
        for number in range(self._requests):
            if not self._buffer.put([request(number)]):
                self.refused = True
                return
            with self._moved:
                self.put += 1
                self._moved.notify_all()
        self._buffer.close()


@contextmanager
def reading(requests: int) -> Iterator[tuple[RequestBuffer, Reader]]:
    buffer = quiet()
    reader = Reader(buffer, requests)
    reader.start()
    try:
        yield buffer, reader
    finally:
        buffer.cut()
        assert reader.join()


def test_requests_come_out_in_their_order() -> None:
    buffer = quiet()
    assert buffer.put([request(0), request(1)])
    assert buffer.put(iter([request(2)]))
    assert drain(buffer) == ["0", "1", "2"]
    assert buffer.take() is None


def test_a_feed_is_empty_when_all_is_taken_and_no_more_comes() -> None:
    buffer = quiet()
    states = [(buffer.ready, buffer.empty)]
    buffer.put([request(0)])
    states.append((buffer.ready, buffer.empty))
    buffer.close()
    states.append((buffer.ready, buffer.empty))
    buffer.take()
    states.append((buffer.ready, buffer.empty))
    assert states == [(False, False), (True, False), (True, False), (False, True)]
    assert not buffer.failed


def test_a_feed_whose_reader_failed_is_closed_and_says_so() -> None:
    buffer = quiet()
    buffer.put([request(0)])
    buffer.fail()
    assert (buffer.failed, buffer.closed, drain(buffer), buffer.empty) == (True, True, ["0"], True)


@pytest.mark.parametrize("what", [lambda buffer: buffer.put([request(0)]), RequestBuffer.close, RequestBuffer.fail])
def test_the_loop_is_woken_for_whatever_is_new_when_it_can_be_seen(what: Callable[[RequestBuffer], object]) -> None:
    seen: list[tuple[bool, bool, bool]] = []
    buffer = RequestBuffer(lambda: seen.append((buffer.ready, buffer.closed, buffer.failed)))
    what(buffer)
    assert seen == [(buffer.ready, buffer.closed, buffer.failed)] != [(False, False, False)]


def test_a_reader_waits_while_there_is_no_room() -> None:
    with reading(5_000) as (buffer, reader):
        assert reader.wait_for(ROOM)
        assert not reader.join(0.05)
        assert reader.put == ROOM
        buffer.take()


@pytest.fixture
def _no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that go on when they are told to only, not by looking again by themselves."""
    monkeypatch.setattr(request_queue, "_PATIENCE", 100 * SOON)


@pytest.mark.usefixtures("_no_second_look")
def test_a_reader_that_waits_goes_on_when_half_is_taken() -> None:
    with reading(600) as (buffer, reader):
        assert reader.wait_for(ROOM)
        for _ in range(ROOM // 2 - 1):
            buffer.take()
        assert buffer.take() is not None
        assert reader.join()
        assert (reader.put, reader.refused) == (600, False)


def test_a_partition_never_lies_in_memory_whole() -> None:
    dice = random.Random(7)
    taken: list[str] = []
    with reading(20_000) as (buffer, reader):
        while not buffer.empty:
            if dice.random() < 0.01:
                assert reader.wait_for(min(len(taken) + ROOM // 2, 20_000))
            each = buffer.take()
            taken += [each.requestId] if each is not None else []
            assert reader.put - len(taken) <= ROOM
        assert reader.join()
    assert taken == [f"{number:x}" for number in range(20_000)]


def test_a_piece_is_taken_whole_once_there_is_room() -> None:
    buffer = quiet()
    assert buffer.put(request(number) for number in range(ROOM - 1))
    assert buffer.put(request(number) for number in range(ROOM - 1, 1_000))
    assert len(drain(buffer)) == 1_000


@pytest.mark.usefixtures("_no_second_look")
def test_a_reader_that_waits_is_told_that_nobody_takes_any_more() -> None:
    with reading(5_000) as (buffer, reader):
        assert reader.wait_for(ROOM)
        buffer.cut()
        assert reader.join()
        assert (reader.put, reader.refused) == (ROOM, True)


def test_what_comes_after_a_cut_is_not_taken_and_wakes_nobody() -> None:
    woken = []
    buffer = RequestBuffer(lambda: woken.append(1))
    buffer.cut()
    assert not buffer.put([request(0)])
    assert (buffer.take(), woken) == (None, [])
