"""The judgement of one request's body."""

from collections.abc import Callable
from typing import Any

from emulator.refusal import Refusal
from emulator.shapes import Findings, compile_put_events
from emulator.strictjson import decode_json

Judge = Callable[[bytes], dict[str, Any]]


def load_judge() -> Judge:
    """Return a function from a request's body to the decoded request.

    It raises a Refusal for a body that the service would not take:

    * SerializationException if it is not JSON, or a value has another JSON type than the model's: Smithy's
      malformed-request tests for the rest-json protocol ask that of a service;
    * InvalidInputException if it breaks a constraint; the message then lists all that are broken.
    """
    check = compile_put_events()

    def judge(body: bytes) -> dict[str, Any]:
        request = _decode(body)
        found = Findings()
        check(request, "", "", found)
        if found.mistyped or found.violated:
            raise _refusal(found)
        decoded: dict[str, Any] = request
        return decoded

    return judge


def _decode(body: bytes) -> Any:
    try:
        return decode_json(body)
    except ValueError:
        # Not chained: the decoder's message quotes the text.
        raise Refusal("SerializationException", "The body is not valid JSON") from None


def _refusal(found: Findings) -> Refusal:
    if found.mistyped:
        return Refusal("SerializationException", "; ".join(found.mistyped))
    count = len(found.violated)
    plural = "" if count == 1 else "s"
    return Refusal("InvalidInputException", f"{count} validation error{plural} detected: {'; '.join(found.violated)}")
