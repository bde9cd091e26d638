"""HTTP as clients speak it, over bare sockets."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import emulator
from emulator import EmulatorSettings, Faults

BODY = json.dumps({"trackingId": "t", "sessionId": "s", "eventList": [{"eventType": "v", "sentAt": 1}]}).encode()


@pytest.fixture
def wire(server: emulator.Server) -> Iterator[socket.socket]:
    with _open(server) as opened:
        yield opened


def _open(server: emulator.Server) -> socket.socket:
    address = urlsplit(server.endpoint_url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=5)


def head(server: emulator.Server, *more: str, version: str = "1.1") -> bytes:
    """Return a signed call's head, without what tells the body's length."""
    request = AWSRequest("POST", server.endpoint_url + "/events", {"Host": urlsplit(server.endpoint_url).netloc}, BODY)
    SigV4Auth(Credentials("AKIDEMULATOR", "emulator-secret"), "personalize", "eu-west-1").add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([f"POST /events HTTP/{version}", *lines, *more, "", ""]).encode()


def whole(server: emulator.Server, *more: str, version: str = "1.1") -> bytes:
    return head(server, f"Content-Length: {len(BODY)}", *more, version=version) + BODY


def answer(wire: socket.socket) -> HTTPResponse:
    response = HTTPResponse(wire)
    response.begin()
    response.read()
    return response


def test_a_connection_is_kept_alive(server: emulator.Server, wire: socket.socket) -> None:
    ids = set()
    for _ in range(3):
        wire.sendall(whole(server))
        response = answer(wire)
        assert response.status == 200
        ids.add(response.headers["x-amzn-RequestId"])
    assert len(ids) == 3


@pytest.mark.parametrize(("version", "more"), [("1.1", ["Connection: close"]), ("1.0", [])])
def test_a_connection_is_closed_if_so_asked(
    server: emulator.Server, wire: socket.socket, version: str, more: list[str]
) -> None:
    wire.sendall(whole(server, *more, version=version))
    response = answer(wire)
    assert (response.status, response.headers["Connection"]) == (200, "close")
    assert wire.recv(1) == b""


def test_what_follows_a_closing_request_is_not_accepted(server: emulator.Server, wire: socket.socket) -> None:
    wire.sendall(whole(server, "Connection: close") + whole(server))
    assert answer(wire).status == 200
    assert server.summary()["accepted"] == 1


def test_requests_in_small_pieces(server: emulator.Server, wire: socket.socket) -> None:
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = whole(server)
    for start in range(0, len(request), 7):
        wire.send(request[start : start + 7])
    assert answer(wire).status == 200


@pytest.mark.parametrize("latency_ms", [0, 5])
def test_pipelined_requests_are_answered_in_order(latency_ms: float) -> None:
    with emulator.running(EmulatorSettings(latency_ms=latency_ms)) as server, _open(server) as wire:
        good, unknown = whole(server), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        wire.sendall((good + unknown) * 20)
        with wire.makefile("rb") as stream:
            statuses = [_read_status(stream) for _ in range(40)]
        assert statuses == [200, 404] * 20
        assert server.summary()["accepted"] == 20


def _read_status(stream: Any) -> int:
    status = int(stream.readline().split()[1])
    length = 0
    while line := stream.readline().strip().lower():
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    stream.read(length)
    return status


def test_a_chunked_body(server: emulator.Server, wire: socket.socket) -> None:
    pieces = [BODY[:20], BODY[20:]]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    wire.sendall(head(server, "Transfer-Encoding: chunked") + chunks)
    assert answer(wire).status == 200


def test_a_client_that_waits_to_continue(server: emulator.Server, wire: socket.socket) -> None:
    wire.sendall(head(server, f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
    assert wire.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
    wire.sendall(BODY)
    assert answer(wire).status == 200


def test_a_body_too_large_by_its_length(server: emulator.Server, wire: socket.socket) -> None:
    wire.sendall(head(server, "Content-Length: 5000001", "Expect: 100-continue"))
    response = answer(wire)
    assert (response.status, response.headers["Connection"]) == (413, "close")


def test_a_body_too_large_by_its_chunks_is_read_off(server: emulator.Server, wire: socket.socket) -> None:
    wire.sendall(head(server, "Transfer-Encoding: chunked"))
    for _ in range(6):
        wire.sendall(b"f4240\r\n" + b" " * 1_000_000 + b"\r\n")
    assert answer(wire).headers["x-amzn-ErrorType"] == "RequestEntityTooLargeException"
    assert server.summary()["calls"] == 0


def test_the_largest_body_is_judged(server: emulator.Server, wire: socket.socket) -> None:
    wire.sendall(head(server, "Content-Length: 5000000") + b" " * 5_000_000)
    assert answer(wire).headers["x-amzn-ErrorType"] == "InvalidSignatureException"


@pytest.mark.parametrize("data", [b"nonsense\r\n\r\n", b"POST /events HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
def test_what_is_no_http(wire: socket.socket, data: bytes) -> None:
    wire.sendall(data)
    response = answer(wire)
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (400, "BadRequestException")


def test_no_other_protocol_is_spoken(server: emulator.Server, wire: socket.socket) -> None:
    wire.sendall(whole(server, "Connection: Upgrade", "Upgrade: h2c"))
    response = answer(wire)
    assert (response.status, response.headers["x-amzn-ErrorType"]) == (400, "BadRequestException")
    assert server.summary()["calls"] == 0


def test_a_client_that_hangs_up_does_no_harm() -> None:
    with emulator.running(EmulatorSettings(latency_ms=50)) as server:
        for _ in range(5):
            with _open(server) as wire:
                wire.sendall(whole(server))
        with _open(server) as wire:
            wire.sendall(whole(server))
            assert answer(wire).status == 200


@pytest.mark.parametrize("fault", ["hang_before", "hang_after", "slow_body"])
def test_who_waits_for_an_answer_does_not_keep_it_from_stopping(fault: str) -> None:
    faults = Faults(**{f"{fault}_rate": 1.0}, slow_body_ms=86_400_000)
    with emulator.running(EmulatorSettings(faults=faults)) as server:
        wire = _open(server)
        wire.sendall(whole(server))
        while not server.summary()["faults"]:
            pass
    with wire, wire.makefile("rb") as stream:
        assert stream.read().endswith(b"Content-Length: 20\r\n\r\n" if fault == "slow_body" else b"")


def test_the_events_for_a_client_of_http_1_0(server: emulator.Server, wire: socket.socket) -> None:
    with _open(server) as sender:
        sender.sendall(whole(server))
        answer(sender)
    wire.sendall(b"GET /_emulator/events HTTP/1.0\r\n\r\n")
    with wire.makefile("rb") as stream:
        received = stream.read()
    assert json.loads(received.partition(b"\r\n\r\n")[2])["trackingId"] == "t"


def test_calls_go_through_while_events_are_told(server: emulator.Server, wire: socket.socket) -> None:
    """A reader that stops reading holds back its own stream and nobody else."""
    wire.sendall(whole(server) * 2_000)
    with wire.makefile("rb") as stream:
        assert {_read_status(stream) for _ in range(2_000)} == {200}
    with _open(server) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for _ in range(20):
            slow.sendall(b"GET /_emulator/events HTTP/1.1\r\n\r\n")
        slow.recv(100)
        wire.sendall(whole(server))
        assert answer(wire).status == 200
