"""What checks see of a batch beside the batches before it, against figures reckoned by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from expectations.interval import Interval
from expectations.observations import BatchNumbers, EarlierBatch, Observation, observe

DAY = datetime(2024, 1, 2, tzinfo=UTC)
NUMBERS = BatchNumbers(
    sizes={"records": 1_000, "candidates": 800, "events": 600, "sessions": 200},
    filtered=200,
    counts={"quarantined": 100, "duplicates": 100},
    filled={"userId": 150, "properties.device": 0},
    event_types=3,
    property_keys=1,
    single_event_sessions=80,
    sessions_given=False,
    earliest=DAY,
    latest=DAY + timedelta(hours=36),
)
BEFORE = [EarlierBatch(400, 500, 100, {"filled.userId": rate}) for rate in (0.5, 0.25, 0.4)]


def seen(numbers: BatchNumbers = NUMBERS, before: list[EarlierBatch] = BEFORE) -> dict[str, Observation]:
    return observe(numbers, None, before, allow_empty=False)


def test_a_batch_beside_the_median_of_those_before() -> None:
    found = seen()
    assert found["records"] == Observation(2.0, "1,000 against a median of 500")
    assert found["batch_size"] == Observation(2.0, "800 against a median of 400")
    assert found["filled.userId"].value == 0.25 / 0.4
    assert found["filled.userId"].note == "150 of 600 events have it, against a median share of 0.4"
    assert found["filled.userId"].held == pytest.approx(0.2980 / 0.4, abs=0.001)  # 29.8 % at the most
    assert found["kept_records"].value == 2.0  # as many are kept as before, and candidates are twice as many


@pytest.mark.parametrize(
    ("before", "note"),
    [
        (BEFORE[:2], "2 batches before it; a median needs 3"),
        ([EarlierBatch(99, 99)] * 3, "the median of the 3 batches before it is 99: too little to tell"),
    ],
)
def test_what_a_median_cannot_tell(before: list[EarlierBatch], note: str) -> None:
    assert {seen(before=before)[name].note for name in ("records", "batch_size", "kept_records")} == {note}


def test_a_field_that_no_event_has_is_told_unless_batches_before_had_it() -> None:
    found = seen()
    assert found["empty.properties.device"] == Observation(600)
    assert found["empty.userId"] == Observation(0, "150 of 600 events have it")
    known = [EarlierBatch(400, 500, 100, {"filled.properties.device": 0.001}), *BEFORE]
    assert seen(before=known)["empty.properties.device"] == Observation(
        None, "a batch before has it, so filled.properties.device judges this one"
    )
    never = [EarlierBatch(400, 500, 100, {"filled.properties.device": 0.0})] * 3
    assert seen(before=never)["empty.properties.device"] == Observation(600)
    assert seen(before=never)["filled.properties.device"].value is None


def test_records_fall_only_where_the_candidates_do_too() -> None:
    flood = replace(NUMBERS, sizes={**NUMBERS.sizes, "records": 100_000}, filtered=99_200)
    assert seen(flood)["kept_records"].value == 2.0
    lost = replace(flood, sizes={**flood.sizes, "candidates": 4}, filtered=99_996)
    assert seen(lost)["kept_records"].value == pytest.approx(4 / 400)


def test_a_batch_whose_records_nobody_counted_is_held_against_nothing() -> None:
    sizes = {name: size for name, size in NUMBERS.sizes.items() if name != "records"}
    found = seen(replace(NUMBERS, sizes=sizes))
    assert [found[name].value for name in ("records", "filtered", "kept_records")] == [None] * 3
    uncounted = [replace(one, records=None) for one in BEFORE]
    assert seen(before=uncounted)["records"].value is None and seen(before=uncounted)["batch_size"].value == 2.0


def test_what_became_of_records_of_which_none_is_an_event() -> None:
    none = replace(NUMBERS, sizes={**NUMBERS.sizes, "events": 0, "candidates": 200}, filtered=800)
    words = "none of 1,000 records became an event: 800 filtered, 100 quarantined, 100 duplicates"
    assert seen(none)["no_events"] == Observation(1, words)
    allowed = observe(none, None, BEFORE, allow_empty=True)["no_events"]
    assert allowed == Observation(0, words)
    assert seen()["no_events"] == Observation(0)


def test_times_are_held_against_the_interval_or_where_there_is_none_against_each_other() -> None:
    assert seen()["sentAt_span"] == Observation(1.5, "days, from 2024-01-02 to 2024-01-03")
    assert seen()["sentAt_outside_interval"].value is None
    within = observe(NUMBERS, Interval(DAY, DAY + timedelta(days=1)), BEFORE, allow_empty=False)
    assert within["sentAt_span"].value is within["sentAt_before_2010"].value is None
    assert "sentAt_outside_interval" not in within  # the count stands as it is
