"""A thresholds file as its writers meet it: what it changes, and every fault told with its place."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from expectations.threshold_reader import read_thresholds
from expectations.thresholds import CheckSettings, Threshold, Thresholds

UNKNOWN = "there is no such key here; there are"
GONE = "is gone: shares are held by evidence, so that a few of a few prove little in a batch of any size; take it out"
FIELDS = "userId, visitorId, sessionId, eventId, itemId, eventValue, impression, recommendationId, "
FIELDS += "eventAttributionSource, properties"
RULES_PAGE = Path(__file__).parents[2] / "docs" / "rules.md"


def faults(text: str) -> list[str]:
    return [fault.describe("t.toml") for fault in read_thresholds(text)[1]]


def test_an_empty_file_changes_nothing() -> None:
    assert read_thresholds("") == (Thresholds(), [])


def test_the_example_of_the_page_says_what_it_says() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", RULES_PAGE.read_text(), re.DOTALL)
    thresholds, found = read_thresholds(example)
    assert found == []
    assert thresholds.changed == {
        "sentAt_missing": Threshold(warn_share=0.01, fail_share=0.05, warn_count=0),
        "batch_size": Threshold(warn_below=0.2, fail_below=0.1, warn_above=5.0),
        "without_item": Threshold(),
        "eventValue_out_of_range": Threshold(warn_count=0, fail_share=0.001),
        "sentAt_outside_interval": Threshold(warn_share=0.05, fail_share=0.5),
        "no_events": Threshold(),
        "empty.properties.coupon": Threshold(warn_share=0.95),
        "filled": Threshold(warn_below=0.5, fail_below=0.2),
    }
    assert thresholds.settings == CheckSettings(batches=28, tolerance=timedelta(hours=2), minimum=0, maximum=10_000)


def test_every_fault_is_told_with_its_line() -> None:
    text = """\
anonymous = 0.5
[sentAt_misssing]
fail_share = 0.1
[sentAt_missing]
fail_share = 5
warn_share = "1 %"
fail_above = 3
[batch_size]
batches = 0
fail_share = 0.1
[sentAt_outside_interval]
tolerance = "a while"
[eventValue_out_of_range]
minimum = 2
maximum = 1
[itemId_too_long]
warn_share = 0.5
fail_share = 0.4
[shares]
warn_from = 10
"""
    assert faults(text) == [
        "t.toml:1: [anonymous]: must be a table of limits",
        "t.toml:2: [sentAt_misssing]: there is no such check; did you mean sentAt_missing?",
        "t.toml:6: [sentAt_missing] warn_share: must be a share, 0 to 1, or false for no limit",
        "t.toml:5: [sentAt_missing] fail_share: must be a share, 0 to 1, or false for no limit",
        f"t.toml:7: [sentAt_missing] fail_above: {UNKNOWN} warn_share, fail_share, warn_count, fail_count",
        "t.toml:9: [batch_size] batches: must be a whole number, 3 or more",
        f"t.toml:10: [batch_size] fail_share: {UNKNOWN} warn_below, fail_below, warn_above, fail_above, batches",
        "t.toml:12: [sentAt_outside_interval] tolerance: 'a while' is not a duration: write e.g. 90s, 30m, 24h or 2d",
        "t.toml:17: [itemId_too_long] warn_share: 0.5 is beyond fail_share, 0.4: nothing would warn",
        f"t.toml:19: [shares]: {GONE}",
        "t.toml:14: [eventValue_out_of_range] minimum: is above the maximum",
    ]


def test_a_limit_is_held_against_the_default_of_its_pair() -> None:
    assert read_thresholds("[sentAt_missing]\nfail_share = 0.001\n")[0].changed == {
        "sentAt_missing": Threshold(fail_share=0.001)  # nothing is left to warn of
    }
    assert faults("[sentAt_missing]\nwarn_share = 0.5\n[batch_size]\nfail_below = 5\nfail_above = 0.1\n") == [
        "t.toml:2: [sentAt_missing] warn_share: 0.5 is beyond fail_share, 0.25: nothing would warn",
        "t.toml:4: [batch_size] fail_below: 5.0 is above fail_above, 0.1: none would pass",
    ]


def test_numbers_beyond_any_use_are_refused() -> None:
    huge = "1" + "0" * 400
    text = f"[batch_size]\nfail_above = {huge}\n[eventValue_out_of_range]\nminimum = -{huge}\nmaximum = false\n"
    assert faults(text + '[sentAt_outside_interval]\ntolerance = "999999d"\n') == [
        "t.toml:2: [batch_size] fail_above: must be a number, 0 or more, or false for no limit",
        "t.toml:4: [eventValue_out_of_range] minimum: must be a number",
        "t.toml:5: [eventValue_out_of_range] maximum: must be a number",
        "t.toml:7: [sentAt_outside_interval] tolerance: must be at most 3660d",
    ]


def test_what_is_no_toml_is_told_in_one_line() -> None:
    (fault,) = faults("[sentAt_missing\n")
    assert fault.startswith("t.toml:1: is not TOML: ")


def test_not_a_number_is_no_limit() -> None:
    assert faults("[batch_size]\nfail_above = nan\n") == [
        "t.toml:2: [batch_size] fail_above: must be a number, 0 or more, or false for no limit"
    ]


def test_a_field_changes_what_holds_for_all_fields_wherever_it_stands() -> None:
    text = """\
[empty.properties.coupon]
fail_share = false
[empty]
warn_share = 0.5
[empty.userId]
fail_share = 0.6
[filled.itemId]
fail_below = 0.3
"""
    thresholds, found = read_thresholds(text)
    assert found == []
    assert thresholds.changed == {
        "empty": Threshold(warn_share=0.5, fail_share=0.99),
        "empty.properties.coupon": Threshold(warn_share=0.5),
        "empty.userId": Threshold(warn_share=0.5, fail_share=0.6),
        "filled.itemId": Threshold(warn_below=0.5, fail_below=0.3),
    }


def test_the_faults_of_fields_are_told_with_their_lines() -> None:
    text = """\
[empty.userid]
fail_share = 0.5
[empty.sentAt]
[empty.properties]
coupon = 1
[empty.properties.Coupon]
[empty.properties.device]
fail_below = 0.1
warn_share = 2
[filled]
fail_share = 0.1
"""
    assert faults(text) == [
        "t.toml:1: [empty.userid]: there is no such field; did you mean userId?",
        f"t.toml:3: [empty.sentAt]: there is no such field; there are {FIELDS}",
        "t.toml:5: [empty.properties] coupon: must be a table of limits",
        "t.toml:6: [empty.properties.Coupon]: is not a key of a property: keys are camelCase",
        "t.toml:9: [empty.properties.device] warn_share: must be a share, 0 to 1, or false for no limit",
        f"t.toml:8: [empty.properties.device] fail_below: {UNKNOWN} warn_share, fail_share, warn_count, fail_count",
        f"t.toml:11: [filled] fail_share: {UNKNOWN} warn_below, fail_below, warn_above, fail_above",
    ]
