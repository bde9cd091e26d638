"""The gate as its users meet it: exit codes, words, pages, thresholds of their own, and what put_events makes of it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from emulator import EmulatorSettings, running
from expectations.observations import BatchNumbers
from jobs import build_events
from jobs.lake.tables import Lake
from tests.expectations.shop_days import (
    Record,
    Shop,
    break_share,
    day_of,
    good_day,
    milliseconds_from_seconds,
    reckon,
    written,
)

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
    with running(EmulatorSettings()) as service:
        refused = put(service.endpoint_url)
        assert (refused.code, refused.summary["attempts"]) == (3, 0)


def test_a_failure_that_was_overruled_is_marked_and_sent(
    build: Any, put: Any, tmp_path: Path, mapping: Path, lake: Path
) -> None:
    ended = build(mostly_bad(tmp_path), mapping=mapping, more=("--on-gate-failure", "warn"))
    assert (ended.code, ended.summary["gate"]) == (0, "warned")
    assert "let pass by" in (lake / "quality/batches/2024-01-02.html").read_text()
    with running(EmulatorSettings()) as service:
        assert put(service.endpoint_url).summary["delivered"] == 334


def test_thresholds_of_ones_own(build: Any, tmp_path: Path, mapping: Path, thresholds: Any, lake: Path) -> None:
    folder = raw(tmp_path, record(1), record(2, at=None))
    assert build(folder, mapping=mapping).summary["gate"] == "warned"
    strict = thresholds("[sentAt_missing]\nfail_count = 0\n")
    ended = build(folder, mapping=mapping, more=strict)
    assert (ended.code, ended.summary["gate"]) == (3, "failed")
    assert "sentAt_missing: 1 of 2 candidates (50 %), fails above 0" in ended.said[0]
    found = json.loads((lake / "quality/batches/2024-01-02.failed.json").read_text())
    assert found["checks"]["sentAt_missing"] == {"level": "failed", "value": 1, "share": 0.5}
    assert not (lake / "quality/batches/2024-01-02.warned.json").exists()


def test_the_lines_that_an_error_gives_let_the_batch_pass(
    build: Any, tmp_path: Path, mapping: Path, thresholds: Any
) -> None:
    """The log of somebody who tries it alone: one visitor, and a property that nobody has used yet."""
    mapping.write_text(MAPPING + "[event.properties]\ncoupon = \"NULLIF(kind, 'view')\"\n")
    folder = raw(tmp_path, *[record(n, who="v", user="u") for n in range(800)])
    ended = build(folder, mapping=mapping)
    assert ended.code == 3, ended
    line = next(line for line in ended.said if "--thresholds" in line)
    lines = line.rpartition("lets it pass: ")[2].split(", ")
    assert len(lines) == 3, ended.said
    assert build(folder, mapping=mapping, more=thresholds("\n".join(lines))).code == 0


def test_the_faults_of_thresholds_and_mapping_are_told_together(
    build: Any, tmp_path: Path, mapping: Path, thresholds: Any, lake: Path
) -> None:
    mapping.write_text(MAPPING.replace("itemId", "itmeId"))
    ended = build(raw(tmp_path, record(1)), mapping=mapping, more=thresholds("[merged]\nfail_share = 7\n"))
    assert ended.code == 2 and len(ended.said) == 2
    assert "itmeId" in ended.said[0] and "thresholds.toml:2: [merged] fail_share" in ended.said[1]
    missing = build(raw(tmp_path, record(1)), mapping="otto", more=("--thresholds", str(tmp_path / "none.toml")))
    assert missing.code == 2 and "none.toml: cannot be read" in missing.said[0]


@pytest.mark.long
def test_a_batch_is_held_against_the_median_of_those_before(
    build: Any, tmp_path: Path, mapping: Path, lake: Path
) -> None:
    gates = {}
    for day, count in (("01", 100), ("02", 300), ("03", 200), ("04", 39), ("05", 40)):
        label = f"2024-01-{day}"
        records = [record(n, sku=f"{day}-{n}", at=DAY + 86_400 * (int(day) - 2) + n) for n in range(count)]
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


def test_a_build_leaves_nothing_persisted(
    spark: SparkSession, build: Any, tmp_path: Path, mapping: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    persisted: list[DataFrame] = []
    frames = type(spark.range(0))
    persist = frames.persist
    monkeypatch.setattr(frames, "persist", lambda rows, level: persisted.append(rows) or persist(rows, level))
    build(mostly_bad(tmp_path), mapping=mapping)
    levels = [rows.storageLevel for rows in persisted]
    assert levels and not any(level.useDisk or level.useMemory for level in levels)


def test_a_page_that_cannot_be_written_fails_no_batch(build: Any, tmp_path: Path, mapping: Path, lake: Path) -> None:
    lake.mkdir()
    (lake / "quality").write_text("a file in the folder's place")
    assert build(raw(tmp_path, record(1)), mapping=mapping).code == 0


# What the gate is told, and what it makes of it, over whole builds of a shop's day.

SHOP = Shop(300, logins=0.3, repeats=0.1, faults=0.03, gives_ids=True, gives_sessions=True)
SIMPLE = Shop(300, logins=0.0, pages=1.5, repeats=0.1, faults=0.03)


def a_day(shop: Shop, change: str) -> list[Record | str]:
    """A day, broken in half of its clicks, all of them, or not at all."""
    lines = good_day(shop, 1, 11)
    changed: dict[str, list[Record | str]] = {
        "ordinary": lines,
        "constant ids": break_share(lines, 0.5, id="constant"),
        "fields that lack": break_share(
            break_share(lines, 0.5, session=None, id=None, user=None, sku=None, coupon=None), 0.1, kind=...
        ),
        "one visitor": break_share(lines, 0.9, visitor="robot", user="robot", session=None),
        "seconds": milliseconds_from_seconds(lines),
        "twice": lines + lines,
        "renamed": break_share(lines, 1.0, kind=...),
        "nothing": [],
    }
    return changed[change]


@pytest.mark.parametrize(
    ("shop", "change"),
    [
        (SIMPLE, "one visitor"),
        (SHOP, "ordinary"),
        (SHOP, "fields that lack"),
        (SHOP, "twice"),
        pytest.param(SIMPLE, "ordinary", marks=pytest.mark.long),
        pytest.param(SIMPLE, "nothing", marks=pytest.mark.long),
        pytest.param(SHOP, "constant ids", marks=pytest.mark.long),
        pytest.param(SHOP, "seconds", marks=pytest.mark.long),
        pytest.param(SHOP, "renamed", marks=pytest.mark.long),
    ],
)
def test_spark_counts_what_plain_python_reckons(
    build: Any, tmp_path: Path, lake: Path, monkeypatch: pytest.MonkeyPatch, shop: Shop, change: str
) -> None:
    counted: list[BatchNumbers] = []
    count = build_events.count_batch
    monkeypatch.setattr(build_events, "count_batch", lambda *seen: counted.append(count(*seen)) or counted[-1])
    lines = a_day(shop, change)
    (tmp_path / "shop.toml").write_text(shop.mapping)
    (tmp_path / "log.jsonl").write_text(written(lines))
    build(tmp_path / "log.jsonl", mapping=tmp_path / "shop.toml")
    (numbers,) = counted
    assert numbers == reckon(shop, lines, day_of(1))


@pytest.fixture
def build_lines(build: Any, tmp_path: Path) -> Any:
    """Build a batch of lines by a shop's mapping."""

    def run(shop: Shop, lines: list[Record | str], batch: str = "2024-01-02", more: tuple[str, ...] = ()) -> Any:
        (tmp_path / "shop.toml").write_text(shop.mapping)
        path = tmp_path / f"{batch}.jsonl"
        path.write_text(written(lines))
        return build(path, mapping=tmp_path / "shop.toml", batch=batch, more=more)

    return run


