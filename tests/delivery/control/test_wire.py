"""Sealed messages: what was changed, left out, repeated or meant for another does not open; lines of any length."""

import asyncio
import pickle
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.control.wire import (
    LONGEST_GREETING,
    ChannelError,
    DriverAddress,
    Message,
    MessageMac,
    message_macs,
    nonce,
    read_line,
)
from tests.delivery.virtual import run

SECRET = "5ec2e7" * 10
MESSAGE: Message = {"rate": 2.5, "owns": True, "ended": [{"requestId": "ü", "eventIds": ["a", "b"]}], "ending": None}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Ends:
    """Both ends of a connection, each with its own seals."""

    def __init__(self, drivers: bytes, tasks: bytes, secret: str = SECRET) -> None:
        self.at_driver = message_macs(secret, drivers, tasks)
        self.at_task = message_macs(secret, drivers, tasks)

    def to_driver(self) -> tuple[Callable[[Message], bytes], Callable[[bytes], Message]]:
        return self.at_task[0].sign, self.at_driver[0].verify

    def to_task(self) -> tuple[Callable[[Message], bytes], Callable[[bytes], Message]]:
        return self.at_driver[1].sign, self.at_task[1].verify


@pytest.fixture
def ends() -> Ends:
    return Ends(nonce(), nonce())


def opens(open_: Callable[[bytes], Message], line: bytes) -> bool:
    try:
        open_(line)
    except ChannelError:
        return False
    return True


# What opens.


def test_messages_arrive_as_they_were_sealed_in_both_directions(ends: Ends) -> None:
    for close, open_ in (ends.to_driver(), ends.to_task()):
        assert [open_(close({"number": number, **MESSAGE})) for number in range(20)] == [
            {"number": number, **MESSAGE} for number in range(20)
        ]


@given(st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5))
def test_any_json_object_arrives_and_is_one_line(messages: list[Message]) -> None:
    to, from_ = MessageMac(b"key"), MessageMac(b"key")
    for message in messages:
        line = to.sign(message)
        assert line.count(b"\n") == 1 and line.endswith(b"\n")
        assert from_.verify(line) == message


# What does not.


@given(st.data())
def test_a_message_of_which_a_bit_was_changed_does_not_open(data: st.DataObject) -> None:
    line = bytearray(MessageMac(b"key").sign(MESSAGE))
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= 1 << data.draw(st.integers(0, 7))
    assert not opens(MessageMac(b"key").verify, bytes(line))


@given(st.data())
def test_a_message_that_was_cut_or_lengthened_does_not_open(data: st.DataObject) -> None:
    line = MessageMac(b"key").sign(MESSAGE)
    place = data.draw(st.integers(0, len(line)))
    other = line[:place] + data.draw(st.binary(max_size=3)) + line[data.draw(st.integers(place, len(line))) :]
    assert opens(MessageMac(b"key").verify, other) == (other == line)


@given(st.binary(max_size=200))
def test_garbage_does_not_open(garbage: bytes) -> None:
    assert not opens(MessageMac(b"key").verify, garbage)


def test_a_message_does_not_open_twice(ends: Ends) -> None:
    close, open_ = ends.to_driver()
    line = close(MESSAGE)
    open_(line)
    assert not opens(open_, line)


def test_a_message_that_overtook_another_does_not_open(ends: Ends) -> None:
    close, open_ = ends.to_driver()
    _first, second = close(MESSAGE), close(MESSAGE)
    assert not opens(open_, second)


def test_a_message_does_not_open_in_the_other_direction(ends: Ends) -> None:
    close, _ = ends.to_driver()
    _, open_ = ends.to_task()
    assert not opens(open_, close(MESSAGE))


def test_a_message_does_not_open_on_another_connection() -> None:
    drivers, tasks = nonce(), nonce()
    close, _ = Ends(drivers, tasks).to_driver()
    line = close(MESSAGE)
    for other in (Ends(nonce(), tasks), Ends(drivers, nonce()), Ends(tasks, drivers)):
        assert not opens(other.to_driver()[1], line)


def test_a_message_does_not_open_under_another_secret() -> None:
    drivers, tasks = nonce(), nonce()
    close, _ = Ends(drivers, tasks, "mine").to_driver()
    assert not opens(Ends(drivers, tasks, "yours").to_driver()[1], close(MESSAGE))


