"""Validates the body of a request with the shapes of botocore's service model, each compiled once."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.loaders import Loader

from emulator.messages import Refusal, decode_json

_SERVICE = "personalize-events"
_API_VERSION = "2018-03-22"

# The model's pattern backtracks in cubic time (0.8 s for 1,023 good characters and a bad one): one value
# would stop the whole server. This one matches the same strings in linear time.
_LINEAR = {r"^[\x20-\x7E]*[\x21-\x7E]+[\x20-\x7E]*$": r"\x20*[\x21-\x7E][\x20-\x7E]*"}

# By comparison: math.isfinite fails for a whole number beyond the range of a double. NaN is in no range.
_FLOAT_MOST = sys.float_info.max
_FLOAT_LEAST = -_FLOAT_MOST


@dataclass(slots=True)
class Findings:
    """The mistakes of a request, each with its place and never with a value.

    Attributes:
        mistyped: values with another JSON type than the model; the service cannot even read such a request.
        violated: values that can be read and break a constraint.
    """

    mistyped: list[str] = field(default_factory=list)
    violated: list[str] = field(default_factory=list)


# A check gets a value that is not null, the place of its parent (with a dot), its name there, the findings.
Check = Callable[[Any, str, str, Findings], None]
_Shape = Mapping[str, Any]
_Shapes = Mapping[str, _Shape]


def compile_put_events() -> Check:
    """Return the check of a PutEvents request with the model of the installed botocore.

    Lengths count Unicode code points. A null member is absent, and members unknown to the model are
    ignored, as in the service.
    """
    # Only botocore's own folder: a model in ~/.aws/models must not change the result.
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    model = loader.load_service_model(_SERVICE, "service-2", _API_VERSION)
    name = model["operations"]["PutEvents"]["input"]["shape"]
    return _compile(model["shapes"], {"shape": name})


def _compile(shapes: _Shapes, reference: _Shape) -> Check:
    """Compile a reference to a shape; the reference itself may have the jsonvalue trait."""
    shape = shapes[reference["shape"]]
    match shape["type"]:
        case "structure":
            return _structure(shapes, shape)
        case "list":
            return _list(shapes, shape)
        case "string":
            check = _string(shape)
            return _json_object(check) if reference.get("jsonvalue") else check
        case "timestamp":
            return _timestamp
        case "float":
            return _float
        case other:
            raise NotImplementedError(f"no check for shapes of type {other}")


def _structure(shapes: _Shapes, shape: _Shape) -> Check:
    required = frozenset(shape.get("required", ()))
    members = tuple(
        (name, name in required, _compile(shapes, reference)) for name, reference in shape["members"].items()
    )

    def check(value: Any, parent: str, name: str, found: Findings) -> None:
        if type(value) is not dict:
            _mistyped(found, parent, name, "an object")
            return
        place = f"{parent}{name}." if name else ""
        for member, is_required, check_member in members:
            item = value.get(member)
            if item is not None:
                check_member(item, place, member, found)
            elif is_required:
                _violated(found, place, member, "Member must not be null")

    return check


def _list(shapes: _Shapes, shape: _Shape) -> Check:
    check_member = _compile(shapes, shape["member"])
    least, most = _bounds(shape)

    def check(value: Any, parent: str, name: str, found: Findings) -> None:
        if type(value) is not list:
            _mistyped(found, parent, name, "a list")
            return
        if not least <= len(value) <= most:
            _out_of_bounds(found, parent, name, len(value), shape)
            value = value[:most]  # A list that is too long gets no more findings than the longest allowed list.
        for number, item in enumerate(value, start=1):
            if item is not None:
                check_member(item, f"{parent}{name}.{number}.", "member", found)
            else:
                _violated(found, f"{parent}{name}.{number}.", "member", "Member must not be null")

    return check


def _string(shape: _Shape) -> Check:
    least, most = _bounds(shape)
    pattern: str = shape.get("pattern", "")
    matches = re.compile(_LINEAR.get(pattern, pattern)).fullmatch if pattern else None

    def check(value: Any, parent: str, name: str, found: Findings) -> None:
        if type(value) is not str:
            _mistyped(found, parent, name, "a string")
            return
        if not least <= len(value) <= most:
            _out_of_bounds(found, parent, name, len(value), shape)
        if matches is not None and not matches(value):
            _violated(found, parent, name, f"Member must satisfy regular expression pattern: {pattern}")

    return check


def _bounds(shape: _Shape) -> tuple[int, int]:
    """Return the minimum and maximum number of characters of a text, or of members of a list."""
    return shape.get("min", 0), shape.get("max", sys.maxsize)


def _out_of_bounds(found: Findings, parent: str, name: str, length: int, shape: _Shape) -> None:
    least, most = _bounds(shape)
    constraint = f"less than or equal to {most}" if length > most else f"greater than or equal to {least}"
    _violated(found, parent, name, f"Member must have length {constraint}")


def _timestamp(value: Any, parent: str, name: str, found: Findings) -> None:
    """Check a rest-json timestamp: Unix time in seconds, as a number."""
    if type(value) is not int and type(value) is not float:
        _mistyped(found, parent, name, "a number")
    elif not _FLOAT_LEAST <= value <= _FLOAT_MOST:
        _violated(found, parent, name, "Member must be a finite number")


def _float(value: Any, parent: str, name: str, found: Findings) -> None:
    """Check a float. The protocol writes non-finite ones as strings; they cannot train a model."""
    if value in ("NaN", "Infinity", "-Infinity"):
        _violated(found, parent, name, "Member must be a finite number")
    else:
        _timestamp(value, parent, name, found)


def _json_object(check_string: Check) -> Check:
    def check(value: Any, parent: str, name: str, found: Findings) -> None:
        check_string(value, parent, name, found)
        if type(value) is str and not _is_json_object(value):
            _violated(found, parent, name, "Member must be the JSON text of an object")

    return check


def _is_json_object(text: str) -> bool:
    try:
        return type(decode_json(text)) is dict
    except ValueError:
        return False


def _mistyped(found: Findings, parent: str, name: str, wanted: str) -> None:
    place = f"Value at '{parent}{name}'" if name else "The body"
    found.mistyped.append(f"{place} must be {wanted}")


def _violated(found: Findings, parent: str, name: str, constraint: str) -> None:
    found.violated.append(f"Value at '{parent}{name}' failed to satisfy constraint: {constraint}")


MAX_EVENT_BYTES: Final = 10 * 1024
"""The quotas of the service limit an event to 10 KB, and do not say how to count. Here they are the bytes of
its JSON in UTF-8, without spaces and with no more escapes than JSON needs."""

Judge = Callable[[bytes], dict[str, Any]]


def load_judge() -> Judge:
    """Return a function from a request's body to the decoded request.

    It raises a Refusal for a body that the service would not accept:

    * SerializationException if it is not JSON, or a value has another JSON type than the model's: Smithy's
      malformed-request tests for the rest-json protocol ask that of a service;
    * InvalidInputException if it breaks a constraint; the message then lists all that are broken.
    """
    check = compile_put_events()

    def judge(body: bytes) -> dict[str, Any]:
        request = _decode(body)
        found = Findings()
        check(request, "", "", found)
        # A body of at most the size of one event has no event that is larger.
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
