"""Many batches replayed: in order, once each, through interruptions, at its own rate; what is said when it fails."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import emulator
from emulator import EmulatorSettings, Faults, Server
from jobs.errors import UnfinishedError
from jobs.lake.batch_order import BatchOrder
from jobs.ledger.ledger import Ledger
from jobs.replay.batch_range import choose_labels
from tests.jobs.conftest import Job
from tests.jobs.lakes import DAY_ONE, day, days, event, lay

BATCHES, SESSIONS, EACH = int(os.environ.get("REPLAY_BATCHES", "10")), 4, 25
"""A session has three requests, a batch twelve. REPLAY_BATCHES=30 for a month."""
EVENTS, REQUESTS = BATCHES * SESSIONS * EACH, BATCHES * SESSIONS * 3
SLOW = 6
"""Calls a second: 20 s of work or more for three runs of 5 s."""


@pytest.fixture(scope="module")
def month(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("month") / "lake"
    lay(spark, root, days(BATCHES, SESSIONS, EACH))
    return root


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with emulator.running(EmulatorSettings()) as running:
        yield running


def received(server: Server, tracking_id: str) -> list[dict[str, Any]]:
    return [each for each in server.events() if each["trackingId"] == tracking_id]


@pytest.fixture
def delivered(month: Path, server: Server, replay: Job) -> Path:
    """The month, delivered to the tracking id `t`."""
    assert replay(month, day(0), day(BATCHES - 1), "--max-rate", "400", url=server.endpoint_url).code == 0
    return month


# A month.


@pytest.mark.long
def test_a_replay_that_is_stopped_three_times_delivers_every_event_once_in_order_and_then_as_fast_as_told(
    spark: SparkSession, tmp_path: Path, replay: Job
) -> None:
    month = tmp_path / "lake"
    lay(spark, month, days(BATCHES, SESSIONS, EACH))
    with emulator.running(EmulatorSettings()) as server:
        stop_three_times_and_end(month, server, replay)


def stop_three_times_and_end(month: Path, server: Server, replay: Job) -> None:
    delivered = 0
    for seconds in (5, 5, 5, 30):
        if seconds == 30 and delivered:
            break  # a busy machine alone has sent nothing by then
        stopped = replay(
            month, day(0), "2024-01", "--max-rate", str(SLOW), "--max-duration", f"{seconds}s", url=server.endpoint_url
        )
        assert stopped.code == 5
        assert "--max-duration" in stopped.said[0] and "run this again" in stopped.said[0]
        assert stopped.summary["alreadyDelivered"] == delivered
        delivered = len({each["eventId"] for each in received(server, "t")})
        assert stopped.summary["delivered"] == delivered - stopped.summary["alreadyDelivered"]
        assert (stopped.summary["events"], stopped.summary["pending"]) == (EVENTS, EVENTS - delivered)
    assert delivered
    slow = server.summary()["maxArrivalsInASecond"]
    ended = replay(month, day(0), day(BATCHES - 1), "--max-rate", "400", url=server.endpoint_url)
    assert ended.code == 0
    assert (ended.summary["alreadyDelivered"], ended.summary["delivered"]) == (delivered, EVENTS - delivered)
    assert (ended.summary["batches"], ended.summary["batchesDone"]) == (BATCHES, BATCHES)
    # Some calls are longer on their way than others: on a machine that stalls one more may arrive in a second.
    assert slow <= SLOW + 2 < server.summary()["maxArrivalsInASecond"]
    came = received(server, "t")
    wanted = {each["eventId"] for batch in days(BATCHES, SESSIONS, EACH).values() for each in batch}
    assert Counter(each["eventId"] for each in came) == Counter(wanted)
    days_in_order = [int(each["sentAt"]) // 86_400 for each in came]
    assert days_in_order == sorted(days_in_order)
    assert server.summary()["calls"] == REQUESTS


def test_to_the_same_tracking_id_nothing_is_sent_again(delivered: Path, server: Server, replay: Job) -> None:
    before = server.summary()["calls"]
    ended = replay(delivered, day(0), day(BATCHES - 1), url=server.endpoint_url)
    assert ended.code == 0
    assert (ended.summary["alreadyDelivered"], ended.summary["delivered"], ended.summary["requests"]) == (EVENTS, 0, 0)
    assert server.summary()["calls"] == before


def test_put_events_sends_nothing_of_a_batch_that_was_replayed(
    delivered: Path, server: Server, put: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = server.summary()["calls"]
    ended = put(server.endpoint_url, batch=day(3), more=("--lake", str(delivered)))
    assert (ended.code, ended.summary["alreadyDelivered"]) == (0, SESSIONS * EACH)
    assert server.summary()["calls"] == before


def test_to_another_tracking_id_the_same_events_go_again(delivered: Path, server: Server, replay: Job) -> None:
    ended = replay(delivered, day(0), day(1), url=server.endpoint_url, tracking_id="other")
    assert (ended.code, ended.summary["delivered"]) == (0, 2 * SESSIONS * EACH)
    wanted = [each["eventId"] for each in days(2, SESSIONS, EACH)[day(0)]]
    came = Counter(each["eventId"] for each in received(server, "other"))
    assert len(came) == 2 * SESSIONS * EACH
    assert all(came[eventId] == 1 for eventId in wanted)


def test_a_plan_says_what_is_left_and_calls_nobody(month: Path, server: Server, replay: Job) -> None:
    assert replay(month, day(0), day(1), url=server.endpoint_url, tracking_id="planned").code == 0
    before = server.summary()["calls"]
    ended = replay(month, day(0), day(9), "--plan", "--max-rate", "0.5", url=server.endpoint_url, tracking_id="planned")
    assert (ended.code, server.summary()["calls"]) == (0, before)
    told = ended.summary
    assert (told["batches"], told["batchesDone"]) == (10, 2)
    assert (told["events"], told["alreadyDelivered"], told["pending"]) == (1000, 200, 800)
    assert told["requestsMinimum"] == 8 * SESSIONS * 3
    assert told["plan"]["hoursAtRate"] == pytest.approx((96 / 0.5 + 8 * 2) / 3600, abs=0.001)  # 2 s a batch beside


# By one batch or some.


@pytest.mark.parametrize(
    ("labels", "last", "taken"),
    [
        pytest.param("day-1 day-10 day-2", "day-1", "day-1", id="a number goes on"),
        pytest.param("1 10 2", "1", "1", id="a number alone"),
        pytest.param("1 1.5 10", "1", "1 1.5", id="a sign parts"),
        pytest.param("2024-01 2024-01-02 2024-01-02T03 2024-02", "2024-01", "2024-01 2024-01-02 2024-01-02T03", id="m"),
        pytest.param("2024 2024-01 2025", "2024", "2024-01 2024", id="year"),
        pytest.param("2024-01-02 2024-01-02T03 2024-01-03", "2024-01-02", "2024-01-02 2024-01-02T03", id="day"),
        pytest.param("20240102 20240102T03 20240103", "20240102", "20240102 20240102T03", id="day without signs"),
        pytest.param("20240102 20240131 20240201", "202401", "20240102 20240131", id="what no batch bears"),
        pytest.param("day-10 day-11", "day-1", "", id="a number goes on"),
        pytest.param("2024-10-01 2024-11-01", "2024-1", "", id="so does a month"),
        pytest.param("2024-01-31 2024-02-01", "202", "", id="and a year"),
        pytest.param("day-10 day_2 dayton", "day", "day-10 day_2", id="a word ends at a sign"),
        pytest.param("2024-01-30 2024-01-31-b 2024-02-01", "2024-01", "2024-01-30 2024-01-31-b", id="and more"),
        pytest.param("2024-W05 2024-02-01 2024-W06", "2024-01", "2024-W05", id="a week belongs to where it begins"),
        pytest.param("2024-W05 2024-02-01 2024-W06", "2024-02", "2024-02-01 2024-W06", id="and to no other month"),
        pytest.param("2024-01-05T00 2024-01-05", "2024-01-05T00", "2024-01-05T00", id="not the day around an hour"),
    ],
)
def test_a_label_takes_what_is_finer_and_a_beginning_all_that_begins_so(labels: str, last: str, taken: str) -> None:
    assert choose_labels(BatchOrder(tuple(labels.split())), last, last) == taken.split()


def failing(spark: SparkSession, root: Path) -> Path:
    lay(spark, root, days(4, 1, 1), failed=[day(1), day(2)])
    return root


@pytest.mark.parametrize(
    ("first", "last", "code", "words"),
    [
        pytest.param(
            "2023-01-01", day(3), 2, ["--from 2023-01-01", "no such batch", "2024-01-01 to 2024-01-04"], id="unknown"
        ),
        pytest.param(day(0), "2024-1-4", 2, ["--to 2024-1-4", "no such batch"], id="mistyped"),
        pytest.param(day(3), day(0), 2, ["range is empty"], id="empty"),
        pytest.param(
            day(0), day(3), 3, ["2024-01-02, 2024-01-03", "failed the gate", "of the range is sent"], id="gate"
        ),
    ],
)
def test_a_range_that_cannot_be_sent_is_told_and_nothing_is_sent(
    spark: SparkSession, tmp_path: Path, replay: Job, server: Server, first: str, last: str, code: int, words: list[str]
) -> None:
    before = server.summary()["calls"]
    ended = replay(failing(spark, tmp_path / "lake"), first, last, url=server.endpoint_url)
    assert ended.code == code
    assert all(word in " ".join(ended.said) for word in words)
    assert "Traceback" not in " ".join(ended.said)
    assert server.summary()["calls"] == before


def test_a_range_around_failed_batches_is_sent(
    spark: SparkSession, tmp_path: Path, replay: Job, server: Server
) -> None:
    ended = replay(failing(spark, tmp_path / "lake"), day(3), day(3), url=server.endpoint_url, tracking_id="around")
    assert (ended.code, ended.summary["delivered"]) == (0, 1)


def test_a_lake_without_batches_is_told(tmp_path: Path, replay: Job) -> None:
    (tmp_path / "_batches").mkdir()
    ended = replay(tmp_path, day(0), day(1))
    assert (ended.code, ended.said) == (2, ["the lake has no batches: run build_events first"])


@pytest.mark.parametrize("options", [(), ("--plan",), ("--bulk-export", "out")])
def test_a_lake_that_is_not_there_is_told_and_not_made(
    tmp_path: Path, replay: Job, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = replay(tmp_path / "typo", day(0), day(1), *options)
    assert ended.code == 2
    assert f"--lake {tmp_path / 'typo'}: there is no lake" in ended.said[0]
    assert list(tmp_path.iterdir()) == []


def test_a_lake_of_a_newer_layout_is_told(spark: SparkSession, tmp_path: Path, replay: Job) -> None:
    lay(spark, tmp_path, days(1, 1, 1))
    (manifest,) = (tmp_path / "_batches" / day(0)).glob("*.json")
    (manifest.parent / f".{manifest.name}.crc").unlink()
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "layout": 99}))
    ended = replay(tmp_path, day(0), day(0))
    assert ended.code == 2
    assert "its layout is 99" in ended.said[0] and "upgrade" in ended.said[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--plan", "--bulk-export", "x"), "--plan"),
        (("--until", "25:00"), "--until"),
        (("--max-duration", "soon"), "--max-duration"),
        (("--max-duration", "-5m"), "--max-duration: expected one argument: its value is missing, or begins with '-'"),
        (("--plan", "--until", "06:00"), "--plan and --bulk-export send nothing"),
        (("--bulk-export", "x", "--max-duration", "5m"), "--plan and --bulk-export send nothing"),
        (("--region", ""), "--region: must not be empty"),
    ],
)
def test_a_command_line_that_is_not_right_is_told(
    tmp_path: Path, replay: Job, options: tuple[str, ...], words: str
) -> None:
    ended = replay(tmp_path, day(0), day(0), *options)
    assert ended.code == 2
    assert words in ended.said[0]


@pytest.mark.parametrize("folder", ["", " "])
def test_an_export_to_a_folder_without_a_name_sends_nothing(
    month: Path, server: Server, replay: Job, folder: str
) -> None:
    before = server.summary()["calls"]
    ended = replay(month, day(0), day(0), "--bulk-export", folder, url=server.endpoint_url, tracking_id="unset")
    assert (ended.code, server.summary()["calls"]) == (2, before)
    assert "--bulk-export: must not be empty" in ended.said[0]


def test_poison_goes_to_dead_letters_and_the_batches_after_it_are_sent(
    spark: SparkSession, tmp_path: Path, replay: Job, serve: Callable[..., Server]
) -> None:
    batches = days(2, 1, 12)
    batches[day(0)][3]["itemId"] = "bad"
    lay(spark, tmp_path, batches)
    server = serve(faults=Faults(poison_items=frozenset({"bad"})))
    ended = replay(tmp_path, day(0), day(1), url=server.endpoint_url)
    again = replay(tmp_path, day(0), day(1), url=server.endpoint_url)
    assert (ended.code, ended.summary["delivered"], ended.summary["deadLettered"]) == (4, 23, 1)
    assert (again.code, again.summary["alreadyDelivered"], again.summary["deadLettered"]) == (4, 23, 1)
    assert [(one.summary["events"], one.summary["pending"]) for one in (ended, again)] == [(24, 0)] * 2


def test_a_run_that_was_killed_after_its_last_receipt_has_its_dead_letters_written_by_the_next(
    spark: SparkSession,
    tmp_path: Path,
    replay: Job,
    serve: Callable[..., Server],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    batches = days(2, 1, 12)
    batches[day(0)][3]["itemId"] = "bad"
    lay(spark, tmp_path, batches)
    server = serve(faults=Faults(poison_items=frozenset({"bad"})))
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "conclude", lambda *_: (_ for _ in ()).throw(UnfinishedError("killed")))
        assert replay(tmp_path, day(0), day(0), url=server.endpoint_url).code == 5
    assert not (tmp_path / "dead_letters").exists()
    calls = server.summary()["calls"]
    ended = replay(tmp_path, day(0), day(0), url=server.endpoint_url)
    assert (ended.code, ended.summary["alreadyDelivered"], ended.summary["deadLettered"]) == (4, 11, 1)
    (letter,) = spark.read.parquet(str(tmp_path / "dead_letters")).collect()
    assert letter.itemId == "bad"
    assert "1 events are in dead_letters" in caplog.text
    assert server.summary()["calls"] == calls
    assert list((tmp_path / "_plans").glob("*/*.done"))


# A bulk import's files.


def exported(folder: Path) -> list[dict[str, str]]:
    """Read what an import would: all that lies in the folder itself, and nothing of the folders in it."""
    rows = []
    for part in sorted(each for each in folder.iterdir() if each.is_file()):
        with part.open(newline="", encoding="utf-8") as text:
            rows += list(csv.DictReader(text))
    return rows


def test_an_export_holds_what_an_import_takes_and_counts_the_rest(
    spark: SparkSession, tmp_path: Path, replay: Job
) -> None:
    at = DAY_ONE + timedelta(milliseconds=1500)
    odd = 'a "b", c'
    events = [
        event("1", at, userId="u1", itemId="i1", eventValue=12.5, properties={"numberOfRatings": "12", "note": odd}),
        event("2", at, session="login", itemId="i2"),
        event("3", at + timedelta(seconds=9), session="login", itemId="i3", userId="u2"),
        event("4", at, session="nobody", itemId="i4"),
        event("5", at, userId="u1", itemId=None),
    ]
    lay(spark, tmp_path / "lake", {day(0): events})
    ended = replay(tmp_path / "lake", day(0), day(0), "--bulk-export", str(tmp_path / "out"))
    assert ended.code == 0
    assert ended.summary["bulkExport"] == {
        "exported": 3,
        "withoutUser": 1,
        "withoutItem": 1,
        "withSeparator": 0,
        "leftOut": [],
    }
    assert (ended.summary["events"], ended.summary["pending"]) == (5, 5)
    rest = {"EVENT_TYPE": "view", "EVENT_VALUE": "", "NOTE": "", "NUMBER_OF_RATINGS": ""}
    first = {"USER_ID": "u1", "ITEM_ID": "i1", "TIMESTAMP": "1704067201", "EVENT_TYPE": "view", "EVENT_VALUE": "12.5"}
    assert sorted(exported(tmp_path / "out"), key=lambda row: row["ITEM_ID"]) == [
        {**first, "NOTE": odd, "NUMBER_OF_RATINGS": "12"},
        {"USER_ID": "u2", "ITEM_ID": "i2", "TIMESTAMP": "1704067201", **rest},
        {"USER_ID": "u2", "ITEM_ID": "i3", "TIMESTAMP": "1704067210", **rest},
    ]
    schema = json.loads((tmp_path / "out" / "schema" / "interactions.json").read_text())
    assert [field["name"] for field in schema["fields"]] == list(exported(tmp_path / "out")[0])
    again = replay(tmp_path / "lake", day(0), day(0), "--bulk-export", str(tmp_path / "out"))
    assert (again.code, "is not empty" in again.said[0]) == (2, True)


def test_an_export_is_csv_and_one_schema_and_nothing_else(spark: SparkSession, tmp_path: Path, replay: Job) -> None:
    lay(spark, tmp_path / "lake", days(2, 3, 20))
    out = tmp_path / "out"
    ended = replay(tmp_path / "lake", day(0), day(1), "--bulk-export", str(out))
    assert (ended.code, ended.summary["bulkExport"]["exported"]) == (0, 120)
    files = sorted(each.relative_to(out) for each in out.rglob("*") if each.is_file())
    assert [file for file in files if file.suffix != ".csv"] == [Path("schema/interactions.json")]
    assert all(file.parent == Path() for file in files if file.suffix == ".csv")
    assert len(exported(out)) == 120


ODD_TEXTS = [
    *('"', '""', '"a', 'a"', 'a""b', "\\", '\\"', "a\\", '\\\\"', ",", '""","', "'", 'a "b", c', "|", "=1+1", "#x"),
    *("a\nb", "a\rb", "a\r\nb", "\n", " lead", "trail ", " ", "\t", "\x00", "a\x00b", "\x0b", "\x1c", "\x85", "\u2028"),
    *("\ufeffx", "\u00e9\U0001f600", "null", "NULL", "NaN"),
]


