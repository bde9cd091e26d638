"""What has become of an event, over several runs of several batches: sent once, counted once, said once."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import emulator
from delivery.http.endpoint import TrackerEndpoint
from emulator import EmulatorSettings, Faults, Server
from jobs.lake.tables import Lake
from jobs.ledger.tracker_ledger import TrackerLedger
from tests.jobs.conftest import Ended, Job
from tests.jobs.lakes import DAY_ONE, Event, day, days, event, lay
from tests.jobs.processes import PATIENCE, end, start, wait_for

Serve = Callable[..., Server]
EVENTS = days(1, 3, 200)[day(0)]
"""600 events in 60 requests."""
POISON = Faults(poison_items=frozenset({"bad"}))
RETRY = ("--retry-dead-letters",)
SLOW = ("--max-rate", "8")
COUNTS = ("events", "alreadyDelivered", "delivered", "deadLettered", "pending")


@contextmanager
def interrupted_at(server: Server, accepted: int) -> Iterator[None]:
    """Press Ctrl-C as soon as a service has accepted so many calls."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            if server.summary()["accepted"] >= accepted:
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def port(server: Server) -> int:
    return int(server.endpoint_url.rpartition(":")[2])


def counts(ended: Ended) -> tuple[int, ...]:
    """The exit code, and what became of the events; they add up whatever happened."""
    numbers = [ended.summary[name] for name in COUNTS]
    assert numbers[0] == sum(numbers[1:])
    return (ended.code, *numbers)


def received(server: Server) -> Counter[str]:
    return Counter(each["eventId"] for each in server.events())


def bad(events: list[Event], *places: int) -> list[Event]:
    return [{**each, "itemId": "bad"} if place in places else each for place, each in enumerate(events)]


def letters(spark: SparkSession, lake: Path, batch: str) -> set[str]:
    folder = lake / "dead_letters" / f"batch={batch}"
    if not folder.exists():
        return set()
    rows = spark.read.option("recursiveFileLookup", "true").schema("eventId STRING").parquet(str(folder))
    return {row.eventId for row in rows.collect()}


# A plan is taken up.


def test_a_plan_that_is_taken_up_is_held_against_what_other_batches_have_delivered_meanwhile(
    spark: SparkSession, put: Job, serve: Serve, lake: Path
) -> None:
    lay(spark, lake, {day(0): EVENTS, day(1): EVENTS})
    server = serve(latency_ms=50.0)
    with interrupted_at(server, 6):
        first = put(server.endpoint_url, day(0), more=SLOW)
    sent = first.summary["delivered"]
    assert first.code == 5 and 60 <= sent < 400
    assert counts(put(server.endpoint_url, day(1))) == (0, 600, sent, 600 - sent, 0, 0)
    calls = server.summary()["calls"]
    assert counts(put(server.endpoint_url, day(0))) == (0, 600, 600, 0, 0, 0)
    assert server.summary()["calls"] == calls
    assert set(received(server).values()) == {1} and len(received(server)) == 600


def test_a_plan_that_is_taken_up_sends_what_nobody_else_has_and_counts_what_others_had_refused(
    spark: SparkSession, put: Job, serve: Serve, lake: Path
) -> None:
    """The other batch holds every third event of this one, two of them bad, and some of its own."""
    events = bad(EVENTS, 594, 597)
    lay(spark, lake, {day(0): events, day(1): events[::3] + days(2, 1, 20)[day(1)]})
    server = serve(latency_ms=50.0, faults=POISON)
    with interrupted_at(server, 6):
        first = put(server.endpoint_url, day(0), more=SLOW)
    assert first.code == 5 and first.summary["deadLettered"] == 0
    mine = received(server)
    other = put(server.endpoint_url, day(1))
    assert (other.code, other.summary["deadLettered"]) == (4, 2)
    before = received(server)
    ended = put(server.endpoint_url, day(0))
    known = {each["eventId"] for each in events} & set(before)
    assert counts(ended) == (4, 600, len(known), 598 - len(known), 2, 0)
    assert set(mine) < known and set(received(server).values()) == {1}
    assert len(received(server)) == 618
    assert letters(spark, lake, day(0)) == {events[594]["eventId"], events[597]["eventId"]}


