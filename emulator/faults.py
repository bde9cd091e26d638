"""Injected faults and latency: their kinds, which call gets which, and what they do to the response."""

import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import repeat
from statistics import NormalDist
from typing import Any, Final

from emulator.messages import HttpReply, Refusal, refuse


class InjectedFault(StrEnum):
    """The faults of a call, by their names in the summary."""

    INTERNAL_ERROR = "internal-error"
    UNAVAILABLE = "service-unavailable"
    RESET_BEFORE = "reset-before"
    RESET_AFTER = "reset-after"
    HANG_BEFORE = "hang-before"
    HANG_AFTER = "hang-after"
    SLOW_BODY = "slow-body"
    POISON = "poison"
    REFUSE_ALL = "refuse-all"


# What happens to a call with an event of a given item, or of a given share of the events.
FAILURES = {
    "error": InjectedFault.INTERNAL_ERROR,
    "reset": InjectedFault.RESET_BEFORE,
    "hang": InjectedFault.HANG_BEFORE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The faults to inject. Rates are shares (0 to 1) of the admitted calls; a call gets at most one fault.

    Attributes:
        error_rate: answered with a 500 or, as often, a 503, nothing accepted.
        reset_before_rate: connection reset, nothing accepted.
        reset_after_rate: connection reset although the events were accepted.
        hang_before_rate: never answered, nothing accepted; the connection stays open until the client closes it.
        hang_after_rate: never answered although the events were accepted.
        slow_body_rate: accepted; the head of the answer comes at once, but its body byte by byte.
        slow_body_ms: milliseconds from the head of a slow answer to its end.
        poison_items: item ids; a call with an event of such an item is refused whole, without naming the event.
        poison_rate: share of the *events* that act like poison, chosen by their eventId (`emulator.is_poison`).
        fail_items: item ids; a call with an event of such an item never gets a final answer.
        fail_rate: share of the *events* that act like that, chosen by their eventId; other events than the poison.
        fail_by: what happens to those calls: `error` (500), `reset` or `hang`, always with nothing accepted.
        refuse_after: number of calls that the quota admits; each later call is refused as if its events were all
            poison. 0 refuses every call, None none.
        seed: makes faults and latencies repeatable: the same calls in the same order get the same ones.
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
            ValueError: if a rate is not within 0 and 1, the rates of calls together exceed 1, or the time is not valid.
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


# Upper ends of adjacent ranges from 0, each with its fault.
Ranges = tuple[tuple[float, InjectedFault], ...]


def lay_out(faults: Faults) -> Ranges:
    """Put the rates into adjacent ranges, so that each fault has exactly its share of [0, 1)."""
    ranges, edge = [], 0.0
    for fault, rate in _rates(faults):
        if rate:
            edge += rate
            ranges.append((edge, fault))
    return tuple(ranges)


def draw_fault(ranges: Ranges, draw: float) -> InjectedFault | None:
    """Return the fault for `draw`, uniform in [0, 1), or None."""
    for edge, fault in ranges:
        if draw < edge:
            return fault
    return None


def _rates(faults: Faults) -> tuple[tuple[InjectedFault, float], ...]:
    return (
        (InjectedFault.INTERNAL_ERROR, faults.error_rate / 2),
        (InjectedFault.UNAVAILABLE, faults.error_rate / 2),
        (InjectedFault.RESET_BEFORE, faults.reset_before_rate),
        (InjectedFault.RESET_AFTER, faults.reset_after_rate),
        (InjectedFault.HANG_BEFORE, faults.hang_before_rate),
        (InjectedFault.HANG_AFTER, faults.hang_after_rate),
        (InjectedFault.SLOW_BODY, faults.slow_body_rate),
    )


# Events that decide about their whole call: poison makes it refused, others leave it without an answer.


def is_poison(event_id: str, rate: float) -> bool:
    """Whether an event with this id is poison at a `poison_rate` of `rate` (0 to 1).

    The id alone decides, so an event is poison in every call, retry, run and emulator, with every seed. Poison
    at one rate is poison at every higher rate. The first 8 bytes of the id's SHA-256, as a big-endian
    number of 0 to 2**64 - 1, must be less than rate * 2**64.

    Examples:
        >>> sum(is_poison(f"event-{number}", 0.01) for number in range(10_000))
        84
    """
    return int.from_bytes(sha256(event_id.encode("utf-8", "surrogatepass")).digest()[:8]) < rate * 2**64


def is_poisoned(faults: Faults, events: Iterable[Mapping[str, Any]]) -> bool:
    """Whether one of the events (in the form of the API) is poison, by its itemId or by its eventId."""
    return _holds(events, faults.poison_items, faults.poison_rate)


def is_failing(faults: Faults, events: Iterable[Mapping[str, Any]]) -> bool:
    """Whether one of the events leaves its call without an answer, by its itemId or by its eventId."""
    return _holds(events, faults.fail_items, faults.fail_rate, salt="fail:")


def _holds(events: Iterable[Mapping[str, Any]], items: frozenset[str], rate: float, salt: str = "") -> bool:
    if not items and not rate:
        return False
    return any(_is_one(event, items, rate, salt) for event in events)


def _is_one(event: Mapping[str, Any], items: frozenset[str], rate: float, salt: str) -> bool:
    event_id = event.get("eventId")
    return event.get("itemId") in items or (event_id is not None and is_poison(salt + event_id, rate))


# The effect of a fault on the answer of a call.

_ERRORS: Final = {
    InjectedFault.INTERNAL_ERROR: Refusal("InternalServerException", "An internal error occurred."),
    InjectedFault.UNAVAILABLE: Refusal("ServiceUnavailable", "The service is unavailable."),
}
_DONE: Final = HttpReply()
BEFORE: Final = frozenset({*_ERRORS, InjectedFault.RESET_BEFORE, InjectedFault.HANG_BEFORE})
"""The faults before anything is accepted."""

# A real success has no body, so a client may not read one. If it does not read this body, the body comes before
# the next answer. If it does, it waits for the whole time: some bytes come, so no read times out.
_SLOW_BODY: Final = b"{}".rjust(20)


def inject(fault: InjectedFault | None, delay: float, slow_body_ms: float) -> HttpReply:
    """Return the answer to a valid call, with or without a fault.

    Args:
        fault: the fault of the call, or None.
        delay: seconds before the answer.
        slow_body_ms: milliseconds of the body, if that is the fault.
    """
    if fault is None:
        return HttpReply(delay=delay) if delay else _DONE
    if fault in _ERRORS:
        return refuse(_ERRORS[fault], delay)
    if fault is InjectedFault.SLOW_BODY:
        return HttpReply(body=_SLOW_BODY, delay=delay, drip=slow_body_ms / 1000.0)
    hangs = fault in {InjectedFault.HANG_BEFORE, InjectedFault.HANG_AFTER}
    return HttpReply(delay=delay, hang=hangs, reset=not hangs)


# The 99th percentile of a standard normal distribution.
_PERCENTILE_99 = NormalDist().inv_cdf(0.99)


def draw_latencies(median_ms: float, p99_ms: float | None, seed: int) -> Iterator[float]:
    """Return an endless series of latencies in seconds, the same for the same seed.

    With a 99th percentile they are log-normal, like most latencies of services: none is below 0, and a few
    are long. Without one, each is the median.

    Args:
        median_ms: the median in milliseconds, more than 0 if there is a 99th percentile.
        p99_ms: the 99th percentile in milliseconds, no less than the median, or None.
        seed: any number.

    Examples:
        >>> latencies = draw_latencies(20.0, 100.0, seed=0)
        >>> drawn = sorted(next(latencies) for _ in range(10_000))
        >>> round(drawn[5_000], 3), round(drawn[9_900], 1)
        (0.02, 0.1)
    """
    if p99_ms is None:
        return repeat(median_ms / 1000.0)
    # A separate random stream: with that of the faults, slow calls would be those that fail.
    dice = random.Random(f"latency {seed}")  # noqa: S311 - latencies must be repeatable
    return _draw_log_normal(dice, math.log(median_ms / 1000.0), math.log(p99_ms / median_ms) / _PERCENTILE_99)


def _draw_log_normal(dice: random.Random, mu: float, sigma: float) -> Iterator[float]:
    while True:
        yield math.exp(dice.gauss(mu, sigma))
