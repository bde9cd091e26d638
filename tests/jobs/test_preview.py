"""A preview shows what becomes of records, writes nothing, and needs no lake."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import build_events
from tests.spark_stages import stages_run

MAPPING = """
[source]
format  = "csv"
options = { header = "true" }
schema  = "who STRING, kind STRING, at STRING, item STRING"
[record]
where = "kind <> 'ping'"
[event]
eventType = "kind"
sentAt    = "to_timestamp(at)"
visitorId = "who"
itemId    = "item"
"""

LINES = [
    "at,who,kind,item",
    "2024-01-02T09:15:00Z,v1,view,A7",
    "2024-01-02T09:15:00Z,v1,view,A7",
    "2024-01-02T09:16:00Z,v2,ping,",
    "yesterday,v3,view,A\u202e7",
    "2024-01-02T09:17:00Z,,view,A7",
    "2024-01-02T09:18:00Z,v4,view",
]

LATEST = datetime(2024, 2, 1, tzinfo=UTC)

Run = Callable[..., tuple[int, list[str], dict[str, Any]]]


@pytest.fixture
def run(spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the job: its exit code, what it printed but its last line, and its last line."""
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "log.csv").write_text("\n".join([*LINES, ""]))

    def ended(*words: str) -> tuple[int, list[str], dict[str, Any]]:
        code = build_events.main([*words, "--mapping", str(tmp_path / "m.toml")])
        *lines, last = capsys.readouterr().out.splitlines()
        return code, lines, json.loads(last)

    return ended


def test_records_are_shown_with_their_fates_and_reasons(run: Run, tmp_path: Path) -> None:
    code, lines, summary = run("--preview", "3", "--input", str(tmp_path / "log.csv"))
    fates = [line.split()[:3] for line in lines[1:4]]
    assert (code, fates) == (0, [["1", "event", "view"], ["2", "duplicate", "view"], ["3", "filtered", "ping"]])
    assert lines[0].split() == ["fate", "reasons", "eventType", "sentAt", "visitorId", "eventId", "itemId"]
    below = "\n".join(lines[4:])
    assert "4: sentAt: sentAt_missing: " in below and "   yesterday,v3,view,A\\u202e7" in below
    assert "6: record: malformed_record: " in below and "identity_missing" in below
    counts = {name: summary[name] for name in ("read", "filtered", "candidates", "events", "quarantined", "duplicates")}
    assert list(counts.values()) == [6, 1, 5, 1, 3, 1]
    assert summary["reasons"] == {"identity_missing": 1, "malformed_record": 1, "sentAt_missing": 1}
    assert {path.name for path in tmp_path.iterdir()} == {"log.csv", "m.toml"}


def test_only_as_many_files_are_read_as_are_needed(spark: SparkSession, run: Run, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(40):
        lines = [LINES[0], *[f"2024-01-02T09:15:00Z,v{number}-{place},view,A7" for place in range(1_100)]]
        (tmp_path / "many" / f"{number}.csv").write_text("\n".join(lines))
    ended: list[dict[str, Any]] = []
    stages = stages_run(spark, lambda: ended.append(run("--preview", "2", "--input", str(tmp_path / "many"))[2]))
    assert ended[0]["read"] == 1_000
    assert stages == 2, "one tries the options of the mapping, one reads"


@pytest.mark.parametrize(
    ("text", "fate"),
    [
        ("v1,view,2024-01-02,A7", "event"),
        ("kind,item,who,at\nview,A7,v1,2024-01-02", "event"),
        ("v1,view,2024-01-02", "quarantined"),
        ("v1,ping,,", "filtered"),
    ],
)
def test_one_record_is_explained(run: Run, text: str, fate: str) -> None:
    code, lines, summary = run("--explain-record", text)
    assert (code, lines[1].split()[:2], summary["read"]) == (0, ["1", fate], 1)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--preview", "0", "--input", "x"], "'0' is not a whole number from 1 to 10,000"),
        (["--preview", "5"], "one of the arguments --input --retry-quarantine --explain-record is required"),
        (["--preview", "5", "--retry-quarantine"], "--preview looks at --input, not at a quarantine"),
        (["--preview", "5", "--input", "/nowhere/x.csv"], "--input /nowhere/x.csv: there is nothing there"),
    ],
)
def test_a_wrong_command_line_is_told(run: Run, words: list[str], error: str) -> None:
    code, _, summary = run(*words)
    assert code == 2 and error in summary["error"] and summary["batch"] is None
