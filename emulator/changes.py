"""What can be changed about an emulator while it runs, as it travels over HTTP."""

from typing import Any

from emulator.settings import Settings
from emulator.strictjson import decode_json


def read_changes(body: bytes) -> dict[str, Any]:
    """Return the changed fields of Settings, by their names there.

    Raises:
        ValueError: if the body is no JSON object of `quota` and `otherRate`, or one of them is of a wrong type.

    Examples:
        >>> read_changes(b'{"quota": 300, "otherRate": 100.5}')
        {'quota': 300, 'other_rate': 100.5}
    """
    given = _decode(body)
    if not isinstance(given, dict) or not given.keys() <= {"quota", "otherRate"}:
        raise ValueError("the body must be a JSON object with quota, otherRate or both")
    # By type, since True and False are ints to isinstance.
    if type(given.get("quota", 0)) is not int:
        raise ValueError("quota must be a whole number")
    if type(given.get("otherRate", 0)) not in (int, float):
        raise ValueError("otherRate must be a number")
    names = {"quota": "quota", "otherRate": "other_rate"}
    return {names[name]: value for name, value in given.items()}


def tell_changeable(settings: Settings) -> dict[str, Any]:
    """Return what can be changed as it stands, by the names used over HTTP."""
    return {"quota": settings.quota, "otherRate": settings.other_rate}


def _decode(body: bytes) -> Any:
    try:
        return decode_json(body)
    except ValueError:
        return None