def test_a_plan_that_nothing_came_between_is_taken_up_as_it_was_fixed(
    spark: SparkSession, put: Job, serve: Serve, lake: Path
) -> None:
    lay(spark, lake, {day(0): EVENTS, day(9): days(10, 1, 20)[day(9)]})
    server = serve(latency_ms=50.0)
    with interrupted_at(server, 6):
        assert put(server.endpoint_url, day(0), more=SLOW).code == 5
    (fixed,) = (lake / "_plans").rglob("*.json")
    assert put(server.endpoint_url, day(9)).code == 0  # its events happened at another time
    ended = put(server.endpoint_url, day(0))
    assert ended.code == 0 and server.summary()["accepted"] == 62
    assert [path for path in (lake / "_plans").rglob("*.json") if day(0) in path.name] == [fixed]


# Two at once.


@pytest.mark.long
def test_of_two_deliveries_to_one_tracker_the_second_leaves_though_it_is_of_another_batch(
    spark: SparkSession, put: Job, serve: Serve, lake: Path, tmp_path: Path
) -> None:
    lay(spark, lake, {day(0): EVENTS, day(1): EVENTS})
    server = serve(latency_ms=20.0)
    log = tmp_path / "first.log"
    where = ["--lake", str(lake), "--tracking-id", "t", "--region", "eu-west-1", "--endpoint-url", server.endpoint_url]
    first = start("spark-submit", "jobs/put_events.py", *where, "--batch", day(0), "--max-rate", "3", log=log)
    try:
        wait_for(lambda: server.summary()["accepted"])
        second = put(server.endpoint_url.replace("http", "HTTP") + "/", day(1))
        other = put(server.endpoint_url, day(1), tracking_id="another")
    finally:
        first.terminate()
        code = first.wait(PATIENCE)
        end(first)
    assert (second.code, second.summary["attempts"]) == (5, 0)
    assert "holds it: wait until it ends" in second.said[0] and str(first.pid) not in second.said[0][:20]
    assert (other.code, other.summary["delivered"]) == (0, 600)
    assert code == 5
    assert put(server.endpoint_url, day(1)).code == 0
    assert set(received(server).values()) == {2}  # once by each tracker


# The final state of an event.


def test_what_was_delivered_once_refused_later_and_mended_is_sent_by_a_retry(
    spark: SparkSession, put: Job, serve: Serve, lake: Path
) -> None:
    events = bad(EVENTS[:40], 3, 17)
    names = {events[3]["eventId"], events[17]["eventId"]}
    lay(spark, lake, {day(0): events})
    with emulator.running() as first:
        at = port(first)
        assert counts(put(first.endpoint_url, day(0))) == (0, 40, 0, 40, 0, 0)
    with emulator.running(EmulatorSettings(port=at, faults=POISON)) as refusing:
        assert counts(put(refusing.endpoint_url, day(0), more=("--resend",))) == (4, 40, 0, 38, 2, 0)
        assert letters(spark, lake, day(0)) == names
        assert counts(put(refusing.endpoint_url, day(0))) == (4, 40, 38, 0, 2, 0)
    mended = serve(port=at)
    assert counts(put(mended.endpoint_url, day(0), more=RETRY)) == (0, 40, 38, 2, 0, 0)
    assert set(received(mended)) == names
    assert letters(spark, lake, day(0)) == set()
    assert counts(put(mended.endpoint_url, day(0))) == (0, 40, 40, 0, 0, 0)


