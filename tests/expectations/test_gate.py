"""The gate's judgement, by a real Great Expectations checkpoint over numbers given by hand."""

from __future__ import annotations

import pytest

from expectations.checks import CHECKS
from expectations.gate import Finding, Observation, judge_batch, outcome
from expectations.thresholds import Settings, Threshold, Thresholds

SIZES = {"candidates": 10_000, "events": 8_000, "sessions": 500}


def find(
    name: str,
    value: float | None,
    threshold: Threshold | None = None,
    sizes: dict[str, int] = SIZES,
    settings: Settings | None = None,
) -> Finding:
    thresholds = Thresholds({name: threshold} if threshold else {}, settings or Settings())
    findings = judge_batch("2024-01-02", {name: Observation(value)}, sizes, thresholds)
    others = [finding for finding in findings if finding.check.name != name]
    assert {finding.level for finding in others} == {"passed"}
    return next(finding for finding in findings if finding.check.name == name)


def test_every_check_is_listed_also_those_without_a_violation() -> None:
    findings = judge_batch("2024-01-02", {}, SIZES, Thresholds())
    assert [finding.check for finding in findings] == list(CHECKS)
    assert outcome(findings) == "passed" and {finding.value for finding in findings} == {0, None}


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("sentAt_missing", 100, "passed"),  # 1 % of 10,000 candidates, exactly
        ("sentAt_missing", 101, "warned"),
        ("sentAt_missing", 2_500, "warned"),
        ("sentAt_missing", 2_501, "failed"),
        ("quarantined", 5_000, "warned"),
        ("quarantined", 5_001, "failed"),
        ("eventId_repeated", 1, "failed"),
        ("event_types_and_metadata", 10, "passed"),
        ("event_types_and_metadata", 11, "warned"),
        ("batch_size", 0.2, "passed"),
        ("batch_size", 0.199, "warned"),
        ("batch_size", 5.1, "warned"),
        ("without_item", 4_000, "passed"),  # half of 8,000 events
        ("without_item", 4_001, "warned"),
        ("anonymous", 8_000, "passed"),
        ("no_events", 1, "warned"),
        ("batch_size", None, "passed"),
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
        (Threshold(fail_share=0.0001, fail_count=50), 2, "failed"),
        (Threshold(), 10_000, "passed"),
    ],
)
def test_whichever_limit_comes_first(threshold: Threshold, value: int, level: str) -> None:
    assert find("itemId_too_long", value, threshold).level == level


@pytest.mark.parametrize(
    ("candidates", "settings", "level"),
    [
        (99, Settings(), "passed"),
        (100, Settings(), "warned"),
        (999, Settings(), "warned"),
        (1_000, Settings(), "failed"),
        (99, Settings(warn_from=0, fail_from=0), "failed"),
    ],
)
def test_shares_of_a_few_say_little(candidates: int, settings: Settings, level: str) -> None:
    sizes = {"candidates": candidates, "events": 0, "sessions": 0}
    assert find("malformed_record", candidates // 2, sizes=sizes, settings=settings).level == level


def test_an_empty_batch_passes() -> None:
    findings = judge_batch("2024-01-02", {}, {"candidates": 0, "events": 0, "sessions": 0}, Thresholds())
    assert outcome(findings) == "passed"
