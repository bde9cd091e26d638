"""The gate as its users meet it: exit codes, words, pages, thresholds of their own, and what put_events makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from emulator import Settings, running

MAPPING = """
[source]
format = "json"
schema = "who STRING, user STRING, kind STRING, at BIGINT, sku STRING"
[event]
eventType = "kind"
sentAt = "timestamp_seconds(at)"
visitorId = "who"
userId = "user"
itemId = "sku"
"""
DAY = 1704153600  # 2024-01-02T00:00:00Z


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.toml"
    path.write_text(MAPPING)
    return path


@pytest.fixture
def thresholds(tmp_path: Path) -> Any:
    def write(text: str) -> tuple[str, str]:
        path = tmp_path / "thresholds.toml"
        path.write_text(text)
        return "--thresholds", str(path)

    return write


def raw(tmp_path: Path, *records: dict[str, Any], name: str = "raw") -> Path:
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def record(n: int, **more: Any) -> dict[str, Any]:
    return {"who": f"v{n}", "user": f"u{n}", "kind": "view", "at": DAY + n, "sku": "7", **more}


def mostly_bad(tmp_path: Path) -> Path:
    return raw(tmp_path, *[record(n, at=None if n % 3 else DAY) for n in range(1_000)])


def test_a_failed_batch_is_not_sent_and_its_page_says_why(
    build: Any, put: Any, tmp_path: Path, mapping: Path, lake: Path
) -> None:
    ended = build(mostly_bad(tmp_path), mapping=mapping)
    assert (ended.code, ended.summary["gate"], ended.summary["exitCode"]) == (3, "failed", 3)
    assert ended.said[0].endswith("failed its gate: sentAt_missing: 666 of 1,000 candidates (66.6 %), fails above 25 %")
    page = (lake / "quality/batches/2024-01-02.html").read_text()
    assert "Nothing of this batch is sent" in page and page.count("<pre") == 20
    with running(Settings()) as service:
        refused = put(service.endpoint_url)
        assert (refused.code, refused.summary["attempts"]) == (3, 0)


def test_a_failure_that_was_overruled_is_marked_and_sent(
    build: Any, put: Any, tmp_path: Path, mapping: Path, lake: Path
) -> None:
    ended = build(mostly_bad(tmp_path), mapping=mapping, more=("--on-gate-failure", "warn"))
    assert (ended.code, ended.summary["gate"]) == (0, "warned")
    assert "let pass by" in (lake / "quality/batches/2024-01-02.html").read_text()
    with running(Settings()) as service:
        assert put(service.endpoint_url).summary["delivered"] == 334


def test_thresholds_of_ones_own(build: Any, tmp_path: Path, mapping: Path, thresholds: Any, lake: Path) -> None:
    folder = raw(tmp_path, record(1), record(2, at=None))
    assert build(folder, mapping=mapping).summary["gate"] == "passed"
    strict = thresholds("[sentAt_missing]\nfail_count = 0\n")
    ended = build(folder, mapping=mapping, more=strict)
    assert (ended.code, ended.summary["gate"]) == (3, "failed")
    assert "sentAt_missing: 1 of 2 candidates (50 %), fails above 0" in ended.said[0]
    found = json.loads((lake / "quality/batches/2024-01-02.failed.json").read_text())
    assert found["checks"]["sentAt_missing"] == {"level": "failed", "value": 1, "share": 0.5}
    assert not (lake / "quality/batches/2024-01-02.passed.json").exists()


def test_the_faults_of_thresholds_and_mapping_are_told_together(
    build: Any, tmp_path: Path, mapping: Path, thresholds: Any, lake: Path
) -> None:
    mapping.write_text(MAPPING.replace("itemId", "itmeId"))
    ended = build(raw(tmp_path, record(1)), mapping=mapping, more=thresholds("[merged]\nfail_share = 7\n"))
    assert ended.code == 2 and len(ended.said) == 2
    assert "itmeId" in ended.said[0] and "thresholds.toml:2: [merged] fail_share" in ended.said[1]
    missing = build(raw(tmp_path, record(1)), mapping="otto", more=("--thresholds", str(tmp_path / "none.toml")))
    assert missing.code == 2 and "none.toml: cannot be read" in missing.said[0]


def test_a_batch_is_held_against_the_median_of_those_before(
    build: Any, tmp_path: Path, mapping: Path, lake: Path
) -> None:
    gates = {}
    for day, count in (("01", 100), ("02", 300), ("03", 200), ("04", 39), ("05", 40)):
        label = f"2024-01-{day}"
        records = [record(n, sku=day) for n in range(count)]
        gates[label] = build(raw(tmp_path, *records), mapping=mapping, batch=label).summary["gate"]
    assert gates == {
        "2024-01-01": "passed",
        "2024-01-02": "passed",
        "2024-01-03": "passed",
        "2024-01-04": "warned",  # 39 against the median of 100, 300 and 200
        "2024-01-05": "passed",  # 40 against the median of 39, 100, 200 and 300
    }
    index = (lake / "quality/index.html").read_text()
    assert [index.index(f"batches/{label}.html") for label in gates] == sorted(
        (index.index(f"batches/{label}.html") for label in gates), reverse=True
    )


def test_what_the_service_hides_is_counted(build: Any, tmp_path: Path, mapping: Path) -> None:
    same = {"who": "v1", "user": "u1", "at": DAY}
    records = [record(1, **same), record(1, **{**same, "who": "v2"}), record(1, **same, sku="8"), record(3, user=None)]
    summary = build(raw(tmp_path, *records), mapping=mapping).summary
    assert (summary["events"], summary["merged"]) == (4, 1)
    assert (summary["sessions"], summary["anonymousSessions"]) == (3, 1)


def test_a_build_leaves_nothing_persisted(spark: SparkSession, build: Any, tmp_path: Path, mapping: Path) -> None:
    kept: Any = spark.sparkContext._jsc
    before = kept.getPersistentRDDs().size()
    build(mostly_bad(tmp_path), mapping=mapping)
    assert kept.getPersistentRDDs().size() == before


def test_a_page_that_cannot_be_written_fails_no_batch(build: Any, tmp_path: Path, mapping: Path, lake: Path) -> None:
    lake.mkdir()
    (lake / "quality").write_text("a file in the folder's place")
    assert build(raw(tmp_path, record(1)), mapping=mapping).code == 0