def test_a_driver_whose_clock_was_ahead_does_not_have_the_last_word(
    spark: SparkSession, put: Job, serve: Serve, lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(minutes=10)

    lay(spark, lake, {day(0): bad(EVENTS[:40], 1, 2, 3, 14, 15, 26)})
    with emulator.running(EmulatorSettings(faults=POISON)) as refusing, monkeypatch.context() as patch:
        at = port(refusing)
        patch.setattr("jobs.cli.run.datetime", Ahead)
        assert counts(put(refusing.endpoint_url, day(0))) == (4, 40, 0, 34, 6, 0)
    mended = serve(port=at)
    assert counts(put(mended.endpoint_url, day(0), more=RETRY)) == (0, 40, 34, 6, 0, 0)
    assert letters(spark, lake, day(0)) == set()
    for _ in range(2):
        assert counts(put(mended.endpoint_url, day(0))) == (0, 40, 40, 0, 0, 0)


def test_a_dead_letter_of_two_batches_is_one_of_both_until_it_is_taken(
    spark: SparkSession, put: Job, serve: Serve, lake: Path
) -> None:
    events = bad(EVENTS[:40], 7)
    lay(spark, lake, {day(0): events, day(1): events})
    with emulator.running(EmulatorSettings(faults=POISON)) as refusing:
        at = port(refusing)
        assert counts(put(refusing.endpoint_url, day(0))) == (4, 40, 0, 39, 1, 0)
        assert counts(put(refusing.endpoint_url, day(1))) == (4, 40, 39, 0, 1, 0)
    assert letters(spark, lake, day(0)) == letters(spark, lake, day(1)) == {events[7]["eventId"]}
    mended = serve(port=at)
    assert counts(put(mended.endpoint_url, day(1), more=RETRY)) == (0, 40, 39, 1, 0, 0)
    for batch in (day(0), day(1)):
        assert counts(put(mended.endpoint_url, batch)) == (0, 40, 40, 0, 0, 0)
        assert letters(spark, lake, batch) == set()
    assert mended.summary()["calls"] == 1


# The batch is accounted for, not the choice.


def test_a_retry_of_dead_letters_counts_what_still_waits_of_the_batch(
    spark: SparkSession, put: Job, serve: Serve, lake: Path
) -> None:
    """Thirteen bad events stand alone in their requests, and come first."""
    alone = [event(f"bad-{n}", DAY_ONE, session=f"a-{n}", userId="a", itemId="bad") for n in range(13)]
    events = alone + days(1, 3, 600)[day(0)]
    lay(spark, lake, {day(0): events})
    with emulator.running(EmulatorSettings(latency_ms=20.0, faults=POISON)) as server:
        at = port(server)
        with interrupted_at(server, 110):
            first = put(server.endpoint_url, day(0), more=("--max-rate", "30"))
    was = first.summary
    assert first.code == 5 and was["pending"] > 0 and was["deadLettered"] > 0
    mended = serve(port=at)
    ended = put(mended.endpoint_url, day(0), more=RETRY)
    assert counts(ended) == (5, 1813, was["delivered"], was["deadLettered"], 0, was["pending"])
    assert f"{was['pending']:,} events are pending" in ended.said[0] and "without --retry-dead-letters" in ended.said[0]
    assert letters(spark, lake, day(0)) == set()
    again = put(mended.endpoint_url, day(0), more=RETRY)
    assert counts(again) == (5, 1813, 1813 - was["pending"], 0, 0, was["pending"])
    assert counts(put(mended.endpoint_url, day(0))) == (0, 1813, 1813 - was["pending"], was["pending"], 0, 0)
    assert set(received(mended).values()) == {1}
    assert len(received(mended)) == 1813 - was["delivered"]


def test_a_retry_of_dead_letters_before_anything_was_sent_says_that_all_waits(
    spark: SparkSession, put: Job, serve: Serve, lake: Path
) -> None:
    lay(spark, lake, {day(0): EVENTS})
    server = serve()
    assert counts(put(server.endpoint_url, day(0), more=RETRY)) == (5, 600, 0, 0, 0, 600)
    assert server.summary()["calls"] == 0


def test_a_retry_without_dead_letters_leaves_the_plan_that_waits(
    spark: SparkSession, put: Job, serve: Serve, lake: Path
) -> None:
    lay(spark, lake, {day(0): EVENTS})
    server = serve(latency_ms=50.0)
    with interrupted_at(server, 6):
        first = put(server.endpoint_url, day(0), more=SLOW)
    (fixed,) = (lake / "_plans").rglob("*.json")
    ended = put(server.endpoint_url, day(0), more=RETRY)
    assert counts(ended) == (5, 600, first.summary["delivered"], 0, 0, first.summary["pending"])
    last = put(server.endpoint_url, day(0))
    assert last.code == 0 and server.summary()["accepted"] == 60
    assert list((lake / "_plans").rglob("*.json")) == [fixed]


@pytest.mark.long
def test_a_resend_of_a_batch_that_waits_and_its_interruption_add_up(
    spark: SparkSession, put: Job, serve: Serve, lake: Path
) -> None:
    lay(spark, lake, {day(0): EVENTS})
    server = serve(latency_ms=50.0)
    with interrupted_at(server, 6):
        first = put(server.endpoint_url, day(0), more=SLOW)
    assert first.code == 5
    once = received(server)
    with interrupted_at(server, server.summary()["accepted"] + 6):
        second = put(server.endpoint_url, day(0), more=("--resend", *SLOW))
    sent = second.summary["delivered"]
    assert counts(second) == (5, 600, 0, sent, 0, 600 - sent)
    assert counts(put(server.endpoint_url, day(0), more=("--resend",))) == (0, 600, sent, 600 - sent, 0, 0)
    assert received(server) == once + Counter(each["eventId"] for each in EVENTS)
    assert counts(put(server.endpoint_url, day(0))) == (0, 600, 600, 0, 0, 0)


# What comes late.


def test_what_a_run_that_has_lost_the_lock_still_writes_is_not_the_last_word(
    spark: SparkSession, put: Job, serve: Serve, lake: Path
) -> None:
    """It was suspended with refusals in its hands; the next run has sent the batch meanwhile, without a refusal."""
    lay(spark, lake, {day(0): EVENTS[:40]})
    server = serve()
    service = TrackerEndpoint("t", "eu-west-1", server.endpoint_url)
    tracker = TrackerLedger(Lake(spark, str(lake)), service)
    suspended = tracker.next_epoch()
    assert counts(put(server.endpoint_url, day(0))) == (0, 40, 0, 40, 0, 0)
    late = {"requestId": "r", "sessionId": "s", "eventIds": [EVENTS[0]["eventId"]], "status": "refused"}
    tracker.receipts(day(0)).write(suspended, "plan", "run", [{**late, "startedAt": 4_000_000_000_000_000}])
    shutil.rmtree(lake / "_plans")  # so that the batch is looked at again
    assert counts(put(server.endpoint_url, day(0), more=RETRY)) == (0, 40, 40, 0, 0, 0)
    assert counts(put(server.endpoint_url, day(0))) == (0, 40, 40, 0, 0, 0)
    assert letters(spark, lake, day(0)) == set() and server.summary()["accepted"] == 4


def test_each_run_takes_the_next_number_and_two_never_the_same(spark: SparkSession, lake: Path) -> None:
    trackers = [TrackerLedger(Lake(spark, str(lake)), TrackerEndpoint("t", "eu-west-1", "http://h")) for _ in range(3)]
    assert [tracker.next_epoch() for tracker in trackers] == [1, 2, 3]
    assert [path.name for path in (lake / "_epochs" / trackers[0].name).glob("[0-9]*")] == ["3"]
    other = TrackerLedger(Lake(spark, str(lake)), TrackerEndpoint("t", "us-east-1", "http://h"))
    assert other.next_epoch() == 1
