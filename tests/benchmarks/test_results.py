from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import MEASURES, groups
from benchmarks.results import GROUPS, Of, Row, as_json, as_markdown, compare, from_json, merged

ROOT = Path(__file__).parents[2]


def a_row(group: str = "build", row: str = "ours, theirs", **changes: Any) -> Row:
    given: dict[str, Any] = {"ours": [2.0, 9.0, 3.0], "peer": [2.0, 3.0, 2.0], "unit": "s", "note": "what it is."}
    return compare(group, row, **{**given, **changes})


def test_ratio_is_the_median_of_the_pairs_not_the_ratio_of_the_medians() -> None:
    row = a_row(ours=[1.0, 10.0, 100.0], peer=[10.0, 10.0, 10.0])
    assert (row.ours, row.peer, row.ratio, row.pairs) == (10.0, 10.0, 1.0, 3)
    row = a_row(ours=[1.0, 2.0, 3.0], peer=[3.0, 1.0, 2.0])
    assert (row.ours, row.peer, row.ratio) == (2.0, 2.0, 1.5)


def test_pairs_are_pairs() -> None:
    with pytest.raises(ValueError, match="shorter"):
        a_row(peer=[1.0])


@pytest.mark.parametrize(
    ("of", "goal", "met"),
    [
        ("ours / peer", 1.5, True),
        ("ours / peer", 1.49, False),
        ("peer / ours", 0.66, True),
        ("peer / ours", 0.67, False),
        ("ours / peer", None, None),
        ("peer / ours", None, None),
    ],
)
def test_goal_is_the_most_of_ours_and_the_least_of_the_peers(of: Of, goal: float | None, met: bool | None) -> None:
    assert a_row(of=of, goal=goal).met is met


def test_json_has_the_members_that_were_promised_and_comes_back_as_it_was() -> None:
    rows = [a_row(goal=1.0), a_row(group="send", of="peer / ours")]
    read = json.loads(as_json(rows))
    assert all({"row", "ours", "peer", "ratio", "goal", "met", "unit"} <= row.keys() for row in read)
    assert [(row["goal"], row["met"]) for row in read] == [(1.0, False), (None, None)]
    assert from_json(as_json(rows)) == rows


def test_page_has_a_table_for_each_group_and_a_sentence_for_each_row() -> None:
    page = as_markdown([a_row(goal=1.0), a_row(group="send", of="peer / ours", goal=0.5)], "The machine.")
    assert "The machine." in page
    assert "## Build" in page
    assert "## Budget" not in page
    assert "| ours, theirs | 3.00 s | 2.00 s | ours / peer = 1.50 (3 pairs) | ≤ 1.00 | **no** |" in page
    assert "| ours, theirs | 3.00 s | 2.00 s | peer / ours = 0.667 (3 pairs) | ≥ 0.5 | yes |" in page
    assert page.count("- *ours, theirs*: what it is.") == 2


def test_groups_measured_again_replace_their_rows_and_leave_the_others() -> None:
    before = [a_row(row="old"), a_row(row="gone"), a_row(group="growth", row="kept")]
    found = merged(before, [a_row(group="send", row="added"), a_row(row="new")])
    assert [(row.group, row.row) for row in found] == [("build", "new"), ("send", "added"), ("growth", "kept")]


def test_only_takes_groups_by_name_in_their_own_order() -> None:
    assert groups("growth,build") == ["build", "growth"]
    assert list(MEASURES) == list(GROUPS)
    with pytest.raises(Exception, match="no such group: bulid"):
        groups("bulid")


def test_committed_page_shows_the_committed_results() -> None:
    text, page = (ROOT / "benchmarks" / "results.json").read_text(), (ROOT / "docs" / "benchmarks.md").read_text()
    rows = from_json(text)
    assert as_json(rows) == text
    assert {row.group for row in rows} == set(GROUPS)
    assert page.partition("\n## ")[2] == as_markdown(rows, "").partition("\n## ")[2]
