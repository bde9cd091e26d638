"""The way to the service: certificates, and proxies of every kind that boto3 knows."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from delivery.http.endpoint import open_trust
from delivery.http.proxy import Proxy
from delivery.responses import NoResponseError
from tests.delivery.listeners import OK, POST, Handler, answering, code, jump, listening, pool, read_call, run, silence


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    path = tmp_path_factory.mktemp("trust") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return open_trust(str(path))


@pytest.fixture
def tls(authority: trustme.CA) -> Callable[[str], ssl.SSLContext]:
    """Return a function from a name to the TLS of a server of this name."""

    def of(name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        return context

    return of


Tls = Callable[[str], ssl.SSLContext]

# Certificates.


def test_calls_go_over_tls(tls: Tls, trust: ssl.SSLContext) -> None:
    async def live() -> None:
        async with listening(answering(OK), tls("127.0.0.1")) as server, pool(server.port, trust=trust) as calls:
            assert [(await calls.call(POST)).status for _ in range(3)] == [200] * 3
            assert server.connections == 1

    run(live())


def test_a_certificate_of_another_name_is_not_trusted(tls: Tls, trust: ssl.SSLContext) -> None:
    async def live() -> None:
        async with listening(answering(OK), tls("other.example")) as server, pool(server.port, trust=trust) as calls:
            assert await code(calls.call(POST)) == "SSLError"

    run(live())


def test_a_certificate_of_another_authority_is_not_trusted(tls: Tls) -> None:
    async def live() -> None:
        stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trustme.CA().configure_trust(stranger)
        async with listening(answering(OK), tls("127.0.0.1")) as server, pool(server.port, trust=stranger) as calls:
            assert await code(calls.call(POST)) == "SSLError"

    run(live())


def test_a_server_without_tls_is_not_spoken_to(trust: ssl.SSLContext) -> None:
    async def live() -> None:
        received = bytearray()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.extend(await reader.read(1_000))
            writer.write(OK)

        async with listening(handle) as server, pool(server.port, trust=trust) as calls:
            assert await code(calls.call(POST)) == "SSLError"
        assert received
        assert b"POST" not in received

    run(live())


def test_a_server_that_hangs_up_amid_the_handshake_is_not_reached(trust: ssl.SSLContext) -> None:
    async def live() -> None:
        async def handle(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read(1_000)

        async with listening(handle) as server, pool(server.port, trust=trust) as calls:
            assert await code(calls.call(POST)) in {"EndpointConnectionError", "SSLError"}

    run(live())


def test_a_call_over_tls_that_is_cut_off_or_too_late_has_no_answer(tls: Tls, trust: ssl.SSLContext) -> None:
    async def live() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_call(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")

        async with listening(handle, tls("127.0.0.1")) as server, pool(server.port, trust=trust) as calls:
            assert await code(calls.call(POST)) == "ConnectionClosedError"

        async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await read_call(reader)
            jump(20.1)
            await reader.read()

        async with listening(hang, tls("127.0.0.1")) as server, pool(server.port, trust=trust) as calls:
            assert await code(calls.call(POST)) == "ReadTimeoutError"

    run(live())


# Proxies.


def tunnelling(requests: list[bytes], answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> Handler:
    """Be a proxy: keep what is asked, answer it, and after CONNECT let bytes pass."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await read_call(reader):
            requests.append(request)
            writer.write(answer)
            if request.startswith(b"CONNECT") and b" 200 " in answer:
                host, _, port = request.split(b" ")[1].decode().partition(":")
                await join((reader, writer), await asyncio.open_connection(host, int(port)))

    return handle


