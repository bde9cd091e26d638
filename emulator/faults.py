"""Faults on purpose: which there are, and which one a call meets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """What can go wrong with a call, by the name that the summary counts it under."""

    INTERNAL_ERROR = "internal-error"
    UNAVAILABLE = "service-unavailable"
    RESET_BEFORE = "reset-before"
    RESET_AFTER = "reset-after"
    POISON = "poison"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults to inject. Rates are shares (0 to 1) of the admitted calls; a call meets one fault at most.

    Attributes:
        error_rate: answered with a 500 or, as often, a 503, nothing accepted.
        reset_before_rate: connection reset, nothing accepted.
        reset_after_rate: connection reset although the events were accepted.
        poison_items: item ids; a call with an event of such an item is refused whole, not saying which event.
        seed: makes the run of faults repeatable: the same calls in the same order meet the same faults.
    """

    error_rate: float = 0.0
    reset_before_rate: float = 0.0
    reset_after_rate: float = 0.0
    poison_items: frozenset[str] = frozenset()
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the rates.

        Raises:
            ValueError: if a rate is not within 0 and 1, or all together pass 1.
        """
        rates = (self.error_rate, self.reset_before_rate, self.reset_after_rate)
        if not all(0.0 <= rate <= 1.0 for rate in rates):
            raise ValueError("fault rates must be from 0 to 1")
        if sum(rates) > 1.0:
            raise ValueError("fault rates must not add up to more than 1")


def draw_fault(faults: Faults, draw: float) -> Fault | None:
    """Return the fault that `draw`, uniform in [0, 1), falls on, or None.

    The rates lie end to end from 0 on, so each fault has exactly its rate and none hides another.
    """
    edge = 0.0
    for fault, rate in _rates(faults):
        edge += rate
        if draw < edge:
            return fault
    return None


def is_poisoned(faults: Faults, events: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether one of the events (as the API spells them) is of a poison item."""
    poison = faults.poison_items
    return bool(poison) and any(event.get("itemId") in poison for event in events)


def _rates(faults: Faults) -> tuple[tuple[Fault, float], ...]:
    return (
        (Fault.INTERNAL_ERROR, faults.error_rate / 2),
        (Fault.UNAVAILABLE, faults.error_rate / 2),
        (Fault.RESET_BEFORE, faults.reset_before_rate),
        (Fault.RESET_AFTER, faults.reset_after_rate),
    )
