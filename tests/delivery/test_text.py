"""What a service says in any bytes: it can be stored, sent on and printed, and still means what it means."""

from __future__ import annotations

import json
import unicodedata

import pytest

from delivery.http.client import read_answer
from delivery.http.response_parser import HttpResponse
from delivery.responses import ResponseMeaning, interpret_response
from delivery.text import sanitize

REFUSED = b"InvalidInputException"
MESSAGES = {
    "half a surrogate pair": b'"a \\ud83d b"',
    "NUL and an escape sequence": b'"a \\u0000\\u001b[2J b"',
    "bytes that are no UTF-8": b'"a \xff\xc3( b"',
    "a line turned around": b'"a \\u202e b"',
    "lines": b'"a\\r\\nerror: b"',
    "900 KB": b'"' + b"x" * 900_000 + b'"',
    "no text": b'{"a": [1, null]}',
    "a number of 5,000 digits": b"9" * 5_000,
    "nested 100,000 deep": b"[" * 100_000,
}


def is_sound(text: str | None, longest: int) -> bool:
    if text is None:
        return True
    text.encode()
    return len(text) <= longest and not {unicodedata.category(each) for each in text} & {"Cc", "Cs", "Cf", "Zl", "Zp"}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("place", ["body", "header"])
def test_a_refusal_is_one_whatever_its_words(message: bytes, place: str) -> None:
    named = b'"__type": "%b", ' % REFUSED if place == "body" else b""
    headers = {b"x-amzn-errortype": REFUSED + b":http://x"} if place == "header" else {}
    body = b'{%b"message": %b}' % (named, message)
    answer = read_answer(HttpResponse(400, headers | {b"x-amzn-requestid": b"id"}, body, keep_alive=True))
    assert is_sound(answer.errorMessage, 4_096) and is_sound(answer.errorCode, 128)
    if place == "header" or message not in (MESSAGES["a number of 5,000 digits"], MESSAGES["nested 100,000 deep"]):
        assert (answer.errorCode, interpret_response(answer)) == ("InvalidInputException", ResponseMeaning.REFUSED)
    assert answer.awsRequestId == "id"


@pytest.mark.parametrize("body", [b"", b"<html>\xff", b"[1]", b"null", b'"text"', b"\x00" * 50])
def test_a_body_that_is_no_object_takes_no_code_from_the_header(body: bytes) -> None:
    answer = read_answer(HttpResponse(400, {b"x-amzn-errortype": b"ThrottlingException"}, body, keep_alive=True))
    assert interpret_response(answer) is ResponseMeaning.THROTTLED
    assert is_sound(answer.errorMessage, 4_096)


@pytest.mark.parametrize("name", [b"\xff\x00\x1b[31m", b"i" * 5_000, b"\x85\x9f"])
def test_a_request_id_of_odd_bytes_still_acknowledges(name: bytes) -> None:
    answer = read_answer(HttpResponse(200, {b"x-amzn-requestid": name}, b"", keep_alive=True))
    assert interpret_response(answer) is ResponseMeaning.DELIVERED
    assert answer.awsRequestId and is_sound(answer.awsRequestId, 128)


def test_a_code_of_odd_bytes_can_be_printed() -> None:
    body = json.dumps({"__type": "Code\x1b[31m\ud83d" + "x" * 1_000}).encode()
    answer = read_answer(HttpResponse(400, {}, body, keep_alive=True))
    assert answer.errorCode is not None and answer.errorCode.startswith("Code") and is_sound(answer.errorCode, 128)


def test_a_whole_pair_and_plain_words_stay_as_they_are() -> None:
    assert sanitize("naïve \N{GRINNING FACE}, 日本", 100) == "naïve \N{GRINNING FACE}, 日本"
