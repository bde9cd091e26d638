"""Turns the counts of a batch into one observation for each check, also compared with earlier batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import sqrt
from statistics import median
from typing import Final

from expectations.checks import CANDIDATES, EMPTY, EVENTS, FILLED, RECORDS
from expectations.interval import Interval
from expectations.thresholds import LEAST_HISTORY

Z: Final = 2.5758293035489004
"""The two-sided 99 % quantile of the normal distribution."""


def lower_bound(count: int, among: int) -> float:
    """Find the lower bound of the true share, 0 to 1; 0 if nothing was counted.

    Examples:
        >>> [round(lower_bound(*seen), 3) for seen in ((10, 10), (3, 5), (1_000, 1_000), (0, 5), (0, 0))]
        [0.601, 0.169, 0.993, 0.0, 0.0]
    """
    if count <= 0 or among <= 0:
        return 0.0
    centre, reach = _wilson_interval(count / among, among)
    return max(centre - reach, 0.0)


def upper_bound(count: int, among: int) -> float:
    """Find the upper bound of the true share, 0 to 1; 1 if there was nothing to count.

    Examples:
        >>> [round(upper_bound(*seen), 3) for seen in ((0, 10), (2, 5), (0, 1_000), (5, 5), (0, 0))]
        [0.399, 0.831, 0.007, 1.0, 1.0]
    """
    return 1.0 - lower_bound(among - count, among) if among > 0 else 1.0


def _wilson_interval(share: float, among: int) -> tuple[float, float]:
    """Give the centre of the Wilson interval, and its half width."""
    weight = Z * Z / among
    spread = sqrt(share * (1 - share) / among + weight / (4 * among))
    return (share + weight / 2) / (1 + weight), Z * spread / (1 + weight)


LEAST_MEDIAN: Final = 100
"""Records or candidates: below this median, numbers vary too much for a comparison."""
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one check found in a batch.

    Attributes:
        value: violations, or a measure; None if it could not be computed.
        note: explains the value.
        held: for a measure: the bound that limits apply to, because the value itself is uncertain; None for the value.
    """

    value: float | None
    note: str = ""
    held: float | None = None


@dataclass(frozen=True, slots=True)
class BatchNumbers:
    """The counts of a whole batch.

    Attributes:
        sizes: how many `records`, `candidates`, `events` and `sessions` it has; no `records` if that is unknown.
        filtered: records that are not interactions.
        counts: violations of the checks that only count, by the check's name.
        filled: events that have a field, for each field that the mapping fills, by its name.
        event_types: number of different event types.
        property_keys: number of property keys in the mapping.
        single_event_sessions: sessions of one event.
        sessions_given: whether the mapping gives the sessionId.
        earliest: the first event's time, aware; None where there are no events.
        latest: the last event's.
    """

    sizes: Mapping[str, int]
    filtered: int
    counts: Mapping[str, int]
    filled: Mapping[str, int]
    event_types: int
    property_keys: int
    single_event_sessions: int
    sessions_given: bool
    earliest: datetime | None
    latest: datetime | None

    def profile(self) -> dict[str, float]:
        """Give the numbers whose medians later batches use: for each field, the share of events that have it."""
        events = self.sizes[EVENTS]
        return {f"{FILLED}.{name}": count / events for name, count in self.filled.items()} if events else {}


@dataclass(frozen=True, slots=True)
class EarlierBatch:
    """The numbers of an earlier batch that a batch is compared with.

    Attributes:
        candidates: all candidates of its records.
        records: records read; None if unknown.
        filtered: filtered records.
        profile: from `BatchNumbers.profile`.
    """

    candidates: int
    records: int | None = None
    filtered: int = 0
    profile: Mapping[str, float] = field(default_factory=dict)

    @property
    def kept(self) -> float | None:
        """The share of its records that are not filtered; None if unknown."""
        return 1 - self.filtered / self.records if self.records else None


def observe(
    numbers: BatchNumbers, interval: Interval | None, earlier: Sequence[EarlierBatch], *, allow_empty: bool
) -> dict[str, Observation]:
    """Make the observation of each check.

    Args:
        numbers: of the batch.
        interval: the batch's; None if unknown.
        earlier: the batches before it.
        allow_empty: whether the batch may have no events.

    Returns:
        By the check's name; a missing check was not violated.
    """
    sizes, types, keys = numbers.sizes, numbers.event_types, numbers.property_keys
    observed = {name: Observation(count) for name, count in numbers.counts.items()}
    observed |= {
        "no_events": Observation(int(not sizes[EVENTS] and not allow_empty), _describe_lost_records(numbers)),
        "batch_size": _compare_with_median(sizes[CANDIDATES], [one.candidates for one in earlier]),
        "event_types_and_metadata": Observation(types + keys, f"{types:,} event types, {keys} property keys"),
        "metadata_columns": Observation(keys, f"{keys} property keys in the mapping"),
    }
    for field_name, count in numbers.filled.items():
        observed |= _observe_field(field_name, count, sizes[EVENTS], earlier)
    return (
        observed | _observe_records(numbers, earlier) | _observe_sessions(numbers) | _observe_times(numbers, interval)
    )