def test_each_field_of_an_export_is_the_lakes(spark: SparkSession, tmp_path: Path, replay: Job) -> None:
    """Read by another reader than Spark's: in each column that holds text, beside others that do."""
    events = [
        event(
            str(number),
            DAY_ONE + timedelta(seconds=number),
            userId=f"u{text}",
            itemId=f"{text}i",
            eventType=text,
            impression=["a", text.replace("|", "")] if text.replace("|", "") else None,
            properties={"first": text, "middle": text, "zLast": text} if number % 2 else {"middle": text},
        )
        for number, text in enumerate(ODD_TEXTS)
    ]
    lay(spark, tmp_path / "lake", {day(0): events})
    ended = replay(tmp_path / "lake", day(0), day(0), "--bulk-export", str(tmp_path / "out"))
    assert (ended.code, ended.summary["bulkExport"]["exported"]) == (0, len(ODD_TEXTS))
    found = sorted(exported(tmp_path / "out"), key=lambda row: int(row["TIMESTAMP"]))
    wanted = [
        {
            "USER_ID": one["userId"],
            "ITEM_ID": one["itemId"],
            "TIMESTAMP": str(int(one["sentAt"].timestamp())),
            "EVENT_TYPE": one["eventType"],
            "EVENT_VALUE": "",
            "IMPRESSION": "|".join(one["impression"] or []),
            "FIRST": one["properties"].get("first", ""),
            "MIDDLE": one["properties"]["middle"],
            "Z_LAST": one["properties"].get("zLast", ""),
        }
        for one in events
    ]
    assert found == wanted


