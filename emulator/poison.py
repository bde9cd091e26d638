"""Poison: events that get the whole call refused."""

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
    if not faults.poison_items and not faults.poison_rate:
        return False
    return any(_is_poison_event(faults, event) for event in events)


def _is_poison_event(faults: Faults, event: Mapping[str, Any]) -> bool:
    event_id = event.get("eventId")
    return event.get("itemId") in faults.poison_items or (
        event_id is not None and is_poison(event_id, faults.poison_rate)
    )
