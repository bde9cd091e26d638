"""No good day fails, and no day that loses more than the limits allow passes: thousands of days, judged by numbers."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations.checks import checks_on
from expectations.gate import Finding, facts_and_limits, findings_of, outcome
from expectations.interval import Interval
from expectations.observations import BatchNumbers, EarlierBatch, observe
from expectations.thresholds import Limit, Thresholds
from tests.expectations.shop_days import (
    Record,
    Shop,
    break_share,
    day_of,
    good_day,
    milliseconds_from_seconds,
    reckon,
    some_shop,
)

SHOPS, DAYS = 100, 20
DAY = day_of(0)
USUAL = Shop(2_000)


def judge(
    numbers: BatchNumbers,
    interval: Interval | None = DAY,
    earlier: Sequence[EarlierBatch] = (),
    *,
    allow_empty: bool = False,
) -> list[Finding]:
    """Judge a batch without Great Expectations, which agrees with this (test_gate) and takes a third of a second."""
    checks = checks_on(list(numbers.filled))
    observed = observe(numbers, interval, earlier, allow_empty=allow_empty)
    facts, limits = facts_and_limits(observed, numbers.sizes, Thresholds(), checks)
    broken = [limit for limit in limits if _is_broken(limit, facts[limit.column])]
    return findings_of(broken, observed, numbers.sizes, Thresholds(), checks)


def _is_broken(limit: Limit, value: float) -> bool:
    return value < limit.value if limit.key.endswith("below") else value > limit.value


def failures(findings: Sequence[Finding]) -> list[str]:
    return [finding.describe() for finding in findings if finding.level == "failed"]


def levels(findings: Sequence[Finding]) -> dict[str, str]:
    return {finding.check.name: finding.level for finding in findings if finding.level in ("warned", "failed")}


def remembered(numbers: BatchNumbers) -> EarlierBatch:
    return EarlierBatch(numbers.sizes["candidates"], numbers.sizes["records"], numbers.filtered, numbers.profile())


def surely(count: int, among: int) -> float:
    """The least share of which so many are no surprise to 99 %: by bisection of the score test itself."""
    z, seen = NormalDist().inv_cdf(0.995), count / among if among else 0.0
    low, high = 0.0, seen
    for _ in range(60):
        middle = (low + high) / 2
        far = (seen - middle) ** 2 * among > z * z * middle * (1 - middle)
        low, high = (middle, high) if far else (low, middle)
    return low


@pytest.mark.long
def test_two_thousand_days_of_ordinary_shops_of_which_none_fails() -> None:
    failed, sizes, gates = [], [], Counter[str]()
    for seed in range(SHOPS):
        shop, before = some_shop(seed), deque[EarlierBatch](maxlen=14)
        for number in range(DAYS):
            interval = day_of(number)
            numbers = reckon(shop, good_day(shop, number, seed), interval)
            findings = judge(numbers, interval, before)
            failed += [(seed, number, line) for line in failures(findings)]
            gates[outcome(findings)] += 1
            sizes.append(numbers.sizes["candidates"])
            before.append(remembered(numbers))
    assert failed == []
    assert len(sizes) == 2_000 and min(sizes) <= 25 and max(sizes) >= 1_900
    assert gates["passed"] > 1_000  # what always warns is read by nobody


# A day's size, its seed, and how much of it is broken.
SIZES = st.sampled_from([20, 60, 200, 700, 2_000])
SEEDS = st.integers(0, 10_000)
SHARES = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0])
SHOPS_OF = st.builds(
    Shop,
    SIZES,
    logins=st.sampled_from([0.0, 0.3]),
    pings=st.sampled_from([0.0, 0.5]),
    gives_ids=st.booleans(),
    gives_sessions=st.booleans(),
)
# By what breaks a day: what is lost, by the check that must tell, and the share of the candidates that may be.
BREAKS: dict[str, tuple[Record, str, float]] = {
    "no time": ({"at": None}, "sentAt_missing", 0.25),
    "renamed time": ({"at": ..., "time": 1}, "sentAt_missing", 0.25),
    "no type": ({"kind": ""}, "eventType_missing", 0.25),
    "nobody": ({"visitor": ..., "user": ..., "session": ...}, "identity_missing", 0.25),
    "constant id": ({"id": "constant"}, "largest_eventId", 0.25),
}


@settings(max_examples=150)
@given(shop=SHOPS_OF, seed=SEEDS, kind=st.sampled_from(sorted(BREAKS)), share=SHARES)
def test_what_loses_more_than_its_limit_fails_and_what_does_not_goes_by(
    shop: Shop, seed: int, kind: str, share: float
) -> None:
    change, check, limit = BREAKS[kind]
    numbers = reckon(shop, break_share(good_day(shop, 0, seed), share, **change), DAY)
    lost = numbers.counts.get(check, 0)
    findings = judge(numbers)
    told = levels(findings)
    assert (told.get(check) == "failed") == (surely(lost, numbers.sizes["candidates"]) > limit)
    if share == 1.0 and check != "largest_eventId":
        assert not numbers.sizes["events"] and outcome(findings) == "failed"
    if share == 0.0:
        assert failures(findings) == []


@settings(max_examples=60)
@given(shop=SHOPS_OF, seed=SEEDS, allow_empty=st.booleans())
def test_a_renamed_column_filters_all_and_fails(shop: Shop, seed: int, allow_empty: bool) -> None:
    sound = replace(shop, faults=0.0)
    numbers = reckon(sound, break_share(good_day(sound, 0, seed), 1.0, kind=..., action="view"), DAY)
    told = levels(judge(numbers))
    assert numbers.filtered == numbers.sizes["records"] and told["no_events"] == "failed"
    usual = EarlierBatch(1_000, 2_000, 1_000)
    assert outcome(judge(numbers, DAY, [usual] * 3, allow_empty=allow_empty)) == "failed" or (
        allow_empty and numbers.sizes["records"] < 700
    )


@settings(max_examples=60)
@given(
    shop=SHOPS_OF,
    seed=SEEDS,
    breaks=st.dictionaries(st.sampled_from(["kind", "at", "id", "visitor", "user", "sku"]), SHARES, min_size=1),
)
def test_however_a_day_is_broken_it_does_not_pass_without_an_event(
    shop: Shop, seed: int, breaks: dict[str, float]
) -> None:
    lines = good_day(shop, 0, seed)
    for name, share in breaks.items():
        lines = break_share(lines, share, **{name: ...})
    numbers = reckon(shop, lines, DAY)
    candidates, events = numbers.sizes["candidates"], numbers.sizes["events"]
    if not events or surely(candidates - events, candidates) > 0.9:
        assert outcome(judge(numbers)) == "failed"


def test_an_emptied_file_fails_unless_a_day_may_be_empty() -> None:
    numbers = reckon(USUAL, [], DAY)
    assert failures(judge(numbers)) == ["no_events: no record was read"]
    assert failures(judge(numbers, allow_empty=True)) == []


def test_what_may_be_empty_may_not_lose_all() -> None:
    usual = good_day(USUAL, 0, 1)
    renamed = reckon(USUAL, break_share(usual, 1.0, kind=...), DAY)
    assert levels(judge(renamed, allow_empty=True))["filtered"] == "warned"
    before = [remembered(reckon(USUAL, good_day(USUAL, number, 1), day_of(number))) for number in range(1, 5)]
    assert levels(judge(renamed, DAY, before, allow_empty=True))["kept_records"] == "failed"
    refused = reckon(USUAL, break_share(usual, 1.0, at=None), DAY)
    assert levels(judge(refused, allow_empty=True))["quarantined"] == "failed"


def test_a_constant_event_id_is_told_as_what_it_is() -> None:
    shop = Shop(2_000, pings=0.0, faults=0.0, gives_ids=True)
    lines = break_share(good_day(shop, 0, 1), 1.0, id="x")
    numbers = reckon(shop, lines, DAY)
    assert (numbers.sizes["candidates"], numbers.sizes["events"]) == (len(lines), 1)
    said = f"largest_eventId: one eventId holds {len(lines):,} of {len(lines):,} candidates (100 %), fails above 25 %"
    assert said in failures(judge(numbers))


@pytest.mark.parametrize(
    ("share", "size", "level"),
    [(0.3, 20, None), (0.6, 1_000, "warned"), (0.99, 1_000, "failed"), (1.0, 20, "warned")],
)
def test_one_visitor(share: float, size: int, level: str | None) -> None:
    shop = Shop(size, pings=0.0, faults=0.0)
    lines = break_share(good_day(shop, 0, 5)[:size], share, visitor="robot")
    assert levels(judge(reckon(shop, lines, DAY))).get("largest_visitorId") == level


def test_the_same_file_as_the_next_day_fails() -> None:
    numbers = reckon(USUAL, good_day(USUAL, 0, 1), DAY)
    count = numbers.sizes["events"]
    again = BatchNumbers(
        sizes={"records": count, "candidates": count, "events": 0, "sessions": 0},
        filtered=0,
        counts={"duplicates": count, "quarantined": 0},
        filled={},
        event_types=0,
        property_keys=2,
        single_event_sessions=0,
        sessions_given=False,
        earliest=None,
        latest=None,
    )
    told = levels(judge(again, allow_empty=True))
    assert told["duplicates"] == "failed"


@pytest.mark.parametrize("column", ["user", "sku", "session", "id", "device", "price"])
def test_a_column_that_is_misspelt_fails(column: str) -> None:
    shop = Shop(2_000, gives_ids=True, gives_sessions=True)
    fields = {"user": "userId", "sku": "itemId", "session": "sessionId", "id": "eventId", "price": "eventValue"}
    field = fields.get(column, f"properties.{column}")
    numbers = reckon(shop, break_share(good_day(shop, 0, 1), 1.0, **{column: ...}), DAY)
    assert levels(judge(numbers))[f"empty.{field}"] == "failed"


def test_a_column_that_has_all_but_gone_fails_against_the_days_before_in_a_small_batch_too() -> None:
    shop = Shop(300, logins=0.9)
    before = [remembered(reckon(shop, good_day(shop, number, 1), day_of(number))) for number in range(1, 6)]
    numbers = reckon(shop, break_share(good_day(shop, 0, 1), 0.99, user=...), DAY)
    told = levels(judge(numbers, DAY, before))
    assert told["filled.userId"] == "failed" and "empty.userId" not in told


def test_a_field_that_is_rare_may_lack_where_the_days_before_knew_it() -> None:
    shop = Shop(2_000)
    before = [EarlierBatch(2_000, 2_500, 500, {"filled.properties.coupon": rate}) for rate in (0.0, 0.001, 0.0)]
    numbers = reckon(shop, break_share(good_day(shop, 0, 1), 1.0, coupon=...), DAY)
    assert levels(judge(numbers))["empty.properties.coupon"] == "failed"
    assert "empty.properties.coupon" not in levels(judge(numbers, DAY, before))


@pytest.mark.parametrize("size", [20, 200, 2_000])
def test_seconds_read_as_milliseconds_fail_in_an_interval_and_warn_without(size: int) -> None:
    shop = Shop(size)
    numbers = reckon(shop, milliseconds_from_seconds(good_day(shop, 0, 1)), DAY)
    assert levels(judge(numbers))["sentAt_outside_interval"] == "failed"
    assert levels(judge(numbers, None))["sentAt_before_2010"] == "warned"


def test_times_of_two_units_warn_without_an_interval() -> None:
    lines = good_day(USUAL, 0, 1)
    numbers = reckon(USUAL, [*milliseconds_from_seconds(lines[:20]), *lines[20:]], DAY)
    told = levels(judge(numbers, None))
    assert told["sentAt_span"] == "warned" and "sentAt_before_2010" not in told


def test_an_id_of_messages_as_the_session_fails_and_half_of_one_page_does_not() -> None:
    shop = Shop(2_000, gives_sessions=True, pages=1.5)
    lines = good_day(shop, 0, 1)
    assert "single_event_sessions" not in levels(judge(reckon(shop, lines, DAY)))
    by_message = [
        {**line, "session": line["id"]} if isinstance(line, dict) and "id" in line else line for line in lines
    ]
    assert levels(judge(reckon(shop, by_message, DAY)))["single_event_sessions"] == "failed"


def test_a_log_that_shrank_to_next_to_nothing_fails_and_a_sunday_does_not() -> None:
    before = [EarlierBatch(2_000, 2_500, 500)] * 3
    sunday = reckon(Shop(40), good_day(Shop(40), 5, 1), day_of(5))
    assert failures(judge(sunday, day_of(5), before)) == []
    few = reckon(USUAL, good_day(USUAL, 0, 1)[:5], DAY)
    assert levels(judge(few, DAY, before))["records"] == "failed"
