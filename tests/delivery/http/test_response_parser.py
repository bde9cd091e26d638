"""Answers as they come over a wire: in whatever pieces, framed in whatever way, and whatever else a port may send."""

import http.client
import io
import socket
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.http.response_parser import BODY_MAX, HEAD_MAX, HttpResponse, MalformedResponseError, ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"


def read(pieces: Iterable[bytes], *, closed: bool = False) -> HttpResponse | None:
    """Feed an answer's pieces; nothing may be left over when it is whole."""
    reader, answer = ResponseParser(), None
    for piece in pieces:
        assert answer is None
        answer = reader.feed(piece)
    return reader.end() if closed and answer is None else answer


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[start:end] for start, end in pairwise(borders)]


# Valid answers, against the standard library's reader.

LETTERS = st.characters(min_codepoint=33, max_codepoint=126)
NAMES = st.text("abcXYZ-", min_size=1).map(lambda name: f"x-{name}")
HEADERS = st.dictionaries(NAMES, st.text(LETTERS, max_size=20), max_size=5)
BODIES = st.binary(max_size=300)


def chunked(body: bytes, places: Sequence[int], ending: bytes) -> bytes:
    chunks = cut(body, places) if body else []
    return b"".join(b"%X;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n" + ending


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """A whole answer, its end told by its length, its chunks or the connection's end."""
    status, body = draw(st.sampled_from([200, 202, 204, 304, 400, 503])), draw(BODIES)
    headers = draw(HEADERS)
    if status in {204, 304}:
        body, wire = b"", b""
    elif draw(st.booleans()):
        headers["Transfer-encoding"] = "chunked"
        wire = chunked(
            body, draw(st.lists(st.integers(0, 300))), draw(st.sampled_from([b"\r\n", b"a: b\r\nc: d\r\n\r\n"]))
        )
    else:
        headers |= {"CONTENT-LENGTH": str(len(body))} if draw(st.booleans()) else {}
        wire = body
    lines = [f"HTTP/1.1 {status} {draw(st.sampled_from(['Reason', '']))}", *(f"{n}:{v}" for n, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + wire


class Wire:
    """As much of a socket as `http.client` reads from."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._data)


@given(answers(), st.lists(st.integers(0, 2_000), max_size=20))
def test_a_valid_answer_is_read_as_the_standard_library_reads_it(answer: bytes, places: list[int]) -> None:
    judge = http.client.HTTPResponse(cast(socket.socket, Wire(answer)))
    judge.begin()
    found = read(cut(answer, places), closed=True)
    assert found is not None
    assert (found.status, found.body) == (judge.status, judge.read())
    expected = {name.lower(): value for name, value in judge.getheaders()}
    assert {name.decode(): value.decode() for name, value in found.headers.items()} == expected


@given(answers(), st.lists(st.tuples(st.integers(0, 2_000), st.binary(max_size=3))), st.integers(0, 2_000))
def test_whatever_comes_is_an_answer_or_none(answer: bytes, changes: list[tuple[int, bytes]], size: int) -> None:
    data = bytearray(answer)
    for place, change in changes:
        data[place % len(data) : place % len(data) + len(change)] = change
    reader, found = ResponseParser(), None
    try:
        for piece in cut(bytes(data), [size]):
            found = found or reader.feed(piece)
        found = found or reader.end()
    except MalformedResponseError:
        return
    assert found is None or 200 <= found.status <= 999


# Beyond what it compares.


def test_interim_answers_are_skipped() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = read([b"HTTP/1.1 100 Continue\r\n\r\n" + hints + b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}"])
    assert answer == HttpResponse(400, {b"content-length": b"2"}, b"{}", keep_alive=True)


def test_values_of_repeated_headers_are_joined() -> None:
    answer = read([OK + b"a: 1\r\nA:\t2 \r\ncontent-length: 0\r\n\r\n"])
    assert answer is not None
    assert answer.headers[b"a"] == b"1,2"


def test_a_success_of_connect_has_no_body() -> None:
    assert ResponseParser(to_connect=True).feed(OK + b"Content-Length: 5\r\n\r\n") is not None
    refusal = b"HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\n"
    assert ResponseParser(to_connect=True).feed(refusal) is None
    answer = ResponseParser(to_connect=True).feed(refusal + b"12345")
    assert answer is not None
    assert answer.body == b"12345"


@pytest.mark.parametrize(
    ("answer", "keep_alive"),
    [
        (OK + b"Content-Length: 0\r\n\r\n", True),
        (OK + b"Connection: Keep-Alive\r\nContent-Length: 0\r\n\r\n", True),
        (OK + b"Connection: Close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", True),
        pytest.param(OK + b"Content-Length: 0\r\n\r\nHTTP/1.1 200", False, id="more than was asked for"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nH", False, id="more behind chunks"),
        pytest.param(
            OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False, id="two ends told"
        ),
        pytest.param(OK + b"\r\n", False, id="ends with the connection"),
    ],
)
def test_a_connection_is_kept_where_the_answer_says_so_and_its_end_is_sure(answer: bytes, keep_alive: bool) -> None:
    found = read([answer], closed=True)
    assert found is not None
    assert found.keep_alive is keep_alive


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
        OK + b"Content-Length: 5\r\n\r\n1234",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\n1234",
        OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
    ],
)
def test_an_answer_that_breaks_off_is_none(data: bytes) -> None:
    assert read([data], closed=True) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\0\1 not HTTP\r\n\r\n",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 No\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b": no name\r\n\r\n",
        OK + b"blank : before the colon\r\n\r\n",
        OK + b"a: b\r\n folded\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        OK + b"Content-Length: 0x1\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n123\r\n",
    ],
)
def test_what_is_not_http_is_told_without_quoting_it(data: bytes) -> None:
    with pytest.raises(MalformedResponseError) as raised:
        read([data])
    assert str(raised.value).isascii()
    assert "OpenSSH" not in str(raised.value)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 200 " + b"x" * HEAD_MAX, id="status line"),
        pytest.param(OK + b"a: b\r\n" * HEAD_MAX + b"\r\n", id="headers"),
        pytest.param(OK + b"Content-Length: %d\r\n\r\n" % (BODY_MAX + 1), id="length"),
        pytest.param(OK + b"\r\n" + b"x" * (BODY_MAX + 1), id="to the end"),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (BODY_MAX + 1), id="one chunk"),
        pytest.param(
            OK + b"Transfer-Encoding: chunked\r\n\r\n" + (b"8000\r\n" + b"x" * 32768 + b"\r\n") * 33,
            id="33 chunks of 32 KB",
        ),
        pytest.param(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * HEAD_MAX * 2, id="chunk's size"),
    ],
)
def test_memory_is_bounded(data: bytes) -> None:
    with pytest.raises(MalformedResponseError, match=r"too large|too long"):
        read([data])


def test_the_largest_body_is_taken() -> None:
    answer = read([OK + b"Content-Length: %d\r\n\r\n" % BODY_MAX, b"x" * BODY_MAX])
    assert answer is not None
    assert len(answer.body) == BODY_MAX
