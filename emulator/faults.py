"""Faults on purpose: which there are, and which one a call meets."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """What can go wrong with a call, by the name that the summary counts it under."""

    INTERNAL_ERROR = "internal-error"
    UNAVAILABLE = "service-unavailable"
    RESET_BEFORE = "reset-before"
    RESET_AFTER = "reset-after"
    HANG_BEFORE = "hang-before"
    HANG_AFTER = "hang-after"
    SLOW_BODY = "slow-body"
    POISON = "poison"
    REFUSE_ALL = "refuse-all"


# What becomes of a call that holds an event of a given item, or of a given share of the events.
FAILURES = {"error": Fault.INTERNAL_ERROR, "reset": Fault.RESET_BEFORE, "hang": Fault.HANG_BEFORE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults to inject. Rates are shares (0 to 1) of the admitted calls; a call meets one fault at most.

    Attributes:
        error_rate: answered with a 500 or, as often, a 503, nothing accepted.
        reset_before_rate: connection reset, nothing accepted.
        reset_after_rate: connection reset although the events were accepted.
        hang_before_rate: never answered, nothing accepted; the connection stays open until the client closes it.
        hang_after_rate: never answered although the events were accepted.
        slow_body_rate: accepted, and the answer's head comes at once, but its body byte by byte.
        slow_body_ms: milliseconds from a slow answer's head to its end.
        poison_items: item ids; a call with an event of such an item is refused whole, not saying which event.
        poison_rate: share of the *events* that are as poison, told by their eventId (`emulator.is_poison`).
        fail_items: item ids; a call with an event of such an item never gets an answer that ends it.
        fail_rate: share of the *events* that do the same to their calls, told by their eventId; others than the poison.
        fail_by: what becomes of those calls: `error` (500), `reset` or `hang`, always with nothing accepted.
        refuse_after: calls that came as far as the quota, after which each is refused as if its events were all poison;
            0 refuses every call, None none.
        seed: makes the run of faults repeatable: the same calls in the same order meet the same faults, and
            the same latencies.
    """

    error_rate: float = 0.0
    reset_before_rate: float = 0.0
    reset_after_rate: float = 0.0
    hang_before_rate: float = 0.0
    hang_after_rate: float = 0.0
    slow_body_rate: float = 0.0
    slow_body_ms: float = 10_000.0
    poison_items: frozenset[str] = frozenset()
    poison_rate: float = 0.0
    fail_items: frozenset[str] = frozenset()
    fail_rate: float = 0.0
    fail_by: str = "error"
    refuse_after: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the rates and the time.

        Raises:
            ValueError: if a rate is not within 0 and 1, those of calls together pass 1, or the time is not one.
        """
        rates = [rate for _, rate in _rates(self)]
        if not all(0.0 <= rate <= 1.0 for rate in (*rates, self.error_rate, self.poison_rate, self.fail_rate)):
            raise ValueError("fault rates must be from 0 to 1")
        if math.fsum(rates) > 1.0:
            raise ValueError("fault rates must not add up to more than 1 (poison apart, which is a share of events)")
        if self.fail_by not in FAILURES:
            raise ValueError(f"fail-by must be one of {', '.join(FAILURES)}")
        if self.refuse_after is not None and self.refuse_after < 0:
            raise ValueError("refuse-after must be 0 calls or more")
        if not 0.0 <= self.slow_body_ms < math.inf:
            raise ValueError("a slow body must take 0 ms or more")


# Upper edges of ranges that lie end to end from 0 on, each with its fault.
Ranges = tuple[tuple[float, Fault], ...]


def lay_out(faults: Faults) -> Ranges:
    """Lay the rates end to end, so that each fault has exactly its share of [0, 1) and none hides another."""
    ranges, edge = [], 0.0
    for fault, rate in _rates(faults):
        if rate:
            edge += rate
            ranges.append((edge, fault))
    return tuple(ranges)


def draw_fault(ranges: Ranges, draw: float) -> Fault | None:
    """Return the fault that `draw`, uniform in [0, 1), falls on, or None."""
    for edge, fault in ranges:
        if draw < edge:
            return fault
    return None


def _rates(faults: Faults) -> tuple[tuple[Fault, float], ...]:
    return (
        (Fault.INTERNAL_ERROR, faults.error_rate / 2),
        (Fault.UNAVAILABLE, faults.error_rate / 2),
        (Fault.RESET_BEFORE, faults.reset_before_rate),
        (Fault.RESET_AFTER, faults.reset_after_rate),
        (Fault.HANG_BEFORE, faults.hang_before_rate),
        (Fault.HANG_AFTER, faults.hang_after_rate),
        (Fault.SLOW_BODY, faults.slow_body_rate),
    )
