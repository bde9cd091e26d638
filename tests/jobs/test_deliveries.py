"""A delivery over several runs: interrupted, refused, repeated, held by somebody else."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import emulator
from delivery.http.endpoint import TrackerEndpoint
from emulator import EmulatorSettings, Faults, Server, is_poison
from jobs.lake.filesystem import FileSystem
from jobs.lake.tables import Lake
from jobs.ledger.tracker_ledger import TrackerLedger
from jobs.locking.locks import hold_lock

Serve = Callable[..., Server]
BATCH = "2024-01-02"


def received(server: Server) -> Counter[str]:
    return Counter(event["eventId"] for event in server.events())


def receipts(lake: Path) -> list[Path]:
    return sorted((lake / "receipts").rglob("*.parquet"))


@contextmanager
def when(ready: Callable[[], object], act: Callable[[], None]) -> Iterator[None]:
    """Do something as soon as something is so, while the block runs."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            if ready():
                act()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_delivery_ends_cleanly_and_is_taken_up_where_it_was_left(
    spark: SparkSession, built: Any, put: Any, serve: Serve, lake: Path
) -> None:
    server, _ = serve(latency_ms=100.0), built(each=200)
    with when(lambda: server.summary()["accepted"] >= 15, interrupt):
        first = put(server.endpoint_url, more=("--max-rate", "8"))
    assert first.code == 5
    (said,) = first.said  # on a busy machine the signal may be heard by what comes after the sending, in other words
    assert said.startswith("interrupted: ") and "it resumes" in said
    assert first.summary["delivered"] == len(received(server))  # every call that was under way was waited for
    assert first.summary["delivered"] + first.summary["pending"] == 600
    second = put(server.endpoint_url)
    assert (second.code, second.summary["delivered"]) == (0, first.summary["pending"])
    assert second.summary["alreadyDelivered"] == first.summary["delivered"]
    assert second.summary["requestsMinimum"] + first.summary["requests"] == 60 == server.summary()["accepted"]
    assert set(received(server).values()) == {1} and len(received(server)) == 600
    assert not list((lake / "_plans").rglob("*.parquet"))  # a plan that is done takes no room


def test_receipts_are_there_before_the_delivery_ends(built: Any, put: Any, serve: Serve, lake: Path) -> None:
    server, _ = serve(), built(each=300)
    seen: list[int] = []
    with when(lambda: len(receipts(lake)) >= 2, lambda: seen.append(server.summary()["accepted"])):
        ended = put(server.endpoint_url, more=("--max-rate", "10"))
    assert ended.code == 0
    assert seen and 0 < seen[0] < 90


