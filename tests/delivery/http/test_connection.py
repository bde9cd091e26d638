"""Connections over real sockets: kept, closed, hung, dripped, cut off, given up."""

import asyncio
import socket
import ssl

import pytest

from delivery.http.connections import Timeouts
from delivery.responses import UNREACHABLE, NoResponseError
from tests.delivery.listeners import OK, POST, answering, code, jump, listening, pool, read_call, run, silence

TRUST_NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

# Kept alive.


def test_calls_one_after_the_other_share_a_connection() -> None:
    async def live() -> None:
        async with listening(answering(OK)) as server, pool(server.port) as calls:
            for _ in range(5):
                assert (await calls.call(POST)).status == 200
            assert server.connections == 1

    run(live())


def test_calls_side_by_side_have_a_connection_each_up_to_the_size() -> None:
    async def live() -> None:
        under_way, most, go = 0, 0, asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal under_way, most
            while await read_call(reader):
                under_way += 1
                most = max(most, under_way)
                if under_way == 3:
                    go.set()
                await go.wait()
                under_way -= 1
                writer.write(OK)

        async with listening(handle) as server, pool(server.port, size=3) as calls:
            answers = await asyncio.gather(*(calls.call(POST) for _ in range(9)))
            assert [answer.status for answer in answers] == [200] * 9
            assert (most, server.connections) == (3, 3)

    run(live())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", id="it says close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", id="HTTP/1.0"),
        pytest.param(OK + b"HTTP/1.1 500 Unasked\r\n\r\n", id="more than was asked for"),
    ],
)
def test_a_connection_is_not_used_again_when(answer: bytes) -> None:
    async def live() -> None:
        async with listening(answering(answer)) as server, pool(server.port) as calls:
            assert [(await calls.call(POST)).status for _ in range(3)] == [200] * 3
            assert server.connections == 3

    run(live())


def test_a_connection_that_is_not_used_again_is_closed() -> None:
    async def live() -> None:
        closed = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_call(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            assert await reader.read() == b""
            closed.set()

        async with listening(handle) as server, pool(server.port) as calls:
            assert (await calls.call(POST)).status == 200
            await closed.wait()

    run(live())


def test_bytes_that_come_while_nobody_asks_answer_nobody() -> None:
    async def live() -> None:
        first, told = True, asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal first
            unasked, first = first, False
            while await read_call(reader):
                writer.write(OK)
                if unasked:
                    await told.wait()
                    writer.write(b"HTTP/1.1 500 Unasked\r\nContent-Length: 0\r\n\r\n")
                    assert await reader.read() == b"", "the client closes"
                    told.clear()

        async with listening(handle) as server, pool(server.port) as calls:
            assert (await calls.call(POST)).status == 200
            told.set()
            while told.is_set():
                await asyncio.sleep(0)
            assert (await calls.call(POST)).status == 200
            assert server.connections == 2

    run(live())


@pytest.mark.parametrize(("pause", "connections"), [(3.9, 1), (4.1, 3)])
def test_a_connection_is_used_again_for_four_seconds(pause: float, connections: int) -> None:
    async def live() -> None:
        async with listening(answering(OK)) as server, pool(server.port, patience=Timeouts()) as calls:
            for _ in range(3):
                assert (await calls.call(POST)).status == 200
                jump(pause)
            assert server.connections == connections

    run(live())


def test_a_connection_that_the_service_has_closed_while_idle_is_not_used_again() -> None:
    async def live() -> None:
        closed = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_call(reader)
            writer.write(OK)
            writer.close()
            await writer.wait_closed()
            closed.set()

        async with listening(handle) as server, pool(server.port) as calls:
            for _ in range(3):
                closed.clear()
                assert (await calls.call(POST)).status == 200
                await closed.wait()
                for _ in range(3):
                    await asyncio.sleep(0)  # the end has come, and is to be read
            assert server.connections == 3

    run(live())


def test_connections_that_are_closed_before_a_call_are_opened_no_more_often_than_calls_are_tried() -> None:
    async def live() -> None:
        async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with listening(hang_up) as server, pool(server.port) as calls:
            told = []
            for _ in range(6):
                try:
                    await calls.open()
                except NoResponseError as fault:
                    told.append(fault.code)
                await asyncio.sleep(0.02)
                assert not calls.ready
            assert (server.connections, told) == (3, ["ConnectionClosedError"] * 3)

    run(live())


# Cut off.


def test_a_call_that_meets_the_services_close_is_lost_and_not_sent_again() -> None:
    async def live() -> None:
        calls_come = 0

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal calls_come
            await read_call(reader)
            writer.write(OK)
            await read_call(reader)
            calls_come += 1

        async with listening(handle) as server, pool(server.port) as calls:
            assert (await calls.call(POST)).status == 200
            assert await code(calls.call(POST)) == "ConnectionClosedError"
            assert (calls_come, server.connections) == (1, 1)
            assert (await calls.call(POST)).status == 200, "the next call opens another"

    run(live())


@pytest.mark.parametrize(
    "piece",
    [
        b"",
        b"HTTP/1.1 2",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
    ],
)
@pytest.mark.parametrize("reset", [False, True])
def test_an_answer_that_breaks_off_is_none(piece: bytes, reset: bool) -> None:
    async def live() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_call(reader)
            writer.write(piece)
            await writer.drain()
            if reset:
                linger = b"\1\0\0\0\0\0\0\0"
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        async with listening(handle) as server, pool(server.port) as calls:
            assert await code(calls.call(POST)) == "ConnectionClosedError"

    run(live())


def test_an_answer_may_end_with_its_connection() -> None:
    async def live() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_call(reader)
            writer.write(b"HTTP/1.1 503 Busy\r\n\r\nsorry")
            writer.close()
            await writer.wait_closed()

        async with listening(handle) as server, pool(server.port) as calls:
            answer = await calls.call(POST)
            assert (answer.status, answer.body) == (503, b"sorry")

    run(live())


def test_what_is_not_http_is_told_apart_from_what_is_cut_off() -> None:
    async def live() -> None:
        async with listening(answering(b"\0 not HTTP\r\n\r\n")) as server, pool(server.port) as calls:
            assert await code(calls.call(POST)) == "BadAnswer"

    run(live())


# Too late.


@pytest.mark.parametrize("drip", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"])
def test_an_answer_that_hangs_or_drips_is_waited_for_so_long_and_no_longer(drip: bytes) -> None:
    async def live() -> None:
        pieces, gone = 0, asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal pieces
            await read_call(reader)
            writer.write(drip)
            while not reader.at_eof():
                pieces += 1
                jump(6.0)
                writer.write(b"a" if drip else b"")
                for _ in range(10):
                    await asyncio.sleep(0)  # the client reads it, and perhaps ends
            gone.set()

        async with listening(handle) as server, pool(server.port, patience=Timeouts(answer=20.0)) as calls:
            assert await code(calls.call(POST)) == "ReadTimeoutError"
            await gone.wait()
            assert pieces == 4

    run(live())


def test_time_is_counted_for_each_call_anew() -> None:
    async def live() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await read_call(reader):
                jump(15.0)
                await asyncio.sleep(0)
                writer.write(OK)

        patience = Timeouts(answer=20.0, idle=99.0)
        async with listening(handle) as server, pool(server.port, patience=patience) as calls:
            assert [(await calls.call(POST)).status for _ in range(6)] == [200] * 6
            assert server.connections == 1

    run(live())


# Nobody there.


def test_a_refused_connection_is_no_connection() -> None:
    async def live() -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))  # and nobody listens
            async with pool(held.getsockname()[1]) as calls:
                assert await code(calls.call(POST)) == "EndpointConnectionError"

    run(live())


