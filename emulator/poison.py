"""Events that decide what becomes of their whole call: poison gets it refused, others never get an answer."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from emulator.faults import Faults


def is_poison(event_id: str, rate: float) -> bool:
    """Tell whether an event of this id is poison at a `poison_rate` of `rate` (0 to 1).

    The id alone decides, so an event is poison in every call, retry, run and emulator, whatever the seed; and
    what is poison at one rate is so at every higher one. The first 8 bytes of the id's SHA-256, as a big-endian
    number of 0 to 2**64 - 1, must be less than rate * 2**64.

    Examples:
        >>> sum(is_poison(f"event-{number}", 0.01) for number in range(10_000))
        84
    """
    return int.from_bytes(sha256(event_id.encode("utf-8", "surrogatepass")).digest()[:8]) < rate * 2**64


def is_poisoned(faults: Faults, events: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether one of the events (as the API spells them) is poison, by its itemId or by its eventId."""
    return _holds(events, faults.poison_items, faults.poison_rate)


def is_failing(faults: Faults, events: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether one of the events keeps its call from ever being answered, by its itemId or by its eventId."""
    return _holds(events, faults.fail_items, faults.fail_rate, salt="fail:")


def _holds(events: Iterable[Mapping[str, Any]], items: frozenset[str], rate: float, salt: str = "") -> bool:
    if not items and not rate:
        return False
    return any(_is_one(event, items, rate, salt) for event in events)


def _is_one(event: Mapping[str, Any], items: frozenset[str], rate: float, salt: str) -> bool:
    event_id = event.get("eventId")
    return event.get("itemId") in items or (event_id is not None and is_poison(salt + event_id, rate))