def test_no_two_connections_start_alike() -> None:
    assert len({nonce() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("line", [b"", b"\n", b"GET / HTTP/1.1\r\n", b"0" * 31 + b"\n", b"0" * 33 + b"\n"])
def test_who_does_not_start_with_a_nonce_is_nobody(line: bytes) -> None:
    with pytest.raises(ChannelError, match="is not part of a delivery"):
        message_macs(SECRET, nonce(), line)
    with pytest.raises(ChannelError, match="is not part of a delivery"):
        message_macs(SECRET, line, nonce())


# The secret.


def test_the_secret_shows_nowhere(ends: Ends) -> None:
    address = DriverAddress("driver", 4040, SECRET)
    close, open_ = ends.to_driver()
    line = close(MESSAGE)
    with pytest.raises(ChannelError) as refused:
        open_(b"!" + line)
    shown = [repr(address), str(address), repr(ends.at_driver), str(refused.value), line.decode()]
    assert not any(SECRET in text or "5ec2e7" in text for text in shown)


def test_an_address_travels_with_the_secret_as_spark_brings_it() -> None:
    address = DriverAddress("driver", 4040, SECRET)
    assert pickle.loads(pickle.dumps(address)) == address
    assert address != DriverAddress("driver", 4040, "another")


# Lines.


def reading(longest: int | None = None, silent: float = 1.0) -> tuple[asyncio.StreamReader, Coroutine[Any, Any, bytes]]:
    reader = asyncio.StreamReader()
    return reader, read_line(reader, silent, *([] if longest is None else [longest]))


def test_a_line_is_read_and_what_comes_after_it_is_left() -> None:
    async def scenario() -> list[bytes]:
        reader, first = reading()
        reader.feed_data(b"one\ntwo\nthr")
        return [await first, await read_line(reader, 1.0)]

    assert run(scenario()) == [b"one\n", b"two\n"]


@pytest.mark.parametrize("length", [65_535, 65_536, 65_537, 131_072, 1_000_000])
def test_a_long_line_is_read_whole(length: int) -> None:
    line = b"x" * (length - 1) + b"\n"

    async def scenario() -> list[bytes]:
        reader, first = reading()
        reader.feed_data(line + line)
        return [await first, await read_line(reader, 1.0)]

    assert run(scenario()) == [line, line]


def test_a_line_may_take_as_long_as_it_comes_on() -> None:
    """Ten times as long as silence may last."""

    async def scenario() -> int:
        reader, line = reading()
        loop = asyncio.get_running_loop()
        for number in range(20):
            loop.call_later(0.5 * number, reader.feed_data, b"x" * 70_000)
        loop.call_later(10.0, reader.feed_data, b"\n")
        return len(await line)

    assert run(scenario()) == 20 * 70_000 + 1


@pytest.mark.parametrize("begun", [b"", b"x", b"x" * 70_000])
def test_silence_is_not_waited_out(begun: bytes) -> None:
    async def scenario() -> float:
        reader, line = reading()
        reader.feed_data(begun)
        with pytest.raises(TimeoutError):
            await line
        return asyncio.get_running_loop().time()

    assert run(scenario()) == pytest.approx(1.0)


def test_drops_do_not_keep_a_line_open() -> None:
    async def scenario() -> None:
        reader, line = reading()
        for number in range(100):
            asyncio.get_running_loop().call_later(0.1 * number, reader.feed_data, b"x")
        with pytest.raises(TimeoutError):
            await line

    run(scenario())


@pytest.mark.parametrize("begun", [b"", b"x", b"x" * 70_000])
def test_who_hangs_up_has_said_nothing(begun: bytes) -> None:
    async def scenario() -> None:
        reader, line = reading()
        reader.feed_data(begun)
        reader.feed_eof()
        with pytest.raises(ChannelError, match="has closed the connection"):
            await line

    run(scenario())


@pytest.mark.parametrize("length", [LONGEST_GREETING + 1, 65_536, 10_000_000])
def test_more_than_a_line_may_hold_is_not_listened_to(length: int) -> None:
    async def scenario() -> None:
        reader, line = reading(LONGEST_GREETING)
        reader.feed_data(b"x" * (length - 1) + b"\n")
        with pytest.raises(ChannelError, match="a line that is too long"):
            await line

    run(scenario())


def test_the_longest_line_may_just_be_said() -> None:
    async def scenario() -> int:
        reader, line = reading(LONGEST_GREETING)
        reader.feed_data(b"x" * (LONGEST_GREETING - 1) + b"\n")
        return len(await line)

    assert run(scenario()) == LONGEST_GREETING
