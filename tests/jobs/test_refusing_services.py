"""put_events and a service that takes nothing, or never answers one request: what is marked, said, and sent later."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import emulator
from emulator import EmulatorSettings, Faults, Server

Serve = Callable[..., Server]
COUNTS = ("delivered", "deadLettered", "pending")


def counts(summary: dict[str, Any]) -> tuple[int, ...]:
    return tuple(summary[name] for name in COUNTS)


def port_of(server: Server) -> int:
    return int(server.endpoint_url.rpartition(":")[2])


def test_a_service_that_refuses_every_call_stops_the_delivery_and_marks_nothing(
    built: Any, put: Any, serve: Serve, lake: Path
) -> None:
    built(each=700)
    with emulator.running(EmulatorSettings(faults=Faults(refuse_after=0))) as refusing:
        port, ended, told = port_of(refusing), put(refusing.endpoint_url), refusing.summary()
    assert (ended.code, counts(ended.summary)) == (2, (0, 0, 2100))
    assert told["calls"] == ended.summary["attempts"] <= 200
    assert ended.said[0] == (
        "the service refused every call: InvalidInputException (HTTP 400): The request holds invalid input."
    )
    assert ended.said[1].startswith(
        "2,100 events are pending; no dead letter was written for them; check the tracking id"
    )
    assert not (lake / "dead_letters").exists()
    assert not list((lake / "receipts").rglob("*.parquet"))
    mended = put(serve(port=port).endpoint_url)
    assert (mended.code, counts(mended.summary)) == (0, (2100, 0, 0))


def test_a_tracker_that_is_deleted_meanwhile_stops_it_too_and_what_it_took_is_not_sent_again(
    built: Any, put: Any, serve: Serve, lake: Path
) -> None:
    built(each=1500)
    with emulator.running(EmulatorSettings(latency_ms=5.0, faults=Faults(refuse_after=150))) as refusing:
        port, ended, told = port_of(refusing), put(refusing.endpoint_url), refusing.summary()
        taken = {event["eventId"] for event in refusing.events()}
    assert (ended.code, counts(ended.summary)) == (2, (1500, 0, 3000))
    assert sum(told["refused"].values()) <= 200
    assert ended.said[0].startswith("the service refused every call since it last acknowledged one, of ")
    assert not (lake / "dead_letters").exists()
    mended = serve(port=port)
    again = put(mended.endpoint_url)
    assert (again.code, counts(again.summary)) == (0, (3000, 0, 0))
    assert not taken & {event["eventId"] for event in mended.events()}


def test_a_batch_of_nothing_but_bad_events_is_decided_by_who_knows_the_service(
    spark: SparkSession, built: Any, put: Any, serve: Serve, lake: Path
) -> None:
    built(each=1)
    server = serve(faults=Faults(poison_rate=1.0))
    ended = put(server.endpoint_url)
    assert (ended.code, counts(ended.summary)) == (2, (0, 0, 3))
    assert "--accept-failures" in ended.said[1]
    accepted = put(server.endpoint_url, more=("--accept-failures",))
    assert (accepted.code, counts(accepted.summary)) == (4, (0, 3, 0))
    assert spark.read.parquet(str(lake / "dead_letters")).count() == 3


@pytest.mark.long
def test_an_event_that_is_never_answered_is_a_dead_letter_of_its_own_kind_and_is_tried_again_when_asked(
    spark: SparkSession, built: Any, put: Any, serve: Serve, lake: Path
) -> None:
    built()
    with emulator.running(EmulatorSettings(faults=Faults(fail_items=frozenset({"b7"})))) as failing:
        port, ended = port_of(failing), put(failing.endpoint_url)
    assert (ended.code, counts(ended.summary)) == (4, (74, 1, 0))
    (letter,) = spark.read.parquet(str(lake / "dead_letters")).collect()
    assert (letter.itemId, letter.errorCode) == ("b7", "unanswered")
    assert "HTTP 500" in letter.errorMessage
    again = put(serve(port=port).endpoint_url, more=("--retry-dead-letters",))
    assert (again.code, counts(again.summary)) == (0, (1, 0, 0))