def test_a_receipt_that_a_crash_cut_short_is_none(built: Any, put: Any, serve: Serve, lake: Path) -> None:
    server, _ = serve(), built()
    put(server.endpoint_url)
    whole = receipts(lake)  # one or, on a slow machine, more: a file about every second
    for file in whole:
        content = file.read_bytes()
        (file.parent / f".{file.name}.crc").unlink()
        file.write_bytes(content[: len(content) // 2])
    shutil.rmtree(lake / "_plans")  # such a crash comes before the delivery has ended
    again = put(server.endpoint_url)
    assert (again.code, again.summary["alreadyDelivered"], again.summary["delivered"]) == (0, 0, 75)
    assert whole and not set(whole) & set(receipts(lake))
    assert put(server.endpoint_url).summary["alreadyDelivered"] == 75


def test_what_another_batch_delivered_is_not_sent_again(built: Any, put: Any, serve: Serve) -> None:
    server, _ = serve(), built()
    built(
        batch="2024-01-03", each=30, more=("--look-back", "0", "--interval", "2024-01-01/2024-01-04")
    )  # 75 of its 90 events are the other's
    put(server.endpoint_url)
    ended = put(server.endpoint_url, batch="2024-01-03")
    assert (ended.summary["alreadyDelivered"], ended.summary["delivered"]) == (75, 15)
    assert server.summary()["duplicateEventIds"] == 0


def test_resend_sends_all_of_it_again_and_only_then(built: Any, put: Any, serve: Serve) -> None:
    server, _ = serve(), built()
    put(server.endpoint_url)
    again = put(server.endpoint_url, more=("--resend",))
    assert (again.code, again.summary["alreadyDelivered"], again.summary["delivered"]) == (0, 0, 75)
    assert set(received(server).values()) == {2}
    assert put(server.endpoint_url).summary["attempts"] == 0


def test_an_interrupted_resend_goes_on_with_resend(built: Any, put: Any, serve: Serve) -> None:
    server, _ = serve(latency_ms=50.0), built(each=200)
    put(server.endpoint_url)
    server.reset()
    with when(lambda: server.summary()["accepted"] >= 15, interrupt):
        first = put(server.endpoint_url, more=("--resend", "--max-rate", "8"))
    assert first.code == 5
    second = put(server.endpoint_url, more=("--resend",))
    assert second.code == 0
    assert set(received(server).values()) == {1} and len(received(server)) == 600


def test_dead_letters_are_sent_again_after_mending(
    spark: SparkSession, built: Any, put: Any, serve: Serve, lake: Path
) -> None:
    built()
    with emulator.running(EmulatorSettings(faults=Faults(poison_items=frozenset({"a3", "c12"})))) as poisoned:
        port = int(poisoned.endpoint_url.rpartition(":")[2])
        assert put(poisoned.endpoint_url).code == 4
        same = put(poisoned.endpoint_url, more=("--retry-dead-letters",))
    assert (same.code, same.summary["deadLettered"], same.summary["attempts"]) == (4, 2, 2)
    letters = spark.read.parquet(str(lake / "dead_letters"))
    assert sorted(row.itemId for row in letters.collect()) == ["a3", "c12"]
    mended = serve(port=port)
    ended = put(mended.endpoint_url, more=("--retry-dead-letters",))
    assert (ended.code, ended.summary["delivered"], ended.summary["alreadyDelivered"]) == (0, 2, 73)
    assert {event["itemId"] for event in mended.events()} == {"a3", "c12"}
    assert spark.read.schema(letters.schema).parquet(str(lake / "dead_letters")).count() == 0
    plain = [put(mended.endpoint_url) for _ in range(2)]  # the second knows it from the first
    assert [(one.code, one.summary["alreadyDelivered"], one.summary["attempts"]) for one in plain] == [(0, 75, 0)] * 2


def test_dead_letters_of_a_batch_without_any(built: Any, put: Any, serve: Serve) -> None:
    server, _ = serve(), built()
    put(server.endpoint_url)
    ended = put(server.endpoint_url, more=("--retry-dead-letters",))
    assert (ended.code, ended.summary["attempts"], ended.summary["alreadyDelivered"]) == (0, 0, 75)


def test_the_second_of_two_runs_says_who_holds_the_tracker_and_leaves(
    spark: SparkSession, built: Any, put: Any, serve: Serve, lake: Path
) -> None:
    server, _ = serve(), built()
    service = TrackerEndpoint("t", "eu-west-1", server.endpoint_url)
    tracker = TrackerLedger(Lake(spark, str(lake)), service).name
    with hold_lock(FileSystem(spark), str(lake), tracker, "run-of-another"):
        ended = put(server.endpoint_url)
    assert ended.code == 5
    assert "run-of-another" in ended.said[0] and str(os.getpid()) in ended.said[0]
    assert put(server.endpoint_url).code == 0


def test_mixed_faults_lose_nothing_and_every_neighbour_of_a_poison_is_delivered(
    spark: SparkSession, built: Any, put: Any, serve: Serve, lake: Path
) -> None:
    faults = Faults(error_rate=0.05, reset_after_rate=0.02, poison_rate=0.01, seed=3)
    server, _ = serve(quota=60, faults=faults), built(each=700)
    ended = put(server.endpoint_url, more=("--max-rate", "100"))
    ids = {row.eventId for row in spark.read.parquet(str(lake / "events")).select("eventId").collect()}
    poison = {name for name in ids if is_poison(name, 0.01)}
    assert len(ids) == 2100 and 5 < len(poison) < 60
    assert ended.code == 4
    assert set(received(server)) == ids - poison
    assert {row.eventId for row in spark.read.parquet(str(lake / "dead_letters")).collect()} == poison
    counted = {name: ended.summary[name] for name in ("events", "delivered", "deadLettered", "pending")}
    assert counted == {"events": 2100, "delivered": 2100 - len(poison), "deadLettered": len(poison), "pending": 0}
    told = server.summary()
    assert ended.summary["throttled"] == told["throttled"] > 0
    assert ended.summary["attempts"] == told["calls"]


def test_an_endpoint_that_is_not_there_is_told_and_marks_nothing(built: Any, put: Any, serve: Serve) -> None:
    built()
    with emulator.running() as gone:
        pass
    ended = put(gone.endpoint_url)
    assert (ended.code, ended.summary["pending"]) == (2, 75)
    assert ended.said[0].startswith(f"nobody answers at {gone.endpoint_url} (connection refused")
    assert ended.summary["achievedRate"] is None
    assert "75 events are pending; check --endpoint-url" in ended.said[0]


def test_a_port_that_is_taken_is_told(built: Any, put: Any, serve: Serve) -> None:
    server, _ = serve(), built()
    port = server.endpoint_url.rpartition(":")[2]
    ended = put(server.endpoint_url, more=("--channel-port", port))
    assert ended.code == 2
    assert ended.said[0].startswith(f"--channel-port {port}: cannot be listened on")


@pytest.mark.parametrize(
    "option",
    [
        ("--max-in-flight", "0"),
        ("--channel-port", "70000"),
        ("--resend", "--retry-dead-letters"),
        ("--tracking-id", " "),
        ("--endpoint-url", ""),
        ("--endpoint-url", "ftp://127.0.0.1:9"),
        ("--endpoint-url", "localhost:8080"),
        ("--endpoint-url", "http://"),
        ("--endpoint-url", "http://127.0.0.1:99999"),
    ],
)
def test_options_that_are_not_right_are_told(put: Any, option: tuple[str, ...]) -> None:
    ended = put("http://127.0.0.1:9", more=option)
    assert ended.code == 2 and ended.said[0].startswith("put_events: argument --")


def test_the_rate_is_one_for_all_tasks_retries_included(built: Any, put: Any, serve: Serve) -> None:
    server, _ = serve(latency_ms=20.0, faults=Faults(error_rate=0.1)), built(each=700)
    assert put(server.endpoint_url, more=("--max-rate", "40")).code == 0
    assert server.summary()["maxArrivalsInASecond"] <= 44  # on a busy machine some arrive late, and so closer together
