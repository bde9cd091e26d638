"""The gate's judgement, by a real Great Expectations checkpoint over numbers given by hand."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from expectations.checks import CHECKS, checks_on, field_checks
from expectations.gate import Finding, facts_and_limits, findings_of, judge_batch, outcome
from expectations.observations import Observation
from expectations.suite import run_checkpoint
from expectations.thresholds import Limit, Threshold, Thresholds

SIZES = {"records": 20_000, "candidates": 10_000, "events": 8_000, "sessions": 1_000}
ALL = checks_on(["userId", "properties.device"])


def find(
    name: str,
    value: float | None,
    threshold: Threshold | None = None,
    sizes: dict[str, int] = SIZES,
) -> Finding:
    thresholds = Thresholds({name: threshold} if threshold else {})
    findings = judge_batch("2024-01-02", {name: Observation(value)}, sizes, thresholds, ALL)
    others = [finding for finding in findings if finding.check.name != name]
    assert {finding.level for finding in others} <= {"passed", "not evaluated"}
    return next(finding for finding in findings if finding.check.name == name)


def test_every_check_is_listed_also_those_without_a_violation() -> None:
    findings = judge_batch("2024-01-02", {}, SIZES, Thresholds(), ALL)
    assert [finding.check for finding in findings] == [
        *CHECKS,
        *field_checks("userId"),
        *field_checks("properties.device"),
    ]
    assert outcome(findings) == "passed" and {finding.value for finding in findings} == {0, None}


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("sentAt_missing", 100, "passed"),
        ("sentAt_missing", 125, "passed"),  # 0.99 % at the least
        ("sentAt_missing", 135, "warned"),
        ("sentAt_missing", 2_600, "warned"),  # 24.9 % at the least
        ("sentAt_missing", 2_620, "failed"),
        ("quarantined", 5_100, "warned"),
        ("quarantined", 5_130, "failed"),
        ("eventId_repeated", 1, "failed"),
        ("event_types_and_metadata", 10, "passed"),
        ("event_types_and_metadata", 11, "warned"),
        ("records", 0.2, "passed"),
        ("records", 0.199, "warned"),
        ("records", 0.009, "failed"),
        ("records", 300, "warned"),
        ("batch_size", 0.2, "passed"),
        ("batch_size", 0.199, "warned"),
        ("batch_size", 0.009, "failed"),
        ("batch_size", 5.1, "warned"),
        ("filtered", 19_000, "passed"),
        ("filtered", 19_200, "warned"),
        ("filtered", 20_000, "failed"),
        ("kept_records", 0.2, "passed"),
        ("kept_records", 0.19, "warned"),
        ("kept_records", 0.01, "failed"),
        ("duplicates", 2_500, "passed"),
        ("duplicates", 8_600, "warned"),  # an export of the last seven days, each day
        ("duplicates", 10_000, "failed"),
        ("largest_eventId", 500, "passed"),
        ("largest_eventId", 2_000, "warned"),
        ("largest_eventId", 5_000, "failed"),
        ("largest_visitorId", 2_400, "passed"),
        ("largest_visitorId", 4_800, "warned"),
        ("largest_visitorId", 7_900, "failed"),
        ("largest_userId", 7_900, "failed"),
        ("largest_itemId", 7_900, "warned"),
        ("largest_itemId", 8_000, "failed"),
        ("single_event_sessions", 800, "passed"),
        ("single_event_sessions", 950, "warned"),
        ("single_event_sessions", 1_000, "failed"),
        ("single_event_visits", 1_000, "warned"),
        ("sentAt_outside_interval", 400, "passed"),
        ("sentAt_outside_interval", 3_900, "warned"),
        ("sentAt_outside_interval", 8_000, "failed"),
        ("sentAt_before_2010", 8_000, "warned"),
        ("sentAt_span", 366, "passed"),
        ("sentAt_span", 367, "warned"),
        ("without_item", 4_000, "passed"),
        ("without_item", 4_200, "warned"),
        ("anonymous", 8_000, "not evaluated"),
        ("no_events", 1, "failed"),
        ("batch_size", None, "not evaluated"),
        ("empty.userId", 8_000, "failed"),
        ("empty.properties.device", 8_000, "failed"),
        ("empty.userId", 0, "passed"),
        ("filled.userId", 0.5, "passed"),
        ("filled.userId", 0.4, "warned"),
        ("filled.userId", 0.05, "failed"),
    ],
)
def test_a_default_at_its_limit_and_beyond(name: str, value: float | None, level: str) -> None:
    assert find(name, value).level == level


@pytest.mark.parametrize(
    ("threshold", "value", "level"),
    [
        (Threshold(warn_count=0, fail_count=2), 0, "passed"),
        (Threshold(warn_count=0, fail_count=2), 2, "warned"),
        (Threshold(warn_count=0, fail_count=2), 3, "failed"),
        (Threshold(fail_share=0.5, fail_count=2), 3, "failed"),
        (Threshold(fail_share=0.00001, fail_count=50), 2, "failed"),
        (Threshold(), 10_000, "not evaluated"),
    ],
)
def test_whichever_limit_comes_first(threshold: Threshold, value: int, level: str) -> None:
    assert find("itemId_too_long", value, threshold).level == level


@pytest.mark.parametrize(
    ("count", "candidates", "level"),
    [
        (1, 1, "warned"),
        (2, 2, "warned"),
        (3, 3, "failed"),
        (3, 5, "warned"),
        (10, 10, "failed"),
        (900, 900, "failed"),
        (1, 12, "passed"),
        (1, 20, "passed"),
        (10, 40, "warned"),
        (20, 40, "failed"),
    ],
)
def test_a_share_fails_by_evidence_whatever_the_size(count: int, candidates: int, level: str) -> None:
    sizes = {"records": candidates, "candidates": candidates, "events": 0, "sessions": 0}
    assert find("sentAt_missing", count, sizes=sizes).level == level


@pytest.mark.parametrize(
    ("name", "seen", "threshold", "reason"),
    [
        ("batch_size", Observation(None, "2 batches before it"), None, "2 batches before it"),
        ("batch_size", Observation(None), None, "it was not measured"),
        ("anonymous", Observation(3), None, "it has no limit"),
        ("metadata_columns", Observation(9, "9 property keys"), Threshold(), "it has no limit; 9 property keys"),
        ("without_item", Observation(0), None, "there are no events"),
        ("anonymous_sessions", Observation(0), Threshold(fail_share=0.5), "there are no sessions"),
    ],
)
def test_a_check_without_a_limit_or_a_measure_is_not_evaluated_and_says_why(
    name: str, seen: Observation, threshold: Threshold | None, reason: str
) -> None:
    sizes = {"records": 20, "candidates": 10, "events": 0, "sessions": 0}
    thresholds = Thresholds({name: threshold} if threshold else {})
    findings = judge_batch("2024-01-02", {name: seen}, sizes, thresholds, ALL)
    found = next(finding for finding in findings if finding.check.name == name)
    assert (found.level, found.note, found.broken) == ("not evaluated", reason, ())


def test_what_is_only_counted_is_evaluated_also_where_there_is_nothing() -> None:
    sizes = {"records": 20, "candidates": 10, "events": 0, "sessions": 0}
    assert find("eventId_repeated", 0, sizes=sizes).level == "passed"


def test_a_limit_of_nothing_is_passed_by_any_and_one_of_all_by_none() -> None:
    assert find("merged", 1, Threshold(fail_share=0.0)).level == "failed"
    assert find("merged", 0, Threshold(fail_share=0.0)).level == "passed"
    assert find("merged", 8_000, Threshold(fail_share=1.0)).level == "passed"


def test_a_batch_that_may_be_empty_passes() -> None:
    sizes = {"records": 0, "candidates": 0, "events": 0, "sessions": 0}
    assert outcome(judge_batch("2024-01-02", {}, sizes, Thresholds())) == "passed"


@pytest.mark.parametrize(
    ("changed", "level"),
    [
        ({}, "failed"),
        ({"empty": Threshold()}, "passed"),
        ({"empty.userId": Threshold()}, "passed"),
        ({"empty": Threshold(), "empty.userId": Threshold(fail_share=0.5)}, "failed"),
        ({"empty.itemId": Threshold()}, "failed"),
    ],
)
def test_a_field_goes_by_its_own_limits_else_by_those_of_all_fields(changed: dict[str, Threshold], level: str) -> None:
    observed = {"empty.userId": Observation(8_000)}
    assert outcome(judge_batch("2024-01-02", observed, SIZES, Thresholds(changed), ALL)) == level


@pytest.mark.parametrize(
    ("check", "observation", "words"),
    [
        (
            "largest_eventId",
            Observation(10_000),
            "largest_eventId: one eventId holds 10,000 of 10,000 candidates (100 %), fails above 25 %",
        ),
        (
            "empty.userId",
            Observation(8_000),
            "empty.userId: userId is empty in 8,000 of 8,000 events (100 %), fails above 99 %",
        ),
        (
            "no_events",
            Observation(1, "none of 2,000 records became an event: 2,000 filtered, 0 quarantined, 0 duplicates"),
            "no_events: none of 2,000 records became an event: 2,000 filtered, 0 quarantined, 0 duplicates",
        ),
        (
            "filled.userId",
            Observation(0.01, "40 of 8,000 events have it, against a median share of 0.5", held=0.02),
            "filled.userId: 0.01 (40 of 8,000 events have it, against a median share of 0.5), fails below 0.1",
        ),
    ],
)
def test_what_failed_is_said_in_one_line(check: str, observation: Observation, words: str) -> None:
    findings = judge_batch("2024-01-02", {check: observation}, SIZES, Thresholds(), ALL)
    assert [finding.describe() for finding in findings if finding.level in ("warned", "failed")] == [words]


def plainly(facts: dict[str, float], limits: list[Limit]) -> list[Limit]:
    """Hold numbers against limits without Great Expectations."""
    return [
        limit
        for limit in limits
        if (facts[limit.column] < limit.value if limit.key.endswith("below") else facts[limit.column] > limit.value)
    ]


VALUES = st.none() | st.integers(0, 60) | st.sampled_from([0.01, 0.0999, 0.1, 0.2, 0.5, 1.0, 366.0, 1e6])
SHARES = st.none() | st.sampled_from([0.0, 0.01, 0.25, 0.5, 1.0])
CHANGED = st.builds(Threshold, warn_share=SHARES, fail_share=SHARES, warn_count=SHARES, fail_below=SHARES)


# Each example takes a checkpoint, a third of a second.
@settings(max_examples=12, phases=[Phase.explicit, Phase.generate])
@given(
    values=st.dictionaries(st.sampled_from([check.name for check in ALL]), VALUES),
    changed=st.dictionaries(st.sampled_from([check.name for check in ALL]), CHANGED),
    size=st.sampled_from([0, 5, 60, 8_000]),
)
def test_great_expectations_and_plain_comparisons_agree(
    values: dict[str, float | None], changed: dict[str, Threshold], size: int
) -> None:
    sizes, thresholds = dict.fromkeys(SIZES, size), Thresholds(changed)
    shares = {check.name for check in ALL if check.among}
    observed = {
        name: Observation(min(int(value), size) if name in shares and value is not None else value)
        for name, value in values.items()
    }
    facts, limits = facts_and_limits(observed, sizes, thresholds, ALL)
    expected = plainly(facts, limits)
    assert run_checkpoint("2024-01-02", facts, limits) == expected
    assert judge_batch("2024-01-02", observed, sizes, thresholds, ALL) == findings_of(
        expected, observed, sizes, thresholds, ALL
    )


def test_great_expectations_does_not_end_a_process_whose_main_module_has_no_file() -> None:
    program = "import expectations.suite; print('goes on')"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "goes on\n"), ended.stderr
