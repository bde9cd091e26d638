"""The judgement of one request's body."""

import json
from collections.abc import Callable
from typing import Any, Final

from emulator.messages import Refusal, decode_json
from emulator.shapes import Findings, compile_put_events

MAX_EVENT_BYTES: Final = 10 * 1024
"""The service's quotas say that an event has 10 KB at most, and not how these are counted. Here they are the bytes of
the event's JSON in UTF-8, without spaces and with no more escapes than JSON needs."""

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
        # A body as small as one event may be holds none that is larger.
        if len(body) > MAX_EVENT_BYTES and not found.mistyped and not found.violated:
            _check_sizes(request["eventList"], found)
        if found.mistyped or found.violated:
            raise _refusal(found)
        decoded: dict[str, Any] = request
        return decoded

    return judge


def _check_sizes(events: list[dict[str, Any]], found: Findings) -> None:
    for number, event in enumerate(events, start=1):
        text = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        if len(text.encode("utf-8", "surrogatepass")) > MAX_EVENT_BYTES:
            found.violated.append(
                f"Value at 'eventList.{number}.member' failed to satisfy constraint: "
                f"Member must have at most {MAX_EVENT_BYTES} bytes of JSON"
            )


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