Side = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def join(one: Side, other: Side) -> None:
    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(10_000):
            writer.write(piece)
        writer.close()

    try:
        await asyncio.gather(pass_on(one[0], other[1]), pass_on(other[0], one[1]))
    finally:
        other[1].close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        pytest.param(b"HTTP/1.0 200 Connection established\r\nProxy-agent: old\r\n\r\n", id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", id="a length that means nothing"),
    ],
)
@pytest.mark.parametrize("secure", [False, True])
def test_a_proxy_is_asked_for_a_tunnel_to_an_https_endpoint(
    tls: Tls, trust: ssl.SSLContext, secure: bool, answer: bytes
) -> None:
    async def live() -> None:
        asked: list[bytes] = []
        proxy_tls = tls("localhost") if secure else None
        async with (
            listening(answering(OK), tls("127.0.0.1")) as server,
            listening(tunnelling(asked, answer), proxy_tls) as via,
        ):
            proxy = Proxy("localhost", via.port, secure, "Basic bWU6c2VjcmV0")
            async with pool(server.port, trust=trust, proxy=proxy) as calls:
                assert [(await calls.call(POST)).status for _ in range(3)] == [200] * 3
            assert (server.connections, via.connections) == (1, 1)
            target = b"127.0.0.1:%d" % server.port
            assert asked == [
                b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n" % (target, target)
            ]

    run(live())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        pytest.param(b"HTTP/1.0 200 Connection established\r\n\r\n", id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", id="it says close"),
    ],
)
def test_a_tunnel_that_was_opened_ahead_is_at_hand_for_a_call(tls: Tls, trust: ssl.SSLContext, answer: bytes) -> None:
    """What a proxy says of its own connection is no word about the tunnel: no call would ever find one else."""

    async def live() -> None:
        async with (
            listening(answering(OK), tls("127.0.0.1")) as server,
            listening(tunnelling([], answer)) as via,
            pool(server.port, trust=trust, proxy=Proxy("localhost", via.port)) as calls,
        ):
            await calls.open()
            assert calls.ready
            assert (await calls.call(POST, calls.take())).status == 200
            assert (calls.ready, via.connections) == (True, 1)

    run(live())


def test_a_tunnel_that_the_service_closes_before_a_call_is_told_to_who_opens_the_next_one(
    tls: Tls, trust: ssl.SSLContext
) -> None:
    async def live() -> None:
        async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with (
            listening(hang_up, tls("127.0.0.1")) as server,
            listening(tunnelling([])) as via,
            pool(server.port, trust=trust, proxy=Proxy("localhost", via.port)) as calls,
        ):
            await calls.open()
            while calls.ready:
                await asyncio.sleep(0)
            with pytest.raises(NoResponseError) as raised:
                await calls.open()
            assert (raised.value.code, via.connections) == ("ConnectionClosedError", 1)

    run(live())


def test_a_proxy_is_sent_calls_to_an_http_endpoint_itself() -> None:
    async def live() -> None:
        asked: list[bytes] = []
        async with listening(tunnelling(asked, OK)) as via, pool(1, proxy=Proxy("localhost", via.port)) as calls:
            assert [(await calls.call(POST)).status for _ in range(2)] == [200] * 2
        assert asked == [POST, POST]

    run(live())


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 403 Forbidden\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
        b"\0 not HTTP\r\n\r\n",
    ],
)
def test_a_proxy_that_refuses_is_told_apart(trust: ssl.SSLContext, answer: bytes) -> None:
    async def live() -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_call(reader)
            writer.write(answer)

        async with listening(refuse) as via, pool(1, trust=trust, proxy=Proxy("localhost", via.port)) as calls:
            assert await code(calls.call(POST)) == "ProxyConnectionError"

    run(live())


@pytest.mark.parametrize("secure", [False, True])
def test_a_proxy_that_is_not_there_is_told_apart(trust: ssl.SSLContext, secure: bool) -> None:
    async def live() -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            proxy = Proxy("127.0.0.1", held.getsockname()[1], secure)
            async with pool(1, trust=trust, proxy=proxy) as calls:
                assert await code(calls.call(POST)) == "ProxyConnectionError"

    run(live())


def test_a_proxy_that_says_nothing_is_not_waited_for(trust: ssl.SSLContext) -> None:
    async def live() -> None:
        async with listening(silence) as via, pool(1, trust=trust, proxy=Proxy("127.0.0.1", via.port)) as calls:
            call = asyncio.create_task(calls.call(POST))
            while not via.connections:
                await asyncio.sleep(0)
            jump(20.1)
            assert await code(call) == "ConnectTimeoutError"

    run(live())


def test_a_certificate_is_asked_of_the_service_behind_a_proxy(tls: Tls, trust: ssl.SSLContext) -> None:
    async def live() -> None:
        async with (
            listening(answering(OK), tls("other.example")) as server,
            listening(tunnelling([])) as via,
            pool(server.port, trust=trust, proxy=Proxy("localhost", via.port)) as calls,
        ):
            assert await code(calls.call(POST)) == "SSLError"

    run(live())


def test_a_certificate_is_asked_of_the_proxy(tls: Tls, trust: ssl.SSLContext) -> None:
    async def live() -> None:
        asked: list[bytes] = []
        async with (
            listening(tunnelling(asked), tls("other.example")) as via,
            pool(1, trust=trust, proxy=Proxy("localhost", via.port, tls=True)) as calls,
        ):
            assert await code(calls.call(POST)) == "ProxyConnectionError"
            assert asked == []

    run(live())


def test_no_file_of_certificates_is_no_trust(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("empty.pem", "none.pem", "."):
        with pytest.raises(ValueError, match="cannot be read"):
            open_trust(str(tmp_path / name))
