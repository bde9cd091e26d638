"""put_events against a real service on loopback: once each, resumed, accounted for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from emulator import Faults, Server

Serve = Callable[..., Server]
MAPPING = """
[source]
format = "json"
schema = "who STRING, at BIGINT"
[event]
eventType = "'view'"
sentAt    = "timestamp_millis(at)"
visitorId = "who"
"""


def test_every_event_arrives_once_in_the_fewest_requests(
    spark: SparkSession, built: Any, put: Any, serve: Serve, lake: Path
) -> None:
    server, summary = serve(), built()
    ended = put(server.endpoint_url)
    assert ended.code == 0
    counted = {name: ended.summary[name] for name in ("events", "delivered", "deadLettered", "pending", "retried")}
    assert counted == {"events": 75, "delivered": 75, "deadLettered": 0, "pending": 0, "retried": 0}
    # a: 3, b: 3, c: 1 anonymous and 2 as user
    assert summary["requests"] == ended.summary["requests"] == ended.summary["requestsMinimum"] == 9
    received = list(server.events())
    expected = {row.eventId: row.itemId for row in spark.read.parquet(str(lake / "events")).collect()}
    assert {event["eventId"]: event["itemId"] for event in received} == expected
    assert len(received) == 75 and server.summary()["accepted"] == 9
    users = Counter((event.get("userId"), event["itemId"][0]) for event in received)
    assert users == {(None, "a"): 25, (None, "b"): 25, (None, "c"): 10, ("u-c", "c"): 15}
    assert {event["properties"] for event in received} == {'{"device":"web"}'}


def test_running_it_again_sends_nothing_and_says_so(built: Any, put: Any, serve: Serve) -> None:
    server, _ = serve(), built()
    put(server.endpoint_url)
    again = put(server.endpoint_url)
    assert (again.code, again.summary["alreadyDelivered"], again.summary["attempts"]) == (0, 75, 0)
    assert server.summary()["calls"] == 9


def test_another_tracking_id_is_another_delivery_of_the_same_ids(built: Any, put: Any, serve: Serve) -> None:
    server, _ = serve(), built()
    first = put(server.endpoint_url, tracking_id="one")
    other = put(server.endpoint_url, tracking_id="two")
    assert other.summary["delivered"] == 75 and other.summary["alreadyDelivered"] == 0
    assert first.summary["deliveryId"] != other.summary["deliveryId"]
    assert {event["eventId"] for event in server.events("one")} == {event["eventId"] for event in server.events("two")}


def test_what_the_service_refuses_goes_to_dead_letters_and_its_neighbours_are_delivered(
    spark: SparkSession, built: Any, put: Any, serve: Serve, lake: Path
) -> None:
    server, _ = serve(faults=Faults(poison_items=frozenset({"a3", "c12"}))), built()
    ended = put(server.endpoint_url)
    assert ended.code == 4
    assert (ended.summary["delivered"], ended.summary["deadLettered"], ended.summary["pending"]) == (73, 2, 0)
    letters = spark.read.parquet(str(lake / "dead_letters")).collect()
    assert {(row.itemId, row.errorCode) for row in letters} == {
        ("a3", "InvalidInputException"),
        ("c12", "InvalidInputException"),
    }
    assert len(list(server.events())) == 73
    again = put(server.endpoint_url)
    assert (again.code, again.summary["alreadyDelivered"], again.summary["deadLettered"]) == (4, 73, 2)


def test_a_throttled_and_failing_service_gets_every_event(built: Any, put: Any, serve: Serve) -> None:
    server = serve(quota=20, faults=Faults(error_rate=0.2, reset_before_rate=0.1, reset_after_rate=0.1, seed=5))
    built()
    ended = put(server.endpoint_url)
    assert (ended.code, ended.summary["delivered"]) == (0, 75)
    assert server.summary()["distinctEventIds"] == 75
    assert ended.summary["attempts"] == ended.summary["requests"] + ended.summary["retried"]


def test_receipts_tell_of_every_request(spark: SparkSession, built: Any, put: Any, serve: Serve, lake: Path) -> None:
    server, _ = serve(), built()
    delivery = put(server.endpoint_url).summary["deliveryId"]
    receipts = spark.read.parquet(str(lake / "receipts"))
    assert dict(receipts.dtypes) == {
        "requestId": "string",
        "userId": "string",
        "sessionId": "string",
        "eventIds": "array<string>",
        "status": "string",
        "httpStatus": "int",
        "errorCode": "string",
        "attempts": "int",
        "awsRequestId": "string",
        "startedAt": "timestamp",
        "latencyMs": "bigint",
        "batch": "string",
        "deliveryId": "string",
    }
    rows = receipts.collect()
    assert {(row.status, row.httpStatus, row.attempts, row.deliveryId) for row in rows} == {
        ("delivered", 200, 1, delivery)
    }
    assert {row.awsRequestId for row in rows} == {event["requestId"] for event in server.events()}


def test_request_ids_are_the_same_into_another_tracker(
    spark: SparkSession, built: Any, put: Any, serve: Serve, lake: Path
) -> None:
    server, _ = serve(), built()
    for tracker in ("one", "two"):
        put(server.endpoint_url, tracking_id=tracker)
    ids = [row.requestId for row in spark.read.parquet(str(lake / "receipts")).select("requestId").collect()]
    assert sorted(Counter(ids).values()) == [2] * 9


def test_a_rebuilt_batch_sends_only_what_is_new(built: Any, put: Any, serve: Serve) -> None:
    server, _ = serve(), built(each=20)
    put(server.endpoint_url)
    built(each=25)
    ended = put(server.endpoint_url)
    assert (ended.summary["alreadyDelivered"], ended.summary["delivered"]) == (60, 15)
    assert server.summary()["duplicateEventIds"] == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"secret_key": "another"}, "InvalidSignatureException"),
        ({"tracking_ids": frozenset({"mine"})}, "ResourceNotFoundException"),
    ],
)
def test_what_no_retry_can_mend_stops_at_once_and_marks_nothing(
    built: Any, put: Any, serve: Serve, lake: Path, settings: dict[str, Any], words: str
) -> None:
    server, _ = serve(**settings), built()
    ended = put(server.endpoint_url)
    assert (ended.code, ended.summary["pending"], ended.summary["delivered"]) == (2, 75, 0)
    assert words in ended.said[-1]
    mended = put(serve().endpoint_url)
    assert (mended.code, mended.summary["delivered"]) == (0, 75)


def test_missing_credentials_and_region_are_told_together(
    spark: SparkSession, lake: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.put_events import main  # noqa: PLC0415 - without the fixture's credentials

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (lake / "_batches").mkdir(parents=True)
    assert main(["--lake", str(lake), "--batch", "b", "--tracking-id", "t"]) == 2
    out, err = capfd.readouterr()
    assert "no AWS credentials were found" in err and "no AWS region was found" in err
    assert json.loads(out.splitlines()[-1])["exitCode"] == 2


def test_half_a_key_pair_is_told_in_words(
    spark: SparkSession, lake: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.put_events import main  # noqa: PLC0415 - without the fixture's credentials

    (lake / "_batches").mkdir(parents=True)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert main(["--lake", str(lake), "--batch", "b", "--tracking-id", "t", "--region", "eu-west-1"]) == 2
    assert "the AWS configuration is wrong: Partial credentials" in capfd.readouterr().err


def test_a_lake_that_is_not_there_is_told_and_not_made(put: Any, lake: Path) -> None:
    ended = put("http://127.0.0.1:9")
    assert ended.code == 2 and f"--lake {lake}: there is no lake" in ended.said[0]
    assert not lake.exists()


def test_an_unknown_batch_is_named(put: Any, lake: Path) -> None:
    (lake / "_batches").mkdir(parents=True)
    ended = put("http://127.0.0.1:9", batch="2031-01-01")
    assert ended.code == 2
    assert ended.said == ["batch 2031-01-01: the lake has no such batch: run build_events for it first"]


def test_a_batch_that_failed_its_gate_is_refused(build: Any, put: Any, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "mapping.toml").write_text(MAPPING)
    (tmp_path / "bad.jsonl").write_text("{\n" * 1000)
    assert build(tmp_path / "bad.jsonl", mapping=tmp_path / "mapping.toml").code == 3
    server = serve()
    ended = put(server.endpoint_url)
    assert ended.code == 3 and "failed its gate" in ended.said[0]
    assert server.summary()["calls"] == 0


def test_an_empty_batch_is_delivered_without_a_call(
    build: Any, put: Any, serve: Serve, tmp_path: Path, may_be_empty: tuple[str, ...]
) -> None:
    (tmp_path / "mapping.toml").write_text(MAPPING)
    (tmp_path / "none.jsonl").write_text("")
    assert build(tmp_path / "none.jsonl", mapping=tmp_path / "mapping.toml", more=may_be_empty).code == 0
    ended = put(serve().endpoint_url)
    assert (ended.code, ended.summary["events"], ended.summary["attempts"]) == (0, 0, 0)


def test_no_id_is_logged(built: Any, put: Any, serve: Serve, capfd: pytest.CaptureFixture[str], lake: Path) -> None:
    from jobs.put_events import main  # noqa: PLC0415 - the whole output is looked at, not the summary alone

    server, _ = serve(faults=Faults(poison_items=frozenset({"a3"}))), built()
    argv = ["--lake", str(lake), "--batch", "2024-01-02", "--tracking-id", "t", "--region", "eu-west-1"]
    assert main([*argv, "--endpoint-url", server.endpoint_url]) == 4
    said = "".join(capfd.readouterr())
    ids = {event["eventId"] for event in server.events()} | {event["sessionId"] for event in server.events()}
    assert not any(name in said for name in ids)
    assert "u-c" not in said and "emulator-secret" not in said and "AKIDEMULATOR" not in said