def said_of(ended: Any, check: str) -> str:
    """What a run that ended said of one check."""
    return next(str(line).partition("failed its gate: ")[2] for line in ended.said if f" {check}: " in line)


def test_a_renamed_column_fails_and_says_what_became_of_the_records(build_lines: Any, lake: Path) -> None:
    lines = break_share(good_day(Shop(2_000, pings=0.0, faults=0.0), 1, 1), 1.0, kind=..., action="view")
    ended = build_lines(Shop(2_000), lines)
    assert (ended.code, ended.summary["gate"], ended.summary["filtered"]) == (3, "failed", len(lines))
    fates = f"none of {len(lines):,} records became an event: {len(lines):,} filtered, 0 quarantined, 0 duplicates"
    assert said_of(ended, "no_events") == f"no_events: {fates}"
    assert fates in (lake / "quality/batches/2024-01-02.html").read_text()


def test_an_empty_input_fails_unless_a_threshold_says_that_it_may(build_lines: Any, thresholds: Any) -> None:
    ended = build_lines(Shop(20), [])
    assert (ended.code, said_of(ended, "no_events")) == (3, "no_events: no record was read")
    assert build_lines(Shop(20), [], more=thresholds("[no_events]\nfail_count = false\n")).code == 0


def test_one_event_id_in_each_record_fails_and_is_told(build_lines: Any) -> None:
    shop = Shop(2_000, pings=0.0, faults=0.0, gives_ids=True)
    lines = break_share(good_day(shop, 1, 1), 1.0, id="constant")
    ended = build_lines(shop, lines)
    assert (ended.code, ended.summary["events"]) == (3, 1)
    holds = f"one eventId holds {len(lines):,} of {len(lines):,} candidates (100 %)"
    assert said_of(ended, "largest_eventId") == f"largest_eventId: {holds}, fails above 25 %"


