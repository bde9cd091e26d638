"""A rebuild of a batch that was delivered says what it changes for the service, and stops where that is much."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulator import Server
from jobs.lake.tables import Lake
from tests.jobs.conftest import MAPPING, Ended, Job

BATCH = "2024-01-01"
NEW_PROPERTY = "\nlanguage = \"'de'\"\n"

Rebuild = Callable[..., Ended]


@pytest.fixture
def rebuild(build: Job, tmp_path: Path) -> Rebuild:
    """Build so many views of one visitor each, a second apart, under a mapping with more in it."""

    def run(events: int, mapping: str = MAPPING, first: int = 0, more: tuple[str, ...] = ()) -> Ended:
        (tmp_path / "m.toml").write_text(mapping)
        records = [
            {"who": f"v{n}", "user": None, "kind": "view", "at": 1704067200000 + n * 1000, "item": f"i{n}"}
            for n in range(first, first + events)
        ]
        (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
        return build(tmp_path / "log.jsonl", mapping=tmp_path / "m.toml", batch=BATCH, more=more)

    return run


@pytest.fixture
def url(serve: Callable[..., Server]) -> str:
    return serve().endpoint_url


def test_a_property_more_would_send_all_again_and_needs_rekey(
    rebuild: Rebuild, put: Job, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = rebuild(60).summary["runId"]
    assert put(url, batch=BATCH).summary["delivered"] == 60
    refused = rebuild(60, MAPPING + NEW_PROPERTY)
    assert (refused.code, refused.summary["gate"], refused.summary["kept"]) == (3, "failed", good)
    assert "delivered_events_rekeyed: 1 (60 of 60 delivered events would be sent again" in refused.said[0]
    assert any("give --rekey" in line for line in refused.said)
    assert put(url, batch=BATCH).summary["attempts"] == 0, "the good one stays, and nothing of it waits"
    lenient = rebuild(60, MAPPING + NEW_PROPERTY, more=("--on-gate-failure", "warn"))
    assert lenient.code == 3, "what lets all the rest pass does not send a month again"
    meant = rebuild(60, MAPPING + NEW_PROPERTY, more=("--rekey",))
    assert (meant.code, meant.summary["gate"], meant.summary["kept"]) == (0, "warned", None)
    assert any("60 of 60 delivered events would be sent again" in line for line in caplog.messages)
    assert put(url, batch=BATCH).summary["delivered"] == 60
    assert rebuild(60, MAPPING + NEW_PROPERTY).summary["gate"] == "passed", "these ids are the delivered ones now"


def test_the_same_again_and_more_of_it_change_nothing(rebuild: Rebuild, put: Job, url: str) -> None:
    rebuild(60)
    put(url, batch=BATCH)
    assert rebuild(60).summary["gate"] == "passed"
    assert rebuild(90).summary["gate"] == "passed", "events that are new are not the old ones under other names"
    assert put(url, batch=BATCH).summary["delivered"] == 30


def test_another_file_of_which_most_is_gone_fails(rebuild: Rebuild, put: Job, url: str) -> None:
    rebuild(500)
    put(url, batch=BATCH)
    few = rebuild(10)
    assert few.code == 3
    assert "delivered_events_gone: 0.98 (490 of 500 delivered events are missing)" in few.said[0]
    other = rebuild(500, first=10_000)
    assert other.code == 3 and "500 of 500 delivered events are missing" in other.said[0]
    assert put(url, batch=BATCH).summary["attempts"] == 0


def test_a_few_that_are_gone_are_told(rebuild: Rebuild, put: Job, url: str, caplog: pytest.LogCaptureFixture) -> None:
    rebuild(60)
    put(url, batch=BATCH)
    ended = rebuild(57)
    assert (ended.code, ended.summary["gate"]) == (0, "warned")
    assert any("3 of 60 delivered events are missing" in line for line in caplog.messages)


@pytest.mark.parametrize("mapping", [MAPPING, MAPPING + NEW_PROPERTY])
def test_what_was_never_delivered_is_free_and_is_not_looked_at(
    rebuild: Rebuild, mapping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(60)
    monkeypatch.setattr("jobs.building.redelivery.compare_builds", lambda *_: pytest.fail("it looked"))
    assert rebuild(50, mapping).summary["gate"] == "passed"


@pytest.mark.long
def test_what_was_delivered_to_another_tracker_counts_too(rebuild: Rebuild, put: Job, url: str) -> None:
    rebuild(60)
    put(url, batch=BATCH, tracking_id="another")
    assert rebuild(60, MAPPING + NEW_PROPERTY).code == 3


@pytest.mark.long
def test_a_retry_of_the_quarantine_adds_and_takes_nothing_away(
    rebuild: Rebuild, retry: Job, put: Job, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = MAPPING.replace('"timestamp_millis(at)"', "\"IF(item = 'i3', NULL, timestamp_millis(at))\"")
    rebuild(60, broken)
    assert put(url, batch=BATCH).summary["delivered"] == 59
    (tmp_path / "m.toml").write_text(MAPPING)
    assert retry(tmp_path / "m.toml", batch=BATCH).code == 0
    assert put(url, batch=BATCH).summary["delivered"] == 1


@pytest.mark.long
def test_a_batch_that_is_only_partly_delivered_is_held_against_that_part(
    rebuild: Rebuild, put: Job, serve: Callable[..., Server], spark: Any, lake: Path
) -> None:
    rebuild(60)
    put(serve().endpoint_url, batch=BATCH)
    assert rebuild(120).code == 0  # 60 of which wait
    assert rebuild(60).summary["gate"] == "passed", "what was never sent may go"
    found = Lake(spark, str(lake)).manifests.current(BATCH)
    assert found is not None and found.events == 60