def _describe_lost_records(numbers: BatchNumbers) -> str:
    """Describe the fates of the records, if none became an event."""
    if numbers.sizes[EVENTS]:
        return ""
    records = numbers.sizes.get(RECORDS)
    if records == 0:
        return "no record was read"
    counts = {
        "filtered": numbers.filtered,
        "quarantined": numbers.counts.get("quarantined", 0),
        "duplicates": numbers.counts.get("duplicates", 0),
    }
    fates = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return f"none of {'the' if records is None else f'{records:,}'} records became an event: {fates}"


def _observe_records(numbers: BatchNumbers, earlier: Sequence[EarlierBatch]) -> dict[str, Observation]:
    records = numbers.sizes.get(RECORDS)
    if records is None:
        unknown = Observation(None, "an older version built the batch, and did not keep how many records there were")
        return dict.fromkeys(("records", "filtered", "kept_records"), unknown)
    known = [one for one in earlier if one.records is not None]
    return {
        "records": _compare_with_median(records, [one.records or 0 for one in known]),
        "filtered": Observation(numbers.filtered),
        "kept_records": _observe_kept_records(numbers, records, [one for one in known if one.records]),
    }


def _observe_kept_records(numbers: BatchNumbers, records: int, earlier: Sequence[EarlierBatch]) -> Observation:
    """Compare the share of kept records, by its upper bound, and the number of candidates with their medians."""
    usual = _find_median([one.kept or 0.0 for one in earlier], 0.0)
    candidates = _find_median([one.candidates for one in earlier], LEAST_MEDIAN)
    if isinstance(usual, Observation):
        return usual
    if isinstance(candidates, Observation):
        return candidates
    if not records:
        return Observation(None, "no record was read")
    kept = records - numbers.filtered
    number = numbers.sizes[CANDIDATES] / candidates
    note = f"{kept:,} of {records:,} records kept, against a median of {usual:.4g} of them"
    held = max(upper_bound(kept, records) / usual, number)
    return Observation(max(kept / records / usual, number), note, held)


def _observe_sessions(numbers: BatchNumbers) -> dict[str, Observation]:
    given, cut = "single_event_sessions", "single_event_visits"
    seen = Observation(numbers.single_event_sessions)
    if numbers.sessions_given:
        return {given: seen, cut: Observation(None, "the mapping gives the sessionId")}
    return {given: Observation(None, "the mapping gives no sessionId"), cut: seen}


def _observe_times(numbers: BatchNumbers, interval: Interval | None) -> dict[str, Observation]:
    if interval is not None:
        return dict.fromkeys(("sentAt_before_2010", "sentAt_span"), Observation(None, "the batch has an interval"))
    outside = {"sentAt_outside_interval": Observation(None, "neither --interval nor the batch's label gives one")}
    if numbers.earliest is None or numbers.latest is None:
        return outside
    days = (numbers.latest - numbers.earliest) / _DAY
    return outside | {
        "sentAt_span": Observation(days, f"days, from {numbers.earliest:%Y-%m-%d} to {numbers.latest:%Y-%m-%d}")
    }


def _observe_field(name: str, count: int, events: int, earlier: Sequence[EarlierBatch]) -> dict[str, Observation]:
    key = f"{FILLED}.{name}"
    rates = [one.profile[key] for one in earlier if key in one.profile]
    share = f"{count:,} of {events:,} events have it"
    if not events:
        nothing = Observation(None, "there are no events")
        return {f"{EMPTY}.{name}": nothing, key: nothing}
    empty = Observation(0, share) if count else Observation(events)
    if not count and max(rates, default=0.0) > 0:
        # A field that earlier batches have is not misspelt. The other check finds whether it has become rare.
        empty = Observation(None, f"a batch before has it, so {key} judges this one")
    usual = _find_median(rates, 0.0)
    if isinstance(usual, Observation):
        return {f"{EMPTY}.{name}": empty, key: usual}
    note = f"{share}, against a median share of {usual:.4g}"
    return {
        f"{EMPTY}.{name}": empty,
        key: Observation(count / events / usual, note, upper_bound(count, events) / usual),
    }


def _compare_with_median(count: int, before: Sequence[int]) -> Observation:
    usual = _find_median(before, LEAST_MEDIAN)
    if isinstance(usual, Observation):
        return usual
    return Observation(count / usual, f"{count:,} against a median of {usual:,.0f}")


def _find_median(values: Sequence[float], least: float) -> float | Observation:
    """Find the median of earlier batches' numbers, or observe why there is no useful one."""
    if len(values) < LEAST_HISTORY:
        return Observation(None, f"{len(values)} batches before it; a median needs {LEAST_HISTORY}")
    middle = median(values)
    if middle < least or not middle:
        return Observation(
            None, f"the median of the {len(values)} batches before it is {middle:,.4g}: too little to tell"
        )
    return middle
