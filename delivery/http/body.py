"""The JSON of a call and of its answer."""

from __future__ import annotations

import json
from typing import Any, Final

from botocore.parsers import create_parser

from delivery.http.response_parser import HttpResponse
from delivery.model import Request, Response
from delivery.responses import NOT_THE_SERVICE
from delivery.text import sanitize

_REQUEST_ID: Final = b"x-amzn-requestid"
_PARSER: Final = create_parser("rest-json")
_NO_SHAPE: Final[Any] = None
"""The result of PutEvents, which is empty."""
_CODE_MAX: Final = 128
LONGEST_MESSAGE: Final = 4_096
_REQUEST_ID_MAX: Final = 128
"""Characters of the service's message that are kept. Its own messages are shorter."""
_quote: Final = json.JSONEncoder().encode


def render_body(trackingId: str, request: Request) -> bytes:
    """Return the JSON of a call. Events stay as they are; half a surrogate pair is escaped, as in boto3.

    Examples:
        >>> event = '{"eventId":"e1","eventType":"view","sentAt":1704067200.125}'
        >>> render_body("t", Request("r", None, "s", ("e1",), (event,)))
        b'{"trackingId":"t","sessionId":"s","eventList":[{"eventId":"e1","eventType":"view","sentAt":1704067200.125}]}'
    """
    user = "" if request.userId is None else f',"userId":{_quote(request.userId)}'
    ids = f'"trackingId":{_quote(trackingId)}{user},"sessionId":{_quote(request.sessionId)}'
    return f'{{{ids},"eventList":[{",".join(request.events)}]}}'.encode("utf-8", "backslashreplace")


def read_answer(answer: HttpResponse) -> Response:
    """Read the answer of the service. Its message can be stored, sent on and printed, whatever its bytes are.

    Examples:
        >>> read_answer(HttpResponse(400, {b"x-amzn-errortype": b"ThrottlingException:"}, b"{}", True)).errorCode
        'ThrottlingException'
    """
    request_id = sanitize(answer.headers.get(_REQUEST_ID, b"").decode("latin-1"), _REQUEST_ID_MAX) or None
    if answer.status >= 300:
        return Response(answer.status, *_read_error(answer), request_id)
    if request_id is None:  # a 200 of another server, e.g. the page of a proxy: it acknowledges nothing
        return Response(answer.status, NOT_THE_SERVICE, "the answer has no request id")
    return Response(answer.status, awsRequestId=request_id)


def local_fault(code: str, error: Exception) -> Response:
    """Say why a call got no answer of the service. boto3 may quote a setting, so any bytes can occur."""
    return Response(None, code, sanitize(str(error), LONGEST_MESSAGE))


def _read_error(answer: HttpResponse) -> tuple[str, str | None]:
    """Return boto3's code and message; the status is the code if the answer has none."""
    sound = answer.body.decode("utf-8", "replace").encode()
    # If the body cannot be read, a header may have the code.
    error = _parse_error(answer, sound) or _parse_error(answer, b"{}")
    code, message = error.get("Code"), error.get("Message")
    return (
        sanitize(code, _CODE_MAX) if code else str(answer.status),
        None if message is None else sanitize(message, LONGEST_MESSAGE),
    )


def _parse_error(answer: HttpResponse, body: bytes) -> dict[str, str]:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers.items()}
    told = {"status_code": answer.status, "headers": headers, "body": body, "context": {}}
    try:
        error = _PARSER.parse(told, _NO_SHAPE).get("Error", {})
        return {name: _as_text(error[name]) for name in ("Code", "Message") if error.get(name) is not None}
    except Exception:  # botocore fails in many ways on a body that is JSON but not an object
        return {}


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
