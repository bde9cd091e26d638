"""A call's JSON against boto3's: the body that it sends, and what it makes of an answer."""

import json
from functools import cache
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from delivery.http.client import read_answer, render_body
from delivery.http.response_parser import HttpResponse
from delivery.model import Request, Response
from delivery.responses import ResponseMeaning, interpret_response


class Judge:
    """A boto3 client that sends nothing: it keeps the body, and gives itself an answer of ours."""

    def __init__(self) -> None:
        config = Config(retries={"total_max_attempts": 1})
        keys = {"aws_access_key_id": "AKID", "aws_secret_access_key": "secret"}
        self._client = boto3.Session().client("personalize-events", "eu-west-1", config=config, **keys)
        self._client.meta.events.register_first("before-send.personalize-events.PutEvents", self._take)
        self._answer: tuple[int, dict[str, str], bytes] = (200, {}, b"")
        self._body = b""

    def body(self, **arguments: Any) -> Any:
        self._answer = (200, {}, b"")
        self._client.put_events(**arguments)
        return json.loads(self._body)

    def error(self, status: int, headers: dict[str, str], body: bytes) -> tuple[str, str]:
        self._answer = (status, headers, body)
        with pytest.raises(ClientError) as raised:
            self._client.put_events(trackingId="t", sessionId="s", eventList=[{"eventType": "v", "sentAt": 0}])
        error = raised.value.response["Error"]
        return error["Code"], error["Message"]

    def _take(self, request: Any, **_: Any) -> AWSResponse:
        self._body = request.body
        status, headers, body = self._answer
        return AWSResponse(request.url, status, headers, SimpleNamespace(stream=lambda: iter([body])))


@cache
def judge() -> Judge:
    return Judge()


# Out.

AWKWARD = st.sampled_from('a"\\/\n\x00\x7f\u2028é☂\U0001f6d2\ud800')
TEXTS = st.text(AWKWARD, min_size=1, max_size=20) | st.text(min_size=1, max_size=20)
EVENTS = st.fixed_dictionaries(
    {"eventType": TEXTS, "sentAt": st.integers(0, 2**33)},
    optional={
        "eventId": TEXTS,
        "eventValue": st.floats(allow_nan=False, allow_infinity=False),
        "itemId": TEXTS,
        "impression": st.lists(TEXTS, min_size=1, max_size=3),
        "properties": st.dictionaries(TEXTS, TEXTS).map(json.dumps),
        "metricAttribution": st.builds(lambda text: {"eventAttributionSource": text}, TEXTS),
    },
)


@given(TEXTS, st.none() | TEXTS, TEXTS, st.lists(EVENTS, min_size=1, max_size=10), st.booleans())
def test_the_body_is_boto3s(
    tracker: str, user: str | None, session: str, events: list[dict[str, Any]], escaped: bool
) -> None:
    members = tuple(json.dumps(event, ensure_ascii=escaped) for event in events)
    body = render_body(tracker, Request("r", user, session, ("e",) * len(events), members))
    given_user = {} if user is None else {"userId": user}
    theirs = judge().body(trackingId=tracker, sessionId=session, eventList=events, **given_user)
    assert json.loads(body) == theirs


# In.


def answer(status: int, headers: dict[str, str], body: bytes) -> Response:
    wire = {name.lower().encode(): value.encode() for name, value in headers.items()}
    return read_answer(HttpResponse(status, wire, body, keep_alive=True))


ERROR = {"x-amzn-ErrorType": "InvalidInputException"}


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (400, ERROR, b'{"message":"bad"}'),
        (400, ERROR, b'{"Message":"bad"}'),
        (400, ERROR, b""),
        (400, ERROR, b'{"__type":"Other","code":"Another"}'),
        (400, {"X-Amzn-Errortype": "ThrottlingException:http://internal.amazon.com/coral/"}, b"{}"),
        (400, {"x-amzn-ErrorType": "com.amazon.coral.service#UnrecognizedClientException"}, b"{}"),
        (400, {}, b'{"__type":"com.amazonaws#ThrottlingException","message":"slow down"}'),
        (400, {}, b'{"__type":"ThrottlingException:http://a"}'),
        (403, {}, b'{"code":"AccessDeniedException","message":"no"}'),
        (403, {}, b'{"Code":"AccessDeniedException"}'),
        (400, {}, b"{}"),
        (400, {}, b"<html>Bad</html>"),
        (500, {}, b""),
        (500, {}, b"{}"),
        (502, {}, b"<html>Bad Gateway</html>"),
        (502, {}, b"Bad Gateway"),
        (503, {"x-amzn-ErrorType": "ServiceUnavailable"}, b'{"message":null}'),
        (429, {}, b"<html>no</html>"),
        (413, {}, b""),
        (301, {"Location": "https://elsewhere"}, b""),
        (302, {"Location": "https://elsewhere/login"}, b""),
        (403, {}, b"<html>Forbidden</html>"),
        (405, {}, b"<html>Not Allowed</html>"),
        (407, {}, b"<html>who are you?</html>"),
    ],
)
def test_an_error_is_told_as_boto3_tells_it(status: int, headers: dict[str, str], body: bytes) -> None:
    told = answer(status, {**headers, "x-amzn-RequestId": "id-1"}, body)
    code, message = judge().error(status, headers, body)
    assert (told.httpStatus, told.errorCode, told.awsRequestId) == (status, code, "id-1")
    assert told.errorMessage == message


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(400, b"[1]", ResponseMeaning.STOP, id="a list"),
        pytest.param(400, b'"text"', ResponseMeaning.STOP, id="a string"),
        pytest.param(503, b"null", ResponseMeaning.FAULT, id="null"),
        pytest.param(400, b"\xff\xfe", ResponseMeaning.STOP, id="not UTF-8"),
        pytest.param(400, b'{"__type":5}', ResponseMeaning.STOP, id="a code that is a number"),
        pytest.param(429, b'{"message":{"a":1}}', ResponseMeaning.THROTTLED, id="a message that is an object"),
    ],
)
def test_an_error_that_boto3_chokes_on_still_has_its_status(
    status: int, body: bytes, expected: ResponseMeaning
) -> None:
    told = answer(status, {}, body)
    assert (told.httpStatus, told.errorCode, interpret_response(told)) == (status, str(status), expected)


def test_a_success_needs_the_services_own_id() -> None:
    assert answer(200, {"x-amzn-RequestId": "id-1"}, b"") == Response(200, awsRequestId="id-1")
    told = answer(200, {}, b"<html>Welcome to the wireless network</html>")
    assert (told.httpStatus, told.errorCode, interpret_response(told)) == (200, "NotTheService", ResponseMeaning.STOP)
    assert answer(200, {"x-amzn-RequestId": ""}, b"").errorCode == "NotTheService"