def test_an_impression_that_an_import_would_take_for_another_is_left_out_and_counted(
    spark: SparkSession, tmp_path: Path, replay: Job, caplog: pytest.LogCaptureFixture
) -> None:
    seen = [None, ["a", "b"], ["a|b"], ["a", "|"], ["a", "b", "c|"], ["a"]]
    events = [
        event(str(number), DAY_ONE, userId="u", itemId=f"i{number}|", impression=items)
        for number, items in enumerate(seen)
    ]
    events.append(event("nobody", DAY_ONE, session="nobody", impression=["x|y"]))
    lay(spark, tmp_path / "lake", {day(0): events})
    ended = replay(tmp_path / "lake", day(0), day(0), "--bulk-export", str(tmp_path / "out"))
    assert ended.code == 0
    assert ended.summary["bulkExport"] == {
        "exported": 3,
        "withoutUser": 1,
        "withoutItem": 0,
        "withSeparator": 3,
        "leftOut": [],
    }
    assert (ended.summary["events"], ended.summary["pending"]) == (7, 7)
    found = {row["ITEM_ID"]: row["IMPRESSION"] for row in exported(tmp_path / "out")}
    assert found == {"i0|": "", "i1|": "a|b", "i5|": "a"}
    assert "3 events are left out: an item id of their impression holds '|'" in caplog.text
    assert "a|b" not in caplog.text