def test_times_that_no_record_has_fail_also_in_a_small_batch(build_lines: Any) -> None:
    ended = build_lines(Shop(20), break_share(good_day(Shop(20, pings=0.0, faults=0.0), 1, 1), 1.0, at=None)[:10])
    assert ended.code == 3
    assert said_of(ended, "sentAt_missing") == "sentAt_missing: 10 of 10 candidates (100 %), fails above 25 %"


def test_the_same_file_as_the_next_day_fails(build_lines: Any) -> None:
    shop = Shop(500, faults=0.0)
    lines = good_day(shop, 1, 1)
    assert build_lines(shop, lines).code == 0
    ended = build_lines(shop, lines, batch="2024-01-03")
    events = ended.summary["duplicates"]
    assert (ended.code, ended.summary["events"]) == (3, 0)
    assert said_of(ended, "duplicates") == f"duplicates: {events:,} of {events:,} candidates (100 %), fails above 90 %"


def test_a_misspelt_column_fails_unless_the_field_may_be_empty(build_lines: Any, thresholds: Any, lake: Path) -> None:
    shop = Shop(2_000, pings=0.0, faults=0.0, repeats=0.0)
    lines = break_share(good_day(shop, 1, 1), 1.0, user=..., uesr="u1")
    ended = build_lines(shop, lines)
    empty = f"userId is empty in {len(lines):,} of {len(lines):,} events (100 %)"
    assert (ended.code, ended.summary["users"]) == (3, 0)
    assert said_of(ended, "empty.userId") == f"empty.userId: {empty}, fails above 99 %"
    assert "empty.userId" in (lake / "quality/batches/2024-01-02.html").read_text()
    allowed = thresholds("[empty.userId]\nfail_share = false\nwarn_share = false\n")
    assert build_lines(shop, lines, more=allowed).summary["gate"] == "passed"


def test_a_field_of_a_nested_structure_that_is_misspelt_fails(build: Any, tmp_path: Path) -> None:
    (tmp_path / "nested.toml").write_text(
        '[source]\nformat = "json"\n'
        'schema = "who STRING, at BIGINT, detail STRUCT<kind: STRING, sku: STRING, shelf: STRUCT<row: STRING>>"\n'
        '[event]\neventType = "detail.kind"\nsentAt = "timestamp_seconds(at)"\nvisitorId = "who"\n'
        'itemId = "detail.sku"\n[event.properties]\nrow = "detail.shelf.row"\n'
    )
    records = [
        {"who": f"v{n % 200}", "at": DAY + n, "detail": {"kind": "view", "sku": f"{n}", "shelf": {"roww": "1"}}}
        for n in range(1_000)
    ]
    ended = build(raw(tmp_path, *records), mapping=tmp_path / "nested.toml")
    assert ended.code == 3
    assert said_of(ended, "empty.properties.row").startswith("empty.properties.row: properties.row is empty in 1,000")


def test_seconds_read_as_milliseconds_fail_in_an_interval_and_without_one_warn_whoever_sends_them(
    build_lines: Any, put: Any, spark: SparkSession, lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shop = Shop(200, pings=0.0, faults=0.0)
    lines = milliseconds_from_seconds(good_day(shop, 1, 1))
    ended = build_lines(shop, lines)
    outside = f"{len(lines)} of {len(lines)} events (100 %)"
    assert (ended.code, said_of(ended, "sentAt_outside_interval").partition(", ")[0]) == (
        3,
        f"sentAt_outside_interval: {outside}",
    )
    ended = build_lines(shop, lines, batch="try")
    assert (ended.code, ended.summary["gate"]) == (0, "warned")
    warning = f"sentAt_before_2010: {outside}, warns above 5 %"
    manifest = Lake(spark, str(lake)).manifests.newest("try")
    assert manifest is not None and warning in manifest.warnings
    caplog.clear()
    with caplog.at_level(logging.WARNING), running(EmulatorSettings()) as service:
        put(service.endpoint_url, batch="try")
    told = [line.getMessage() for line in caplog.records if line.name == "jobs.deliver.delivery_run"]
    assert f"batch try: its gate warned: {warning}" in told and len(told) == len(manifest.warnings)


@pytest.mark.long
def test_a_manifest_remembers_what_later_batches_are_held_against(
    build_lines: Any, spark: SparkSession, lake: Path
) -> None:
    shop = Shop(200, logins=0.9, faults=0.0)
    for number in range(3):
        ended = build_lines(shop, good_day(shop, number, 2), batch=f"2024-01-0{number + 1}")
        manifest = Lake(spark, str(lake)).manifests.newest(f"2024-01-0{number + 1}")
        assert manifest is not None
        assert (manifest.read, manifest.filtered) == (ended.summary["read"], ended.summary["filtered"])
        assert manifest.profile["filled.properties.device"] == 1.0 and 0.7 < manifest.profile["filled.userId"] < 1.0
    ended = build_lines(shop, break_share(good_day(shop, 3, 2), 0.99, user=...), batch="2024-01-04")
    assert ended.code == 3 and "against a median share of 0." in said_of(ended, "filled.userId")
