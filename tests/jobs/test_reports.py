"""The page that a run leaves: its figures counted by hand, nobody's id in it, and no run that suffers from it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from emulator import Faults, Server
from jobs.report import report as report_module
from tests.jobs.lakes import day, days, lay

MAPPING = """
[source]
format = "json"
schema = "who STRING, user STRING, kind STRING, at BIGINT, item STRING"
[record]
where = "kind <> 'ping'"
[event]
eventType = "kind"
sentAt    = "timestamp_seconds(at)"
visitorId = "who"
userId    = "user"
itemId    = "item"
"""
DAY = 1_704_153_600  # 2024-01-02T00:00:00Z

Reports = Callable[..., list[str]]


def seen(page: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", page.split("</style>")[1])).split())


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.toml"
    path.write_text(MAPPING)
    return path


def raw(tmp_path: Path, *records: dict[str, Any] | str) -> Path:
    path = tmp_path / "raw.jsonl"
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in records))
    return path


def click(who: str, kind: str, hours: float | None, item: str = "boots-7") -> dict[str, Any]:
    at = None if hours is None else DAY + round(hours * 3600)
    return {"who": who, "user": "olga-1" if who == "cookie-a" else None, "kind": kind, "at": at, "item": item}


def test_a_builds_page_shows_what_was_counted_by_hand(
    build: Any, reports: Reports, tmp_path: Path, mapping: Path
) -> None:
    first = click("cookie-a", "view", 1)
    records = [
        *(
            first,
            click("cookie-a", "buy", 1.2),
            click("cookie-a", "view", 3),
        ),  # sessions of 2 events in 12 min, and of 1
        *(first, click("cookie-b", "ping", 2), click("cookie-b", "view", None)),  # a duplicate, filtered, quarantined
        *[
            click("cookie-c", "view", 23 + n / 60, f"boots-{n}") for n in range(12)
        ],  # one session of 12 events in 11 min
        '{"broken',
    ]
    assert build(raw(tmp_path, *records), mapping=mapping).code == 0
    [page] = reports()
    text = seen(page)
    for words in (
        *("read records 19", "filtered not interactions, by the mapping's where 1 5.3 %", "candidates 18"),
        *("quarantined refused, with reasons 2 11.1 %", "duplicates repeat an event 1 5.6 %", "valid 15 83.3 %"),
        *("malformed", "sentAt_missing sentAt is missing, or could not be read as a time 1 5.6 %"),
        *("view 14 93.3 %", "buy 1 6.7 %", "3 sessions", "1 users", "4 requests to send them"),
        *("1 1 33.3 %", "2 1 33.3 %", "11 to 20 1 33.3 %"),
        *("a single moment 1 33.3 %", "up to 15 min 2 66.7 %", "The largest has 12 events; the longest lasts 12 min"),
        "15 events from 2024-01-02 00:00:00 to 2024-01-03 00:00:00 UTC",
        "field count of events userId 3 20 % visitorId 15 100 % itemId 15 100 %",
    ):
        assert words in text
    assert 'href="../../quality/batches/2024-01-02.html"' in page
    assert not re.search(r"olga|cookie|boots|raw\.jsonl", page)


def test_a_gate_that_failed_and_an_input_that_is_missing_have_pages(
    build: Any, reports: Reports, tmp_path: Path, mapping: Path
) -> None:
    bad = raw(tmp_path, *[click(f"cookie-{n}", "view", None if n % 3 else n / 60) for n in range(1_000)])
    assert build(bad, mapping=mapping).code == 3
    assert build(tmp_path / "nowhere", mapping=mapping).code == 2
    failed, missing = map(seen, reports())
    assert failed.index("gate failed") < failed.index("666 of 1,000 candidates") < failed.index("events valid 334")
    assert "334 events from 2024-01-02" in failed and "cookie" not in failed
    assert "could not go on" in missing and "nowhere" in missing and "No record was counted" in missing
    assert "Other runs of this batch build_events-" in missing and "Other runs" not in failed


def test_a_deliverys_page_tells_its_course(
    built: Any, put: Any, reports: Reports, serve: Callable[..., Server], spark: SparkSession, lake: Path
) -> None:
    built()
    server = serve(latency_ms=30.0, faults=Faults(poison_items=frozenset({"a3", "c12"})))
    ended = put(server.endpoint_url, more=("--max-rate", "5"))
    assert ended.code == 4
    page = reports()[-1]
    text = seen(page)
    for words in (
        *("delivered acknowledged in this run 73 97.3 %", "deadLettered refused for good 2 2.7 %"),
        *("InvalidInputException 2 100 %", f"{ended.summary['attempts']} calls", "limit, 5 a second", "Receipts: the"),
    ):
        assert words in text
    gate = "the batch's gate passed for the build of run "
    where = f"tracker t endpoint {server.endpoint_url} region eu-west-1 {gate}"
    assert where in text
    median = re.search(r"([\d.]+) ms median", text)
    assert median is not None and float(median[1]) > 25
    assert page.count("<svg") == 2
    ids = {row[0] for row in spark.read.parquet(str(lake / "events")).select("eventId").collect()}
    ids |= {row[0] for row in spark.read.parquet(str(lake / "receipts")).select("sessionId").collect()}
    assert not any(name in page for name in (*ids, "u-c", "emulator-secret", "AKIDEMULATOR"))


def test_a_replays_page_goes_over_all_its_batches(
    spark: SparkSession, replay: Any, reports: Reports, serve: Callable[..., Server], lake: Path
) -> None:
    lay(spark, lake, days(2, sessions=2, each=25))
    ended = replay(lake, day(0), day(1), "--max-rate", "4", url=serve().endpoint_url)
    assert (ended.code, ended.summary["delivered"]) == (0, 100)
    text = seen(reports(f"{day(0)}..{day(1)}")[0])
    for words in (
        *(f"replay_events, batches {day(0)}..{day(1)} done", "delivered acknowledged in this run 100 100 %"),
        *("12 calls", "limit, 4 a second", "Sendings, one after another batch gate minutes after the first"),
        *(
            "the batches' gates 2 passed of those that this run has delivered",
            f"first {day(0)} passed 0 {day(1)} passed",
        ),
    ):
        assert words in text
    assert text.index(f"first {day(0)}") < text.rindex(day(1))


def test_what_fails_in_a_report_fails_no_run(
    build: Any, reports: Reports, tmp_path: Path, mapping: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("olga-1")

    monkeypatch.setattr("jobs.build_events.find_event_timeline", fails)
    with caplog.at_level(logging.WARNING):
        assert build(raw(tmp_path, click("cookie-a", "view", 1)), mapping=mapping).code == 0
        monkeypatch.setattr("jobs.report.page.run_status", fails)
        ended = build(raw(tmp_path, click("cookie-a", "view", 1)), mapping=mapping)
    assert (ended.code, ended.summary["events"]) == (0, 1)
    assert len(reports()) == 1 and "read records 1" in seen(reports()[0])
    said = [record.getMessage() for record in caplog.records if "report" in record.getMessage()]
    assert said == [
        *["the report will lack a chart: RuntimeError"] * 2,
        "the report could not be written: RuntimeError",
    ]


def test_without_the_library_one_line_says_how_to_get_it(
    build: Any, reports: Reports, tmp_path: Path, mapping: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    monkeypatch.setattr(report_module, "NEEDED", ("jinja2", "no_such_library"))
    with caplog.at_level(logging.WARNING):
        assert build(raw(tmp_path, click("cookie-a", "view", 1)), mapping=mapping).code == 0
    said = [record.getMessage() for record in caplog.records if "report" in record.getMessage()]
    assert said == ["no report is written; to get one, install on the driver: pip install no_such_library"]
    assert reports() == []
