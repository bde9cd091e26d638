"""Whatever comes over a socket, its sender has an answer, the summary counts it, and other clients have theirs."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import emulator
import emulator.connection
from emulator import EmulatorSettings, Faults

ROOT = Path(__file__).parents[2]
CALL = {"trackingId": "t", "sessionId": "s", "eventList": [{"eventType": "v", "sentAt": 1}]}
BODY = json.dumps(CALL).encode()
HANG = 30.0
"""Seconds after which a test takes it that there will be no answer."""


def connect_to(url: str) -> socket.socket:
    address = urlsplit(url)
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=HANG)


def signed(url: str, body: bytes = BODY, *more: str, length: str | None = None, method: str = "POST") -> bytes:
    """Return a signed call as it goes over the wire."""
    request = AWSRequest(method, url + "/events", {"Host": urlsplit(url).netloc}, body)
    SigV4Auth(Credentials("AKIDEMULATOR", "emulator-secret"), "personalize", "eu-west-1").add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    told = f"Content-Length: {len(body)}" if length is None else length
    return "\r\n".join([f"{method} /events HTTP/1.1", *lines, *more, *([told] if told else []), "", ""]).encode() + body


def read_answer(stream: Any) -> tuple[int, str]:
    """Return status and error code of the next answer; (0, "") if the connection ended."""
    line = stream.readline()
    if not line:
        return 0, ""
    status, code, length = int(line.split()[1]), "", 0
    while header := stream.readline().strip().decode():
        name, _, value = header.partition(": ")
        code = value if name == "x-amzn-ErrorType" else code
        length = int(value) if name == "Content-Length" else length
    stream.read(length)
    return status, code


def ask(url: str, data: bytes, *, half_close: bool = False) -> tuple[int, str]:
    """Send bytes on a connection of their own; return status and error code of the answer."""
    with connect_to(url) as wire, wire.makefile("rb") as stream:
        wire.sendall(data)
        if half_close:
            wire.shutdown(socket.SHUT_WR)
        return read_answer(stream)


def balance(summary: dict[str, Any]) -> int:
    """Return the requests that the summary accounts for, when no fault is injected."""
    calls = summary["accepted"] + summary["throttled"] + sum(summary["refused"].values())
    assert summary["calls"] == calls
    return calls + int(sum(summary["badRequests"].values()))


HEAD = "Content-Length: 0"
HOSTILE: dict[str, Callable[[str], bytes]] = {
    "400 digits": lambda url: signed(url, BODY.replace(b'"sentAt": 1', b'"sentAt": ' + b"9" * 400)),
    "4,000 digits": lambda url: signed(url, BODY.replace(b'"sentAt": 1', b'"sentAt": ' + b"9" * 4_000)),
    "an infinite number": lambda url: signed(url, BODY.replace(b'"sentAt": 1', b'"sentAt": 1e400')),
    "NaN": lambda url: signed(url, BODY.replace(b'"sentAt": 1', b'"sentAt": NaN')),
    "100,000 brackets": lambda url: signed(url, b"[" * 100_000),
    "100,000 objects": lambda url: signed(url, b'{"a":' * 100_000),
    "no UTF-8": lambda url: signed(url, BODY.replace(b'"s"', b'"\xff\xfe"')),
    "UTF-16": lambda url: signed(url, json.dumps(CALL).encode("utf-16")),
    "half a character": lambda url: signed(url, BODY.replace(b'"s"', b'"\\ud83d"')),
    "a million wrong events": lambda url: signed(url, b'{"eventList": [' + b"{}," * 1_000_000 + b"{}]}"),
    "an empty body": lambda url: signed(url, b""),
    "no length": lambda url: signed(url, b"", length=""),
    "two lengths": lambda url: signed(url, BODY, "Content-Length: 5"),
    "a length and chunks": lambda url: signed(url, BODY, "Transfer-Encoding: chunked"),
    "a length that is none": lambda url: signed(url, BODY, length="Content-Length: 1e3"),
    "a length beyond 64 bits": lambda url: signed(url, BODY, length=f"Content-Length: {'9' * 30}"),
    "a negative length": lambda url: signed(url, BODY, length="Content-Length: -1"),
    "another coding": lambda url: signed(url, BODY, "Transfer-Encoding: gzip", length=""),
    "a chunk of no size": lambda url: signed(url, b"zz\r\n", "Transfer-Encoding: chunked", length=""),
    "GET": lambda url: signed(url, b"", method="GET"),
    "OPTIONS": lambda _: f"OPTIONS * HTTP/1.1\r\n{HEAD}\r\n\r\n".encode(),
    "CONNECT": lambda _: f"CONNECT a:1 HTTP/1.1\r\n{HEAD}\r\n\r\n".encode(),
    "another path": lambda _: f"POST /../events HTTP/1.1\r\n{HEAD}\r\n\r\n".encode(),
    "a path that is none": lambda _: b"GET /\xff HTTP/1.1\r\n\r\n",
    "a version that is none": lambda _: b"GET / HTTP/9.9\r\n\r\n",
    "HTTP/2": lambda _: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": lambda _: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 500,
    "a folded header": lambda url: signed(url, BODY, "X-A: b\r\n c"),
    "a NUL in a header": lambda url: signed(url, BODY, "X-A: b\0c"),
    "a header twice": lambda url: signed(url, BODY, "Authorization: AWS4-HMAC-SHA256 a"),
    "101 headers": lambda _: b"POST /events HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n",
    "a long header": lambda _: b"POST /events HTTP/1.1\r\nA: " + b"b" * 100_000,
    "a long name": lambda _: b"POST /events HTTP/1.1\r\n" + b"b" * 100_000,
    "a long path": lambda _: b"POST /" + b"b" * 100_000,
    "5 MB of headers": lambda _: b"POST /events HTTP/1.1\r\n" + b"A: b\r\n" * 800_000,
    "5 MB of other headers": lambda _: (
        b"POST /events HTTP/1.1\r\n" + b"".join(b"A%d: b\r\n" % number for number in range(400_000))
    ),
    "settings of 400 digits": lambda _: (
        b"POST /_emulator/settings HTTP/1.1\r\nContent-Length: 416\r\n\r\n" + b'{"otherRate": -' + b"9" * 400 + b"}"
    ),
    "nested settings": lambda _: (
        b"POST /_emulator/settings HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"[" * 100_000
    ),
}
GOOD = {"half a character"}


@pytest.mark.parametrize("name", HOSTILE)
def test_each_request_has_an_answer_and_is_counted_once(server: emulator.Server, name: str) -> None:
    url = server.endpoint_url
    status, code = ask(url, HOSTILE[name](url))
    summary = server.summary()
    assert balance(summary) == 1
    if name in GOOD:
        assert (status, code, summary["accepted"]) == (200, "", 1)
        assert len(list(server.events())) == 1
    else:
        assert 400 <= status < 500 and code, (status, code)
        assert summary["refused"] | summary["badRequests"] == {code: 1}
    assert ask(url, signed(url)) == (200, "")


def test_hostile_requests_of_many_clients_keep_nobody_from_an_answer(server: emulator.Server) -> None:
    url = server.endpoint_url
    requests = [build(url) for build in HOSTILE.values()]
    with ThreadPoolExecutor(len(requests) + 1) as pool:
        hostile = [pool.submit(ask, url, request) for request in requests]
        good = [ask(url, signed(url)) for _ in range(50)]
        assert all(each.result()[0] for each in hostile)
    assert good == [(200, "")] * 50
    assert balance(server.summary()) == len(requests) + 50


def test_a_fault_of_the_emulator_itself_is_an_answer_that_is_counted(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(_: bytes) -> dict[str, Any]:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr("emulator.service.load_judge", lambda: fail)
    with emulator.running() as server:
        assert [ask(server.endpoint_url, signed(server.endpoint_url)) for _ in range(2)] == [
            (500, "InternalFailure")
        ] * 2
        assert server.summary()["refused"] == {"InternalFailure": 2}
        assert balance(server.summary()) == 2
    assert "ZeroDivisionError: of the test" in capfd.readouterr().err


def test_an_answer_to_head_has_no_body(server: emulator.Server) -> None:
    with connect_to(server.endpoint_url) as wire, wire.makefile("rb") as stream:
        wire.sendall(b"HEAD /events HTTP/1.1\r\n\r\n" + signed(server.endpoint_url))
        head = b"".join(iter(stream.readline, b"\r\n"))
        assert head.startswith(b"HTTP/1.1 404") and b"Content-Length: " in head
        assert read_answer(stream) == (200, "")


def test_a_whole_url_is_a_path_too(server: emulator.Server) -> None:
    url = server.endpoint_url
    assert ask(url, signed(url).replace(b"POST /events", f"POST {url}/events".encode())) == (200, "")


def test_a_trailer_is_no_header(server: emulator.Server) -> None:
    url = server.endpoint_url
    request = signed(url, b"", "Transfer-Encoding: chunked", length="")
    moment = next(line for line in request.split(b"\r\n") if line.startswith(b"X-Amz-Date"))
    chunks = b"0\r\n" + moment + b"\r\n\r\n"
    assert ask(url, request + chunks) == (400, "SerializationException")
    assert ask(url, request.replace(moment + b"\r\n", b"") + chunks) == (400, "IncompleteSignatureException")


def test_a_body_whose_chunks_are_mostly_something_else_is_too_large(server: emulator.Server) -> None:
    chunk = b"1;" + b"x" * 16_000 + b"\r\na\r\n"
    request = signed(server.endpoint_url, b"", "Transfer-Encoding: chunked", length="")
    assert ask(server.endpoint_url, request + chunk * 700) == (413, "RequestEntityTooLargeException")


def test_a_body_in_pieces_of_a_byte(server: emulator.Server) -> None:
    request = signed(server.endpoint_url, BODY, "Transfer-Encoding: chunked", length="")
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    assert ask(server.endpoint_url, request[: -len(BODY)] + chunks) == (200, "")


# Clients that are slow, or gone.


@pytest.mark.parametrize(
    "settings",
    [
        EmulatorSettings(),
        EmulatorSettings(latency_ms=100),
        EmulatorSettings(faults=Faults(slow_body_rate=1.0, slow_body_ms=100)),
    ],
)
def test_who_has_sent_all_and_says_so_has_all_answers(settings: EmulatorSettings) -> None:
    with emulator.running(settings) as server:
        with connect_to(server.endpoint_url) as wire, wire.makefile("rb") as stream:
            wire.sendall(signed(server.endpoint_url) * 3)
            wire.shutdown(socket.SHUT_WR)
            assert [read_answer(stream) for _ in range(4)] == [(200, "")] * 3 + [(0, "")]
        assert server.summary()["accepted"] == 3


@pytest.mark.parametrize("cut", [20, 300, -1])
def test_half_a_request_that_ends_has_an_answer_too(server: emulator.Server, cut: int) -> None:
    url = server.endpoint_url
    assert ask(url, signed(url)[:cut], half_close=True) == (400, "BadRequestException")
    assert server.summary()["badRequests"] == {"BadRequestException": 1}


@pytest.mark.parametrize("cut", [20, 300, -1])
def test_a_request_that_does_not_end_is_not_waited_for(
    server: emulator.Server, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    monkeypatch.setattr(emulator.connection, "REQUEST_SECONDS", 0.2)
    url = server.endpoint_url
    with connect_to(url) as wire, wire.makefile("rb") as stream:
        wire.sendall(signed(url) + signed(url)[:cut])
        assert read_answer(stream) == (200, "")
        assert read_answer(stream) == (408, "RequestTimeoutException")
        assert read_answer(stream) == (0, "")
    assert server.summary()["badRequests"] == {"RequestTimeoutException": 1}


def test_a_drop_now_and_then_does_not_put_the_end_off(server: emulator.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator.connection, "REQUEST_SECONDS", 0.5)
    with connect_to(server.endpoint_url) as wire, wire.makefile("rb") as stream:
        wire.settimeout(0.05)
        wire.sendall(b"POST /events HTTP/1.1\r\n")
        answer = b""
        for _ in range(int(HANG / 0.05)):
            wire.sendall(b"A: b\r\n")
            try:
                answer = wire.recv(1_000)
            except TimeoutError:
                continue
            break
        del stream
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_no_request_that_does_not_end(
    server: emulator.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulator.connection, "REQUEST_SECONDS", 0.05)
    with connect_to(server.endpoint_url) as wire, wire.makefile("rb") as stream:
        for _ in range(2):
            time.sleep(0.2)
            wire.sendall(signed(server.endpoint_url))
            assert read_answer(stream) == (200, "")


def test_a_client_that_reads_nothing_is_not_answered_without_end(server: emulator.Server) -> None:
    """Its answers wait with it; a thousand kilobytes of them are not held for it."""
    with connect_to(server.endpoint_url) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        wire.settimeout(1.0)
        request = b"GET /nothing HTTP/1.1\r\n\r\n" * 1_000
        with pytest.raises(TimeoutError):
            wire.sendall(request * 8_000)
        wire.settimeout(HANG)
        assert ask(server.endpoint_url, signed(server.endpoint_url)) == (200, "")
        with wire.makefile("rb") as stream:
            assert [read_answer(stream) for _ in range(1_000)] == [(404, "UnknownOperationException")] * 1_000


def test_continue_is_said_after_the_answers_before_it() -> None:
    with emulator.running(EmulatorSettings(latency_ms=100)) as server, connect_to(server.endpoint_url) as wire:
        url = server.endpoint_url
        head, _, body = signed(url, BODY, "Expect: 100-continue").partition(b"\r\n\r\n")
        wire.sendall(signed(url) + head + b"\r\n\r\n")
        with wire.makefile("rb") as stream:
            assert read_answer(stream) == (200, "")
            assert read_answer(stream) == (100, "")
            wire.sendall(body)
            assert read_answer(stream) == (200, "")


@pytest.mark.parametrize("latency_ms", [0, 100])
def test_a_call_that_hangs_ends_with_its_client(latency_ms: float) -> None:
    settings = EmulatorSettings(latency_ms=latency_ms, faults=Faults(hang_before_rate=1.0))
    with emulator.running(settings) as server:
        with connect_to(server.endpoint_url) as wire:
            wire.sendall(signed(server.endpoint_url))
            wire.shutdown(socket.SHUT_WR)
            assert wire.recv(1) == b""
        assert server.summary()["faults"] == {"hang-before": 1}


# More clients than descriptors.


@contextmanager
def running_with_descriptors(soft: int, hard: int) -> Iterator[str]:
    """Run `python -m emulator` in a process that may open so many files; give its URL."""
    limits = f'ulimit -S -n {soft}; ulimit -H -n {hard}; exec "$@"'
    command = ["bash", "-c", limits, "bash", sys.executable, "-m", "emulator", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()
            said = process.communicate(timeout=HANG)
            assert (process.returncode, said) == (0, ("", ""))


def test_it_opens_as_many_files_as_it_may() -> None:
    with running_with_descriptors(64, 4_096) as url, ExitStack() as stack:
        wires = [stack.enter_context(connect_to(url)) for _ in range(300)]
        for wire in wires:
            wire.sendall(signed(url))
        for wire in wires:
            assert read_answer(stack.enter_context(wire.makefile("rb"))) == (200, "")


def test_90_clients_at_64_descriptors_all_have_an_answer_and_then_all_are_served() -> None:
    with running_with_descriptors(64, 64) as url:
        with ExitStack() as stack:
            wires = [stack.enter_context(connect_to(url)) for _ in range(90)]
            for wire in wires:
                wire.sendall(signed(url))
            answers = [read_answer(stack.enter_context(wire.makefile("rb"))) for wire in wires]
        served, refused = answers.count((200, "")), answers.count((503, "ServiceUnavailable"))
        assert served + refused == 90
        assert served >= 20
        assert ask(url, signed(url)) == (200, "")
        with urlopen(f"{url}/_emulator/summary", timeout=HANG) as answer:
            summary = json.load(answer)
        assert balance(summary) == 91
        assert summary["badRequests"].get("ServiceUnavailable", 0) == refused


def test_connections_that_nobody_uses_make_room() -> None:
    with running_with_descriptors(64, 64) as url, ExitStack() as stack:
        for _ in range(90):
            wire = stack.enter_context(connect_to(url))
            wire.sendall(signed(url))
        time.sleep(3.0)
        assert [ask(url, signed(url)) for _ in range(30)] == [(200, "")] * 30
