"""A plan's requests through PutEvents by Spark's tasks, few or many, even or skewed."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

import emulator
from delivery.control.dispatcher import Dispatcher
from delivery.http.endpoint import TrackerEndpoint
from delivery.rate.aimd import AimdRateController
from emulator import EmulatorSettings, Server
from jobs.deliver.delivery_config import DeliveryConfig
from jobs.deliver.delivery_monitor import DeliveryResult, MonitorHooks
from jobs.deliver.spark_job import divide_requests, send
from jobs.errors import UnfinishedError

Rows = list[dict[str, Any]]


def parts(spark: SparkSession, sizes: list[int]) -> DataFrame:
    """Requests of two events, so many in each partition; `part` numbers them."""

    def request(part: int, number: int) -> dict[str, Any]:
        name = f"{part:08x}{number:08x}" + "0" * 48
        events = [json.dumps({"eventId": f"{name}-{each}", "eventType": "view", "sentAt": 1704067200}) for each in "ab"]
        ids = [f"{name}-{each}" for each in "ab"]
        return {"part": part, "requestId": name, "userId": "u", "sessionId": "s", "eventIds": ids, "events": events}

    rows = [request(part, number) for part, size in enumerate(sizes) for number in range(size)]
    schema = "part INT, requestId STRING, userId STRING, sessionId STRING, eventIds ARRAY<STRING>, events ARRAY<STRING>"
    return spark.createDataFrame(rows, schema).repartitionByRange(len(sizes), "part").localCheckpoint()


def deliver(frame: DataFrame, server: Server, keep: Callable[[Rows], None], rate: float = 400.0) -> DeliveryResult:
    watch = MonitorHooks(keep, lambda: None, threading.Event())
    return send(
        frame,
        TrackerEndpoint("t", "eu-west-1", server.endpoint_url),
        DeliveryConfig(rate, 64),
        Dispatcher(AimdRateController(rate)),
        watch,
    )


@pytest.mark.parametrize("sizes", [[200], [100] * 2, [25] * 8, [6] * 32, [160, 10, 10, 10, 0, 10]])
def test_every_request_is_sent_once_however_it_is_divided(spark: SparkSession, sizes: list[int]) -> None:
    kept: Rows = []
    with emulator.running(EmulatorSettings(latency_ms=20.0)) as server:
        sent = deliver(parts(spark, sizes), server, kept.extend)
        arrived = Counter(event["eventId"] for event in server.events())
        told = server.summary()
    assert sent.failure is None and sent.ending is None
    assert set(arrived.values()) == {1} and len(arrived) == 2 * sum(sizes)
    assert sorted(name for row in kept for name in row["eventIds"]) == sorted(arrived)
    assert sent.progress.calls.attempts == told["calls"] == sum(sizes)
    assert told["maxArrivalsInASecond"] <= 440  # some arrive late on a busy machine, and so closer together


def test_the_rate_is_that_of_full_seconds_and_never_above_the_limit(spark: SparkSession) -> None:
    """Of some 3.6 s of calls the driver learns in lumps; what it says holds to the limit as the calls did."""
    with emulator.running() as server:
        sent = deliver(parts(spark, [80, 60]), server, lambda _rows: None, rate=40.0)
        told = server.summary()
    assert sent.full.seconds in {2, 3}
    assert sent.full.rate is not None
    lasted = told["lastCallAt"] - told["firstCallAt"]
    assert sent.full.rate == pytest.approx((told["calls"] - 1) / lasted, rel=0.15)
    assert sent.full.rate <= 40.0


def test_a_sending_that_is_over_before_a_second_is_full_has_no_rate(spark: SparkSession) -> None:
    with emulator.running() as server:
        sent = deliver(parts(spark, [20]), server, lambda _rows: None, rate=40.0)
    assert sent.progress.calls.attempts == 20
    assert sent.full.rate is None


def test_receipts_that_cannot_be_written_are_kept_until_they_can(spark: SparkSession) -> None:
    kept: Rows = []
    refusals = iter([OSError("no"), OSError("no")])

    def keep(rows: Rows) -> None:
        for error in refusals:
            raise error
        kept.extend(rows)

    with emulator.running() as server:
        sent = deliver(parts(spark, [40]), server, keep)
    assert sent.failure is None
    assert sorted(row["requestId"][8:16] for row in kept) == [f"{number:08x}" for number in range(40)]


def test_a_lost_lock_ends_the_sending_with_what_was_sent_kept(spark: SparkSession) -> None:
    kept: Rows = []

    with emulator.running(EmulatorSettings(latency_ms=20.0)) as server:

        def check() -> None:
            if server.summary()["accepted"] > 20:
                raise UnfinishedError("lost")

        watch = MonitorHooks(kept.extend, check, threading.Event())
        config = DeliveryConfig(50.0, 64)
        sent = send(
            parts(spark, [300, 300]),
            TrackerEndpoint("t", "eu-west-1", server.endpoint_url),
            config,
            Dispatcher(AimdRateController(50.0)),
            watch,
        )
        accepted = server.summary()["accepted"]
    assert 20 < accepted < 600
    assert len(kept) == accepted
    assert isinstance(sent.error, UnfinishedError) and str(sent.error) == "lost"
    assert sent.events_by_status == {"delivered": 2 * accepted}


def test_tasks_are_as_many_as_the_rate_needs_and_the_cluster_has_slots_for(spark: SparkSession) -> None:
    requests = parts(spark, [300]).drop("part").selectExpr("*", "0 AS number")
    assert spark.sparkContext.defaultParallelism == 2
    assert divide_requests(requests, 1000.0).select("part").distinct().count() == 2
    assert divide_requests(requests, 100.0).select("part").distinct().count() == 1
