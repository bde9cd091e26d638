"""Batches come in the order of their intervals, whatever they are called; and what depends on that order."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from emulator import Server
from expectations.interval import Interval
from jobs.building.history import find_history
from jobs.cli.arguments import interval as read_interval
from jobs.errors import ConfigurationError
from jobs.lake.batch_order import BatchOrder, IntervalNotes
from jobs.lake.filesystem import FileSystem
from jobs.lake.manifests import Manifest
from jobs.lake.tables import Lake
from jobs.replay.batch_range import choose_labels, find_batches
from tests.jobs.conftest import Ended, Job

MAPPING = """
[source]
format = "json"
schema = "who STRING, at STRING, item STRING"
[event]
eventType = "'view'"
sentAt    = "to_timestamp(at)"
visitorId = "who"
itemId    = "item"
"""
HALF_DAYS = (
    ("2024-01-05T00", "2024-01-05T00:00/2024-01-05T12:00"),
    ("2024-01-05", "2024-01-05T12:00/2024-01-08"),
    ("2024-01-08T00", "2024-01-08/2024-01-08T12:00"),
)
"""What a DAG calls the intervals of `0 0,12 * * 1-5` around a weekend; as text, the second comes first."""


@pytest.fixture
def log(build: Job, tmp_path: Path) -> Callable[..., Ended]:
    """Build a batch of views at these times, each of another item unless it is given."""

    def run(
        batch: str, *times: str, of: str | None = None, item: str = "i", visitors: int = 1, more: tuple[str, ...] = ()
    ) -> Ended:
        (tmp_path / "m.toml").write_text(MAPPING)
        records = [{"who": f"v{n % visitors}", "at": f"{at}:00Z", "item": item} for n, at in enumerate(times)]
        (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
        given = ("--interval", of) if of else ()
        return build(tmp_path / "log.jsonl", mapping=tmp_path / "m.toml", batch=batch, more=(*given, *more))

    return run


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def between(start: str, end: str) -> Interval:
    return Interval(at(start), at(end))


def test_any_cutting_of_time_is_put_in_order_under_any_names() -> None:
    dice = random.Random(17)
    for _ in range(200):
        borders = [at("2024-01-01")]
        for _ in range(dice.randrange(3, 10)):
            borders.append(borders[-1] + timedelta(minutes=dice.randrange(1, 4000)))
        cut = [Interval(start, end) for start, end in pairwise(borders)]
        names = dice.sample([f"{kind}-{n}" for kind in ("run", "2024-01-02", "z") for n in range(9)], len(cut))
        shuffled = dice.sample(names, len(names))
        order = BatchOrder(tuple(shuffled), dict(zip(names, cut, strict=True)))
        assert order.in_order() == names
        middle = dice.randrange(len(names))
        assert order.before(names[middle]) == names[:middle][::-1]
        assert order.after(names[middle]) == names[middle + 1 :]
        first, last = sorted(dice.choices(range(len(names)), k=2))
        assert choose_labels(order, names[first], names[last]) == names[first : last + 1]


def test_what_a_label_names_and_what_a_batch_was_given_are_ordered_together() -> None:
    labels = ("backfill-7", "2024-01-02T00-15", "2024-01-02T00", "2024-01-02", "night", "2024-01-01", "2024-W01", "a")
    order = BatchOrder(labels, {"night": between("2024-01-01T22:00", "2024-01-02T04:00")})
    # Of two that begin together the one that ends first comes first; who has no interval comes last, as text.
    assert order.in_order() == [
        *("2024-01-01", "2024-W01", "night", "2024-01-02T00", "2024-01-02", "2024-01-02T00-15"),
        *("a", "backfill-7"),
    ]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("2024-01", "2024-02", True),
        ("2024-01-02", "2024-01-03", True),
        ("2024-01-02", "2024-01-02T03", False),
        ("2024-01-02", "20240103", True),
        ("winter", "2024-10-27", True),  # the day of 25 hours on which clocks go back
        ("weekend", "2024-01-08", False),
        ("2024-01-02", "backfill", False),
        ("backfill", "another", True),
    ],
)
def test_sizes_are_compared_of_batches_of_like_length(one: str, other: str, alike: bool) -> None:
    given = {
        "winter": between("2024-10-26T22:00", "2024-10-27T23:00"),
        "weekend": between("2024-01-05", "2024-01-08"),
    }
    order = BatchOrder((one, other), given)
    assert order.alike(one, other) is order.alike(other, one) is alike


def test_the_median_is_of_like_batches_before_in_time(spark: SparkSession, tmp_path: Path) -> None:
    lake = Lake(spark, str(tmp_path))
    sizes = {"2024-01-05T00": 10, "2024-01-05": 70, "2024-01-08T00": 20, "2024-01-09T00": 30}
    for label, size in sizes.items():
        start = dict(HALF_DAYS).get(label, "2024-01-09/2024-01-09T12:00")
        lake.manifests.notes.note(label, read_interval(start), "run")
        lake.manifests.write(Manifest(label, 1, "run", "passed", size, 0))
    order = lake.manifests.order().with_batch("2024-01-08T12", between("2024-01-08T12:00", "2024-01-09T00:00"))
    assert [one.candidates for one in lake.manifests.alike_before(order, "2024-01-08T12", 14)] == [20, 10]
    assert [one.candidates for one in lake.manifests.alike_before(order, "2024-01-08T12", 1)] == [20]
    assert order.before("2024-01-08T12") == ["2024-01-08T00", "2024-01-05", "2024-01-05T00"]
    assert order.after("2024-01-08T12") == ["2024-01-09T00"]


def test_a_session_and_a_repeat_are_found_over_the_weekend_that_its_label_hides(
    spark: SparkSession, log: Callable[..., Ended], lake: Path
) -> None:
    (first, night, monday) = HALF_DAYS
    times = {first: ["2024-01-05T11:50"], night: ["2024-01-05T12:10", "2024-01-07T23:50"], monday: ["2024-01-08T00:10"]}
    for batch, of in HALF_DAYS:
        ended = log(batch, *times[batch, of], of=of, more=("--look-back", "1"))
        assert (ended.code, ended.summary["duplicates"]) == (0, 0)
    repeat = log("2024-01-08T12", "2024-01-08T00:10", "2024-01-08T12:30", of="2024-01-08T12:00/2024-01-09")
    assert repeat.summary["duplicates"] == 1
    rows = spark.read.parquet(str(lake / "events")).selectExpr("date_format(sentAt, 'd HH:mm') at", "sessionId")
    sessions = {row["at"]: row["sessionId"] for row in rows.collect()}
    assert sessions["5 11:50"] == sessions["5 12:10"] and sessions["7 23:50"] == sessions["8 00:10"]
    assert len(set(sessions.values())) == 3
    index = (lake / "quality/index.html").read_text()
    places = [index.index(f"batches/{batch}.html") for batch, _ in HALF_DAYS]
    assert places == sorted(places, reverse=True), "the newest first"
    manifests = {batch: Lake(spark, str(lake)).manifests.current(batch) for batch, _ in HALF_DAYS}
    assert [list(found.upon) for found in manifests.values() if found] == [[], [first[0]], [night[0]]]
    assert manifests["2024-01-05"] and manifests["2024-01-05"].interval == (
        "2024-01-05T12:00:00+00:00",
        "2024-01-08T00:00:00+00:00",
    )


def test_a_late_event_joins_by_the_order_of_intervals(
    spark: SparkSession, log: Callable[..., Ended], lake: Path
) -> None:
    batches = (("c", "2024-01-01/2024-01-11"), ("b", "2024-01-11/2024-01-21"), ("a", "2024-01-21/2024-01-31"))
    times = (["2024-01-01T10:00"], ["2024-01-20T00:00"], ["2024-01-01T10:20", "2024-01-30T00:00"])
    for (batch, of), when in zip(batches, times, strict=True):
        log(batch, *when, of=of, item=batch)
    rows = spark.read.parquet(str(lake / "events")).selectExpr("date_format(sentAt, 'd HH:mm') at", "sessionId")
    sessions = {row["at"]: row["sessionId"] for row in rows.collect()}
    assert sessions["1 10:00"] == sessions["1 10:20"]
    assert len(set(sessions.values())) == 3


def test_an_interval_stays_the_batchs_when_it_is_built_again_without(
    spark: SparkSession, log: Callable[..., Ended], lake: Path
) -> None:
    log("night", "2024-01-01T23:00", of="2024-01-01T22:00/2024-01-02T04:00")
    log("night", "2024-01-01T23:30")
    manifests = Lake(spark, str(lake)).manifests
    found = manifests.current("night")
    assert found is not None and found.interval == ("2024-01-01T22:00:00+00:00", "2024-01-02T04:00:00+00:00")
    assert manifests.order().interval("night") == between("2024-01-01T22:00", "2024-01-02T04:00")
    log("night", "2024-01-01T23:30", of="2024-01-01T21:00/2024-01-02T04:00")
    assert manifests.order().interval("night") == between("2024-01-01T21:00", "2024-01-02T04:00")
    assert len([path for path in (lake / "_intervals").iterdir() if "~" in path.name and path.suffix != ".crc"]) == 1


def test_a_failed_build_moves_no_good_batch_in_time(
    spark: SparkSession, log: Callable[..., Ended], lake: Path, tmp_path: Path
) -> None:
    (tmp_path / "strict.toml").write_text("[anonymous]\nfail_count = 0\n")
    strict = ("--thresholds", str(tmp_path / "strict.toml"))
    assert log("x", "2024-01-01T23:00", of="2024-01-01/2024-01-03").code == 0
    assert log("x", "2024-02-01T23:00", of="2024-02-01/2024-02-02", more=strict).code == 3
    order = Lake(spark, str(lake)).manifests.order()
    assert order.interval("x") == between("2024-01-01", "2024-01-03")
    assert log("new", "2024-02-01T23:00", of="2024-02-01/2024-02-02", more=strict).code == 3
    assert Lake(spark, str(lake)).manifests.order().interval("new") == between("2024-02-01", "2024-02-02")


def test_a_lake_whose_batches_have_the_intervals_that_their_labels_name_has_no_notes(
    log: Callable[..., Ended], lake: Path
) -> None:
    log("2024-01-02", "2024-01-02T10:00", of="2024-01-02/2024-01-03")
    assert not (lake / "_intervals").exists()


def test_notes_are_read_by_one_listing_and_the_newest_holds(spark: SparkSession, tmp_path: Path) -> None:
    notes = IntervalNotes(FileSystem(spark), str(tmp_path))
    night, day = between("2024-01-01T22:00", "2024-01-02T04:00:00.25"), between("2024-01-01", "2024-01-02")
    assert notes.read() == {}
    for interval in (night, day, night, night):
        notes.note("n", interval, "run")
        assert notes.read() == {"n": interval}
    old = "n~00000001~20200101T000000.000000Z~20200102T000000.000000Z"
    (tmp_path / "_intervals" / old).write_text("what a killed run could not delete")
    (tmp_path / "_intervals" / "n~x~y~z").write_text("not ours")
    assert notes.read() == {"n": night}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2024-01-02", "is not an interval: write START/END"),
        ("2024-01-02/2024-01-02", "START must be before END"),
        ("2024-01-03/2024-01-02", "START must be before END"),
        ("2024-01-02T00:00+00:00/2024-01-02T02:00+02:00", "START must be before END"),
        ("2024-01-02/", "is not a time"),
        ("yesterday/2024-01-02", "is not a time"),
        ("2024-01-02/2024-02-30", "is not a time"),
        ("2024-01-02/2024-01-03/2024-01-04", "is not a time"),
    ],
)
def test_an_interval_that_is_none_is_told(log: Callable[..., Ended], text: str, said: str) -> None:
    ended = log("b", "2024-01-02T10:00", of=text)
    assert ended.code == 2 and "--interval" in ended.said[0] and said in ended.said[0]


def test_an_interval_is_utc_unless_it_says_otherwise() -> None:
    assert read_interval("2024-01-02/20240103T0600Z") == between("2024-01-02", "2024-01-03T06:00")
    assert read_interval("2024-01-02T00:00+02:00/2024-01-02T00:00Z") == between("2024-01-01T22:00", "2024-01-02")


def test_the_gate_goes_by_the_interval_that_is_given_not_by_the_label(log: Callable[..., Ended], lake: Path) -> None:
    times = [f"2024-01-{day:02d}T12:{minute:02d}" for day in range(8, 15) for minute in range(20)]
    named = log("2024-01-08", *times, visitors=9)
    assert named.code == 3 and "sentAt_outside_interval: 100 of 140" in " ".join(named.said), (
        "a day's label over a week"
    )
    given = log("2024-01-08", *times, visitors=9, of="2024-01-08/2024-01-15")
    found = json.loads((lake / "quality/batches/2024-01-08.warned.json").read_text())
    assert given.code == 0 and found["checks"]["sentAt_outside_interval"]["value"] == 0
    other = log("2024-01-08", *times, visitors=9, of="2024-02-08/2024-02-15")
    assert other.code == 3 and "sentAt_outside_interval: 140 of 140" in " ".join(other.said)


@pytest.mark.parametrize("label", ["2024-13-45", "2024-02-30", "2024-01-02T25", "20240231", "2024-W60", "2023-02-29-b"])
def test_a_label_that_looks_like_a_date_and_is_none_is_told_by_every_job(
    build: Job, put: Job, tmp_path: Path, label: str
) -> None:
    for ended in (build(tmp_path, mapping="otto", batch=label), put("http://127.0.0.1:9", batch=label)):
        assert ended.code == 2 and "looks like a date but is not one" in ended.said[0], label


def test_a_replay_sends_in_the_order_of_time_and_nothing_that_is_not_meant(
    spark: SparkSession, log: Callable[..., Ended], lake: Path, replay: Job, serve: Callable[..., Server]
) -> None:
    for batch, of in HALF_DAYS:
        log(batch, of.partition("/")[0] if "T" in of.partition("/")[0] else "2024-01-08T00:30", of=of)
    manifests = Lake(spark, str(lake)).manifests
    labels = [label for label, _ in HALF_DAYS]
    assert [found.batch for found in find_batches(manifests, labels[0], labels[2])] == labels
    assert [found.batch for found in find_batches(manifests, labels[1], labels[1])] == [labels[1]]
    assert [found.batch for found in find_batches(manifests, "2024-01", "2024-01")] == labels
    ended = replay(lake, labels[1], labels[2], url=serve().endpoint_url)
    assert (ended.code, ended.summary["batches"], ended.summary["delivered"]) == (0, 2, 2)


@pytest.mark.parametrize(("first", "last"), [("day-1", "day-1"), ("2024-1", "2024-1"), ("day-10", "day-1")])
def test_a_label_that_is_not_there_is_told(spark: SparkSession, tmp_path: Path, first: str, last: str) -> None:
    lake = Lake(spark, str(tmp_path))
    for label in ("day-10", "day-11", "2024-10-01", "2024-11-01"):
        lake.manifests.write(Manifest(label, 1, "run", "passed", 1, 0))
    with pytest.raises(ConfigurationError, match="the lake has no such batch"):
        find_batches(lake.manifests, first, last)


def test_numbers_that_are_ordered_as_text_are_told(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake = Lake(spark, str(tmp_path))
    for label in ("day-1", "day-2", "day-10"):
        lake.manifests.write(Manifest(label, 1, "run", "passed", 1, 0))
    assert [found.batch for found in find_batches(lake.manifests, "day-1", "day-2")] == ["day-1", "day-10", "day-2"]
    assert "day-10 comes before day-2" in caplog.text
    with pytest.raises(ConfigurationError, match="the range is empty"):
        find_batches(lake.manifests, "day-2", "day-10")


def test_gaps_are_told_of_given_intervals_too(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake = Lake(spark, str(tmp_path))
    given = {"b": "2024-01-01/2024-01-03", "c": "2024-01-01T12:00/2024-01-02", "a": "2024-01-03/2024-01-04"}
    for label, text in {**given, "z": "2024-01-05/2024-01-06"}.items():
        lake.manifests.notes.note(label, read_interval(text), "run")
        lake.manifests.write(Manifest(label, 1, "run", "passed", 1, 0))
    assert [found.batch for found in find_batches(lake.manifests, "b", "a")] == ["b", "c", "a"]
    assert "gaps" not in caplog.text, "the longest of those before reaches that far"
    find_batches(lake.manifests, "b", "z")
    assert caplog.messages == ["the range has gaps: there is no batch just before batch z"]


def test_what_goes_on_after_a_range_is_left_out_and_told(
    spark: SparkSession, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake = Lake(spark, str(tmp_path))
    for label in ("2024-01-29", "2024-01-30", "2024-01-31", "2024-W05"):
        lake.manifests.write(Manifest(label, 1, "run", "passed", 1, 0))
    found = [manifest.batch for manifest in find_batches(lake.manifests, "2024-01-29", "2024-01-31")]
    assert found == ["2024-01-29", "2024-01-30", "2024-01-31"]
    assert caplog.messages == ["not in the range, because they end after it: batch 2024-W05"]
    assert len(find_batches(lake.manifests, "2024-01", "2024-01")) == 4


def test_no_manifest_is_read_to_find_the_order_and_few_to_look_back(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(spark, str(tmp_path))
    start = at("2000-01-01")
    (tmp_path / "_intervals").mkdir()
    for number in range(300):
        (tmp_path / "_batches" / f"{999 - number}").mkdir(parents=True)
        times = "~".join(f"{start + timedelta(days=number + more):%Y%m%dT%H%M%S.%fZ}" for more in (0, 1))
        (tmp_path / "_intervals" / f"{999 - number}~00000001~{times}").touch()
    for number in range(290, 300):
        lake.manifests.write(Manifest(f"{999 - number}", 1, "run", "passed", 1, 0))
    calls: list[Any] = []
    for name in ("folders", "children", "read"):
        method = getattr(FileSystem, name)
        monkeypatch.setattr(FileSystem, name, lambda *a, _do=method, _n=name: (calls.append(_n), _do(*a))[1])
    assert lake.manifests.order().in_order()[:3] == ["999", "998", "997"]
    assert calls == ["folders", "children"]
    new = Interval(start + timedelta(days=300), start + timedelta(days=301))
    found = find_history(lake.manifests, lake.manifests.order().with_batch("new", new), "new", 2)
    assert [manifest.batch for manifest in found.before] == ["700", "701"]
    assert calls[2:] == ["folders", "children"] + ["children", "read"] * 2