def test_an_export_asks_delivered_batches_of_the_range_whose_a_session_is(
    spark: SparkSession, tmp_path: Path, replay: Job, serve: Callable[..., Server]
) -> None:
    at, login = DAY_ONE + timedelta(hours=23), DAY_ONE + timedelta(hours=25)
    lay(
        spark,
        tmp_path / "lake",
        {day(0): [event("1", at, itemId="i1")], day(1): [event("2", login, itemId="i2", userId="u2")], day(2): []},
    )
    url = serve().endpoint_url
    assert replay(tmp_path / "lake", day(1), day(1), url=url).summary["delivered"] == 1
    ended = replay(tmp_path / "lake", day(0), day(2), "--bulk-export", str(tmp_path / "out"), url=url)
    assert (ended.code, ended.summary["bulkExport"]["exported"], ended.summary["batchesDone"]) == (0, 1, 2)
    assert [(row["USER_ID"], row["ITEM_ID"]) for row in exported(tmp_path / "out")] == [("u2", "i1")]
    alone = replay(tmp_path / "lake", day(0), day(0), "--bulk-export", str(tmp_path / "alone"), url=url)
    assert alone.summary["bulkExport"]["withoutUser"] == 1


def test_properties_that_no_column_can_hold_are_named(
    spark: SparkSession, tmp_path: Path, replay: Job, caplog: pytest.LogCaptureFixture
) -> None:
    kept = {"eventValue": "5", "itemId": "x", "deviceOs": "ios"}
    events = [
        event("1", DAY_ONE, userId="u", properties=kept),
        event("2", DAY_ONE, userId="v", properties={"deviceOS": "IOS"}),
    ]
    lay(spark, tmp_path / "lake", {day(0): events})
    ended = replay(tmp_path / "lake", day(0), day(0), "--bulk-export", str(tmp_path / "out"))
    assert ended.summary["bulkExport"] == {
        "exported": 2,
        "withoutUser": 0,
        "withoutItem": 0,
        "withSeparator": 0,
        "leftOut": ["eventValue", "itemId"],
    }
    assert "no column can hold the properties eventValue, itemId" in caplog.text
    assert {(row["USER_ID"], row["ITEM_ID"], row["DEVICE_OS"]) for row in exported(tmp_path / "out")} == {
        ("u", "i", "ios"),
        ("v", "i", "IOS"),
    }


def test_a_batch_without_events_is_settled_for_a_plan(spark: SparkSession, tmp_path: Path, replay: Job) -> None:
    lay(spark, tmp_path, {**days(1, 1, 1), day(1): []})
    ended = replay(tmp_path, day(0), day(1), "--plan")
    assert (ended.code, ended.summary["batches"], ended.summary["batchesDone"]) == (0, 2, 1)
