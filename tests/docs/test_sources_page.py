"""docs/sources.md names every mapping that ships, its commands are right, and its examples have no fault."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import build_events, put_events
from jobs.reading.mappings import SHIPPED_MAPPINGS, MappingText, checked_mapping

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "sources.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+) ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXTENSIONS = [text for language, purpose, text in BLOCK.findall(PAGE) if (language, purpose) == ("toml", "extends")]


def anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def test_every_mapping_has_a_row_and_a_section_with_both_commands() -> None:
    rows = re.findall(r"^\| \[([^\]]+)\]\(#([^)]+)\) \| `(\w+)` \|$", PAGE, re.MULTILINE)
    assert sorted(name for *_, name in rows) == list(SHIPPED_MAPPINGS)
    for title, link, name in rows:
        assert link == anchor(title)
        section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
        (commands,) = [text for language, _, text in BLOCK.findall(section) if language == "sh"]
        build, put = (shlex.split(command) for command in commands.splitlines())
        assert (build[:2], put[:2]) == (
            ["spark-submit", "jobs/build_events.py"],
            ["spark-submit", "jobs/put_events.py"],
        )
        built, sent = build_events.parse(build[2:]), put_events.parse(put[2:])
        assert (built.mapping, built.lake, built.batch) == (name, sent.lake, sent.batch)
        assert "**Mapped**" in section and "**Filtered**" in section


def test_every_mapping_begins_with_what_it_is() -> None:
    assert all(text.startswith("# ") for text in SHIPPED_MAPPINGS.values())


@pytest.mark.parametrize("text", EXTENSIONS, ids=lambda text: text.split('"')[1])
def test_the_examples_extend_a_mapping_without_a_fault(spark: SparkSession, text: str) -> None:
    assert checked_mapping(MappingText("my.toml", text), spark).event


def test_no_example_is_passed_over() -> None:
    assert Counter(language for language, *_ in BLOCK.findall(PAGE)) == {
        "sh": len(SHIPPED_MAPPINGS),
        "toml": len(EXTENSIONS),
    }


def test_links_lead_somewhere() -> None:
    for page, link in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", PAGE):
        text = (ROOT / "docs" / page).read_text("utf-8") if page else PAGE
        titles = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
        assert not link or link in map(anchor, titles), (page, link)
