"""A batch's page: what broke comes first, and nothing of a record is taken for HTML."""

from __future__ import annotations

import re
from dataclasses import replace

from expectations.checks import CHECKS
from expectations.facts import RefusedSample
from expectations.gate import judge_batch, outcome
from expectations.observations import Observation
from expectations.page import GateReport, StandingPublication, batch_page, index_page
from expectations.thresholds import Thresholds

SIZES = {"records": 10_000, "candidates": 10_000, "events": 6_900, "sessions": 500}


def judged(
    observed: dict[str, int], *samples: RefusedSample, overruled: bool = False, kept: StandingPublication | None = None
) -> GateReport:
    findings = judge_batch("2024-01-02", {k: Observation(v) for k, v in observed.items()}, SIZES, Thresholds())
    gate = "warned" if overruled else outcome(findings)
    counts = {"candidates": 10_000}
    return GateReport("2024-01-02", "run-1", gate, overruled, "2024-01-03", "abc", counts, findings, samples, kept)


def visible(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.split("</style>")[1]))


def test_the_first_lines_say_what_broke() -> None:
    text = visible(batch_page(judged({"sentAt_missing": 3_012, "itemId_too_long": 200, "merged": 3})))
    assert (
        text.index("failed")
        < text.index("Nothing of this batch is sent")
        < text.index("sentAt_missing: 3,012 of 10,000 candidates (30.12 %), fails above 25 %")
        < text.index("itemId_too_long: 200 of 10,000 candidates (2 %), warns above 1 %")
        < text.index("Every check")
    )


def test_a_build_that_failed_over_a_good_one_says_what_stays() -> None:
    told = replace(judged({"sentAt_missing": 3_012}), kept=StandingPublication("run-0", "warned", 2_000))
    text = visible(batch_page(told))
    assert "Nothing of this build is sent: the batch stays as it was." in text
    assert "What run run-0 published (warned, 2,000 events) is still what put_events sends." in text
    assert "Nothing of this batch is sent" not in text


def test_a_record_is_text_whatever_it_holds() -> None:
    record = RefusedSample("sentAt_missing", '<script>alert("&")</script>', cut=True, sourceFile='"><img src=x>')
    page = batch_page(judged({"sentAt_missing": 3_012}, record))
    assert "<script" not in page and "<img" not in page
    assert "&lt;script&gt;alert(&#34;&amp;&#34;)&lt;/script&gt; …" in page


def test_the_page_needs_no_network() -> None:
    page = batch_page(judged({})) + index_page([("2024-01-02", "passed")])
    assert not re.search(r"(src|href)=.?(https?:)?//|@import|url\(", page)


def test_what_was_overruled_says_so() -> None:
    text = visible(batch_page(judged({"sentAt_missing": 3_012}, overruled=True)))
    assert "Failed, and let pass by --on-gate-failure warn" in text


def test_every_check_is_in_the_table_also_without_a_violation() -> None:
    page = batch_page(judged({}))
    assert page.count("<td><code>") == len(CHECKS) == 48 and "Nothing unusual." in page


def test_warnings_for_whoever_goes_on_are_the_findings_and_that_they_were_overruled() -> None:
    found = judged({"sentAt_missing": 3_012, "itemId_too_long": 200}, overruled=True).warnings()
    assert found == [
        "failed its gate, and passed because of --on-gate-failure warn",
        "sentAt_missing: 3,012 of 10,000 candidates (30.12 %), fails above 25 %",
        "itemId_too_long: 200 of 10,000 candidates (2 %), warns above 1 %",
    ]
    assert judged({}).warnings() == []