def test_a_name_that_nobody_knows_is_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def live() -> None:
        async with pool(1) as calls:
            monkeypatch.setattr("socket.getaddrinfo", resolve)
            assert await code(calls.call(POST)) == "EndpointConnectionError"

    run(live())


def test_a_connection_that_takes_too_long_is_none() -> None:
    async def live() -> None:
        async with listening(silence) as server, pool(server.port, trust=TRUST_NOBODY) as calls:
            call = asyncio.create_task(calls.call(POST))
            while not server.connections:
                await asyncio.sleep(0)
            jump(20.1)  # TLS is not agreed yet
            assert await code(call) == "ConnectTimeoutError"

    run(live())


def test_what_keeps_a_call_from_being_sent_is_told_apart() -> None:
    assert {"EndpointConnectionError", "ConnectTimeoutError", "SSLError", "ProxyConnectionError"} == UNREACHABLE


# Given up.


def test_a_call_that_its_caller_gives_up_takes_its_connection_along() -> None:
    async def live() -> None:
        come, gone = asyncio.Event(), asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_call(reader)
            if not come.is_set():
                come.set()
                assert await reader.read() == b""
                gone.set()
            writer.write(OK)

        async with listening(handle) as server, pool(server.port, size=1) as calls:
            call = asyncio.create_task(calls.call(POST))
            await come.wait()
            call.cancel()
            await gone.wait()
            assert call.cancelled()
            assert (await calls.call(POST)).status == 200
            assert server.connections == 2

    run(live())


def test_an_abort_ends_all_at_once_and_for_good() -> None:
    async def live() -> None:
        come = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await read_call(reader)
            come.set()
            await reader.read()

        async with listening(handle) as server, pool(server.port) as calls:
            call = asyncio.create_task(calls.call(POST))
            await come.wait()
            calls.abort()
            assert await code(call) == "ConnectionClosedError"
            assert await code(calls.call(POST)) == "ConnectionClosedError"
            assert server.connections == 1

        endless = Timeouts(connect=1e9)
        async with listening(silence) as server, pool(server.port, patience=endless, trust=TRUST_NOBODY) as calls:
            opening = asyncio.create_task(calls.call(POST))
            while not server.connections:
                await asyncio.sleep(0)
            calls.abort()
            assert await code(opening) == "ConnectionClosedError"

    run(live())


# Connections that are opened ahead of their calls.


def test_a_call_takes_the_connection_that_was_opened_for_it() -> None:
    async def scenario() -> None:
        async with listening(answering(OK)) as server, pool(server.port) as calls:
            assert not calls.ready
            await asyncio.gather(calls.open(), calls.open())
            assert (calls.ready, server.connections) == (True, 2)
            first, second = calls.take(), calls.take()
            assert (calls.ready, calls.take()) == (False, None)
            answers = await asyncio.gather(calls.call(POST, first), calls.call(POST, second))
            assert ([answer.status for answer in answers], calls.ready, server.connections) == ([200, 200], True, 2)

    run(scenario())


def test_a_connection_that_was_not_used_for_long_is_not_at_hand() -> None:
    async def scenario() -> None:
        async with listening(answering(OK)) as server, pool(server.port) as calls:
            await calls.open()
            jump(21.0)
            assert (calls.ready, calls.take()) == (False, None)

    run(scenario())


def test_a_connection_that_cannot_be_opened_says_why() -> None:
    async def scenario() -> None:
        async with pool(1) as calls:
            with pytest.raises(NoResponseError) as raised:
                await calls.open()
            assert (raised.value.code, calls.ready) == ("EndpointConnectionError", False)

    run(scenario())
