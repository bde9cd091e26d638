"""What a call says and what its answer says, in JSON."""

from __future__ import annotations

import json
from typing import Any, Final

from botocore.parsers import create_parser

from delivery.http.answer import HttpAnswer
from delivery.http.faults import NOT_THE_SERVICE
from delivery.records import Answer, Request

_REQUEST_ID: Final = b"x-amzn-requestid"
_PARSER: Final = create_parser("rest-json")
_NO_SHAPE: Final[Any] = None
"""Of PutEvents' result: there is none."""
_quote: Final = json.JSONEncoder().encode


def render_body(trackingId: str, request: Request) -> bytes:
    """Return the JSON of a call. Events are taken as they are; half a surrogate pair is escaped, as boto3 does it.

    Examples:
        >>> event = '{"eventId":"e1","eventType":"view","sentAt":1704067200.125}'
        >>> render_body("t", Request("r", None, "s", ("e1",), (event,)))
        b'{"trackingId":"t","sessionId":"s","eventList":[{"eventId":"e1","eventType":"view","sentAt":1704067200.125}]}'
    """
    user = "" if request.userId is None else f',"userId":{_quote(request.userId)}'
    ids = f'"trackingId":{_quote(trackingId)}{user},"sessionId":{_quote(request.sessionId)}'
    return f'{{{ids},"eventList":[{",".join(request.events)}]}}'.encode("utf-8", "backslashreplace")


def read_answer(answer: HttpAnswer) -> Answer:
    """Say what the service said.

    Examples:
        >>> read_answer(HttpAnswer(400, {b"x-amzn-errortype": b"ThrottlingException:"}, b"{}", True)).errorCode
        'ThrottlingException'
    """
    request_id = answer.headers.get(_REQUEST_ID, b"").decode("latin-1") or None
    if answer.status >= 300:
        return Answer(answer.status, *_read_error(answer), request_id)
    if request_id is None:  # some other server's 200, e.g. a proxy's page: it acknowledges nothing
        return Answer(answer.status, NOT_THE_SERVICE, "the answer bears no request id")
    return Answer(answer.status, awsRequestId=request_id)


def _read_error(answer: HttpAnswer) -> tuple[str, str | None]:
    """Return boto3's code and message; the status for a code where the answer names none."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers.items()}
    told = {"status_code": answer.status, "headers": headers, "body": answer.body, "context": {}}
    try:
        error = _PARSER.parse(told, _NO_SHAPE).get("Error", {})
    except Exception:  # botocore chokes on a body that is JSON but no object, in many ways
        error = {}
    message = error.get("Message")
    return str(error.get("Code") or answer.status), None if message is None else str(message)
