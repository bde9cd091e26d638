"""Law 3 through the job: batches one after another, rebuilt, retried and late, over a real lake."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs import build_events
from jobs.building.history import warn_of_changed
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake

MINUTE = timedelta(minutes=1)


@pytest.fixture
def mapping(clickstream: Any, tmp_path: Path) -> Path:
    path = tmp_path / "mapping.toml"
    path.write_text(clickstream.mapping)
    return path


@pytest.fixture
def log(tmp_path: Path) -> Any:
    def write(name: str, *records: dict[str, Any]) -> Path:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
        return path

    return write


def view(at: str, item: str = "i", who: str = "v") -> dict[str, Any]:
    return {"who": who, "user": None, "at": f"{at}:00Z", "item": item}


LET_PASS = ("--on-gate-failure", "warn")  # a batch of a few records that all repeat others, say


def sessions(spark: SparkSession, lake: Path, batch: str = "*") -> dict[tuple[str, str], str]:
    """The sessionId of each event, by its time and item."""
    frame = spark.read.parquet(str(lake / "events" / f"batch={batch}" / "*"))
    rows = frame.selectExpr("date_format(sentAt, \"yyyy-MM-dd'T'HH:mm\") at", "itemId", "sessionId").collect()
    assert len({(row["at"], row.itemId) for row in rows}) == len(rows)
    return {(row["at"], row.itemId): row.sessionId for row in rows}


@pytest.mark.parametrize("kind", ["day", pytest.param("random-2", marks=pytest.mark.sweep)])
@pytest.mark.long
def test_batches_one_after_another_give_what_one_build_over_all_gives(
    spark: SparkSession, build: Any, lake: Path, log: Any, mapping: Path, clickstream: Any, kind: str
) -> None:
    batches = clickstream.batches(kind)
    counted = []
    for number, batch in enumerate(batches):
        records = [click.record() for click in batch]
        ended = build(log(f"{number}", *records), mapping=mapping, batch=f"b{number:02d}", more=LET_PASS)
        assert ended.code == 0
        counted.append(ended.summary)
    frame = spark.read.parquet(str(lake / "events")).select("eventId", "sessionId").collect()
    assert len(frame) == len(clickstream.clicks)
    assert {tuple(row) for row in frame} == clickstream.sessions()
    repeats = sum(map(len, batches)) - len(clickstream.clicks)
    assert repeats > 20 and sum(summary["duplicates"] for summary in counted) == repeats
    assert all(s["candidates"] == s["events"] + s["quarantined"] + s["duplicates"] for s in counted)


@pytest.mark.long
def test_an_old_day_built_again_gets_that_days_ids(
    spark: SparkSession, build: Any, lake: Path, log: Any, mapping: Path, caplog: pytest.LogCaptureFixture
) -> None:
    days = {
        "2024-01-01": log("1", view("2024-01-01T23:50")),
        "2024-01-02": log("2", view("2024-01-02T00:10"), view("2024-01-02T23:55")),
        "2024-01-03": log("3", view("2024-01-03T00:05")),
    }
    for label, file in days.items():
        build(file, mapping=mapping, batch=label)
    before = sessions(spark, lake)
    assert len(set(before.values())) == 2
    build(days["2024-01-02"], mapping=mapping, batch="2024-01-02")
    assert sessions(spark, lake) == before
    assert "was built on" not in caplog.text
    build(log("2b", view("2024-01-02T00:10"), view("2024-01-02T20:00")), mapping=mapping, batch="2024-01-02")
    (told,) = [line for line in caplog.messages if line.startswith("batch 2024-01-03: was built on 2024-01-02, ")]
    assert (
        told.count("2024-01-02") == 1 and "published again since: sessions that continue from one to the other" in told
    )
    build(days["2024-01-03"], mapping=mapping, batch="2024-01-03")
    after = sessions(spark, lake)
    assert after["2024-01-02T00:10", "i"] == before["2024-01-02T00:10", "i"]
    assert after["2024-01-03T00:05", "i"] != before["2024-01-03T00:05", "i"]


def test_a_day_that_is_built_after_later_ones_is_told_as_new(
    spark: SparkSession, lake: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifests = Lake(spark, str(lake)).manifests
    first = Manifest("2024-06-01", 1, "run-1", "passed", 1, 0, left="a", lookBack=2)
    manifests.write(first)
    manifests.write(Manifest("2024-05-01", 1, "run-2", "passed", 1, 0, left="b", lookBack=2))
    warn_of_changed(manifests, "2024-05-01")
    (told,) = caplog.messages
    assert told.startswith(
        "batch 2024-06-01: was built before 2024-05-01: sessions that continue from one to the other"
    )
    caplog.clear()
    manifests.write(replace(first, version=2, runId="run-3", upon={"2024-05-01": "b"}))
    manifests.write(Manifest("2024-05-01", 2, "run-4", "passed", 1, 0, left="c", lookBack=2))
    manifests.write(Manifest("2024-05-15", 1, "run-5", "passed", 1, 0, left="d", lookBack=2, upon={"2024-05-01": "c"}))
    warn_of_changed(manifests, "2024-05-15")
    (told,) = caplog.messages
    assert told.startswith(
        "batch 2024-06-01: was built on 2024-05-01, published again since, and was built before 2024-05-15: sessions"
    )


def test_late_events_join_the_session_that_they_belong_to_and_rename_nothing(
    spark: SparkSession, build: Any, lake: Path, log: Any, mapping: Path, may_be_empty: tuple[str, ...]
) -> None:
    known = [view(f"2024-01-01T{at}") for at in ("10:00", "10:20", "11:10", "20:00")]
    build(log("1", *known), mapping=mapping, batch="2024-01-01")
    assert build(log("2"), mapping=mapping, batch="2024-01-02", more=may_be_empty).code == 0
    before = sessions(spark, lake)
    late = [view(f"2024-01-01T{at}", "late") for at in ("09:35", "10:10", "10:45", "19:00", "19:29", "19:45")]
    build(log("3", *late, view("2024-01-03T00:00")), mapping=mapping, batch="2024-01-03")
    after = sessions(spark, lake)
    assert {event: after[event] for event in before} == before
    joined = {at: after[f"2024-01-01T{at}", "late"] for at in ("09:35", "10:10", "10:45", "19:00", "19:29", "19:45")}
    ten, eleven, twenty = (before[f"2024-01-01T{at}", "i"] for at in ("10:00", "11:10", "20:00"))
    assert len({ten, eleven, twenty}) == 3
    assert joined["09:35"] == joined["10:10"] == ten
    assert joined["10:45"] == ten  # it bridges two sessions: it joins the earlier one, and both keep their names
    assert joined["19:00"] == joined["19:29"] == joined["19:45"] == twenty  # one after another, up to the known one
    assert after["2024-01-03T00:00", "i"] not in before.values()


def test_an_event_that_comes_late_from_longer_ago_starts_a_session_of_its_own(
    spark: SparkSession, build: Any, lake: Path, log: Any, mapping: Path
) -> None:
    for day in range(1, 6):
        build(log(f"{day}", view(f"2024-01-0{day}T10:00")), mapping=mapping, batch=f"2024-01-0{day}")
    build(log("6", view("2024-01-01T10:10", "late")), mapping=mapping, batch="2024-01-06")
    after = sessions(spark, lake)
    assert len(set(after.values())) == 6


@pytest.mark.parametrize(("look_back", "duplicates"), [("2", (1, 0)), ("0", (0, 0)), ("3", (1, 1))])
def test_a_repeat_is_found_as_far_back_as_one_looks(
    build: Any, log: Any, mapping: Path, look_back: str, duplicates: tuple[int, int], may_be_empty: tuple[str, ...]
) -> None:
    event, more = view("2024-01-01T10:00"), ("--look-back", look_back, *may_be_empty)
    build(log("1", event), mapping=mapping, batch="2024-01-01")
    build(log("2", view("2024-01-02T10:00")), mapping=mapping, batch="2024-01-02")
    within = build(log("3", event), mapping=mapping, batch="2024-01-03", more=more)
    beyond = build(log("4", event), mapping=mapping, batch="2024-01-04", more=("--look-back", "0"))
    assert beyond.summary["duplicates"] == 0
    again = build(log("5", view("2024-01-02T10:00")), mapping=mapping, batch="2024-01-05", more=more)
    assert (within.summary["duplicates"], again.summary["duplicates"]) == duplicates
    assert within.summary["candidates"] == within.summary["events"] + within.summary["duplicates"] == 1


@pytest.mark.parametrize("session", ["s1", "0" * 64])
def test_a_repeat_is_found_where_sessions_are_given_and_where_they_look_derived(
    build: Any, log: Any, tmp_path: Path, clickstream: Any, session: str
) -> None:
    mapping = tmp_path / "given.toml"
    mapping.write_text(clickstream.mapping.replace("item STRING", "item STRING, s STRING") + 'sessionId = "s"\n')
    records = [{**view("2024-01-01T10:00"), "s": session}, view("2024-01-01T10:00", "other")]
    build(log("1", *records), mapping=mapping, batch="2024-01-01")
    ended = build(log("2", *records, view("2024-01-02T10:00")), mapping=mapping, batch="2024-01-02")
    assert (ended.summary["duplicates"], ended.summary["events"]) == (2, 1)


def test_a_repeat_of_a_given_event_id_is_found_whatever_else_it_says(
    build: Any, log: Any, tmp_path: Path, clickstream: Any
) -> None:
    mapping = tmp_path / "given.toml"
    mapping.write_text(clickstream.mapping.replace("item STRING", "item STRING, id STRING") + 'eventId = "id"\n')
    build(log("1", {**view("2024-01-01T10:00"), "id": "e1"}), mapping=mapping, batch="2024-01-01")
    records = [{**view("2023-12-31T09:00", who="x"), "id": "e1"}, {**view("2024-01-02T09:00"), "id": "e2"}]
    ended = build(log("2", *records), mapping=mapping, batch="2024-01-02")
    assert (ended.summary["duplicates"], ended.summary["events"]) == (1, 1)


def test_what_a_failed_batch_saw_is_not_carried_on(
    spark: SparkSession, build: Any, lake: Path, log: Any, mapping: Path, tmp_path: Path
) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text("[without_item]\nfail_count = 0\n")
    build(log("1", view("2024-01-01T23:50")), mapping=mapping, batch="2024-01-01")
    broken = {**view("2024-01-02T00:15"), "item": None}
    failed = build(log("2", broken), mapping=mapping, batch="2024-01-02", more=("--thresholds", str(strict)))
    assert failed.code == 3 and not list((lake / "_visits" / "batch=2024-01-02").glob("runId=*"))
    build(log("3", view("2024-01-02T00:40")), mapping=mapping, batch="2024-01-03")
    assert len(set(sessions(spark, lake).values())) == 2


@pytest.mark.long
def test_a_clock_that_is_years_ahead_does_not_end_the_sessions_of_others(
    spark: SparkSession, build: Any, lake: Path, log: Any, mapping: Path
) -> None:
    long = ("--session-gap", "6h")
    first = [view("2021-01-01T03:30"), view("2024-01-01T00:00", who="ahead")]
    build(log("1", *first), mapping=mapping, batch="2021-01-01T03", more=long)
    for hour in (4, 5, 6):
        more = log("more", view(f"2021-01-01T0{hour}:00", who=f"other-{hour}"))
        build(more, mapping=mapping, batch=f"2021-01-01T0{hour}", more=long)
    build(log("2", view("2021-01-01T09:00")), mapping=mapping, batch="2021-01-01T09", more=long)
    after = sessions(spark, lake)
    assert after["2021-01-01T03:30", "i"] == after["2021-01-01T09:00", "i"]


@pytest.mark.long
def test_batches_of_the_layout_before_are_built_upon_and_added_to(
    spark: SparkSession,
    build: Any,
    retry: Any,
    lake: Path,
    log: Any,
    mapping: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text(mapping.read_text().replace('"to_timestamp(at)"', "\"IF(item = 'x', NULL, to_timestamp(at))\""))
    first = [view("2024-01-01T23:30"), view("2024-01-01T23:40", "x"), view("2024-01-01T23:50")]
    build(log("1", *first), mapping=broken, batch="2024-01-01")
    (manifest,) = (lake / "_batches" / "2024-01-01").glob("*.json")
    known = ("batch", "version", "runId", "gate", "events", "quarantined", "duplicates", "explode")
    values = {name: value for name, value in json.loads(manifest.read_text()).items() if name in known}
    (manifest.parent / "00000002-old.json").write_text(json.dumps({**values, "version": 2, "layout": 1}))
    shutil.rmtree(lake / "_visits")
    ended = build(log("2", first[2], view("2024-01-02T00:10")), mapping=mapping, batch="2024-01-02")
    assert (ended.code, ended.summary["duplicates"], ended.summary["events"]) == (0, 1, 1)
    assert retry(mapping, batch="2024-01-01").summary["events"] == 1
    assert len(set(sessions(spark, lake).values())) == 1
    build(log("0", view("2023-12-31T10:00")), mapping=mapping, batch="2023-12-31")


@pytest.mark.long
def test_a_session_goes_on_over_hours_in_which_nothing_happened(
    spark: SparkSession, build: Any, lake: Path, log: Any, mapping: Path, may_be_empty: tuple[str, ...]
) -> None:
    long = ("--session-gap", "12h", *may_be_empty)
    build(log("1", view("2024-01-01T03:30")), mapping=mapping, batch="2024-01-01T03", more=long)
    for hour in (4, 5, 6):
        build(log("none"), mapping=mapping, batch=f"2024-01-01T{hour:02d}", more=long)
    build(log("2", view("2024-01-01T07:30")), mapping=mapping, batch="2024-01-01T07", more=long)
    assert len(set(sessions(spark, lake).values())) == 1


def test_a_session_that_lasts_too_long_is_cut_over_borders_too(
    spark: SparkSession, build: Any, lake: Path, log: Any, mapping: Path
) -> None:
    start, more = datetime.fromisoformat("2024-01-01T00:00"), ("--max-session", "2h")
    times = [f"{start + n * 20 * MINUTE:%Y-%m-%dT%H:%M}" for n in range(19)]  # to 06:00
    for number, part in enumerate((times[:5], times[5:11], times[11:])):
        build(log(f"{number}", *map(view, part)), mapping=mapping, batch=f"b{number}", more=more)
    found = sessions(spark, lake)
    cut = [[at for at in times if found[at, "i"] == name] for name in dict.fromkeys(found[at, "i"] for at in times)]
    assert cut == [times[:7], times[7:13], times[13:]]  # 00:00 to 02:00, which is no longer than 2 h, and so on


def test_a_batch_that_another_rests_on_is_rebuilt_meanwhile(
    build: Any, log: Any, mapping: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = log("1", view("2024-01-01T23:50"))
    build(first, mapping=mapping, batch="2024-01-01")
    read = Lake.published_visits

    def rebuilt_just_before(self: Lake, manifest: Manifest) -> Any:
        monkeypatch.setattr(Lake, "published_visits", read)
        assert build(first, mapping=mapping, batch="2024-01-01").code == 0
        return read(self, manifest)

    monkeypatch.setattr(Lake, "published_visits", rebuilt_just_before)
    ended = build(log("2", view("2024-01-02T00:10")), mapping=mapping, batch="2024-01-02")
    assert ended.code == 5
    assert ended.said == ["batch 2024-01-01: it has just been rebuilt: run this again"]


def test_a_batch_that_another_rests_on_appears_meanwhile(
    spark: SparkSession, build: Any, lake: Path, log: Any, mapping: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_rows, first = build_events.judge_rows, log("1", view("2024-01-01T23:50"))

    def built_just_before(*arguments: Any) -> Any:
        monkeypatch.setattr(build_events, "judge_rows", judge_rows)
        assert build(first, mapping=mapping, batch="2024-01-01").code == 0
        return judge_rows(*arguments)

    monkeypatch.setattr(build_events, "judge_rows", built_just_before)
    second = log("2", view("2024-01-02T00:10"))
    ended = build(second, mapping=mapping, batch="2024-01-02")
    assert (ended.code, len(list((lake / "events").glob("batch=2024-01-02/*")))) == (5, 0)
    assert ended.said[0].startswith("batch 2024-01-01: was published meanwhile, and batch 2024-01-02 depends on it; ")
    assert build(second, mapping=mapping, batch="2024-01-02").code == 0
    assert len(set(sessions(spark, lake).values())) == 1


@pytest.mark.long
def test_a_duplicate_whose_other_is_gone_is_told(
    build: Any,
    log: Any,
    mapping: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    may_be_empty: tuple[str, ...],
) -> None:
    gone, kept = view("2024-01-01T10:05"), [view("2024-01-01T10:00"), view("2024-01-01T10:10")]
    build(log("1", *kept, gone), mapping=mapping, batch="2024-01-01")
    second = build(log("2", gone), mapping=mapping, batch="2024-01-02", more=may_be_empty)
    assert (second.code, second.summary["duplicates"]) == (0, 1)
    build(log("3", view("2024-01-03T10:00")), mapping=mapping, batch="2024-01-03", more=("--look-back", "1"))
    assert "was built on" not in caplog.text
    build(log("1b", *kept), mapping=mapping, batch="2024-01-01")
    assert caplog.text.count("was built on") == caplog.text.count("batch 2024-01-02: was built on") == 1
    caplog.clear()
    strict = tmp_path / "strict.toml"
    strict.write_text("[anonymous]\nfail_count = 0\n")
    failed = build(log("1", *kept, gone), mapping=mapping, batch="2024-01-01", more=("--thresholds", str(strict)))
    assert failed.code == 3 and caplog.text.count("batch 2024-01-02: was built on") == 1  # it is so still
    caplog.clear()
    between = build(log("2", gone), mapping=mapping, batch="2024-01-02T12", more=("--thresholds", str(strict)))
    assert between.code == 3 and "was built on" not in caplog.text  # it changes nothing for who comes after


def test_later_batches_of_a_newer_layout_spoil_no_build(
    build: Any, lake: Path, log: Any, mapping: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(log("2", view("2024-01-02T10:00")), mapping=mapping, batch="2024-01-02")
    (manifest,) = (lake / "_batches" / "2024-01-02").glob("*.json")
    newer = json.dumps({**json.loads(manifest.read_text()), "layout": 99})
    (manifest.parent / "00000009-newer.json").write_text(newer)
    assert build(log("1", view("2024-01-01T10:00")), mapping=mapping, batch="2024-01-01").code == 0
    assert "cannot find out whether other batches depend on batch 2024-01-01" in caplog.text
    assert "its layout is 99" in caplog.text


def test_what_a_later_batch_has_got_is_its_own_when_an_earlier_one_is_retried(
    build: Any, retry: Any, log: Any, mapping: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text(mapping.read_text().replace('"to_timestamp(at)"', "\"IF(item = 'x', NULL, to_timestamp(at))\""))
    records = [view("2024-01-01T10:00"), view("2024-01-01T10:05", "x")]
    build(log("1", *records), mapping=broken, batch="2024-01-01")
    assert build(log("2", records[1]), mapping=mapping, batch="2024-01-02").summary["events"] == 1
    ended = retry(mapping, batch="2024-01-01")
    assert (ended.code, ended.summary["events"], ended.summary["duplicates"]) == (0, 0, 1)


def test_a_missing_input_is_told_also_where_another_batch_was_rebuilt_meanwhile(
    build: Any, log: Any, mapping: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, take = log("1", view("2024-01-01T23:50")), build_events.take_records
    build(first, mapping=mapping, batch="2024-01-01")

    def rebuilt_just_before(*arguments: Any) -> Any:
        monkeypatch.setattr(build_events, "take_records", take)
        assert build(first, mapping=mapping, batch="2024-01-01").code == 0
        return take(*arguments)

    monkeypatch.setattr(build_events, "take_records", rebuilt_just_before)
    ended = build("/nowhere/to/be/found.jsonl", mapping=mapping, batch="2024-01-02")
    assert ended.code == 2 and "/nowhere/to/be/found.jsonl" in ended.said[0]


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (("--max-session", "1 day"), "'1 day' is not a duration: write e.g. 90s, 30m, 24h or 2d"),
        (("--look-back", "-1"), "'-1' is not a number of batches: 0 to 100"),
        (("--look-back", "two"), "'two' is not a number of batches: 0 to 100"),
    ],
)
def test_options_that_are_wrong_are_told(
    build: Any, log: Any, mapping: Path, option: tuple[str, str], said: str
) -> None:
    ended = build(log("1", view("2024-01-01T10:00")), mapping=mapping, more=option)
    assert ended.code == 2 and said in ended.said[0]
