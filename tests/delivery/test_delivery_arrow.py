"""The door to Spark: Arrow batches in, Arrow batches out, with no Spark behind it."""

import json
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from pyspark.sql.types import (
    ArrayType,
    DataType,
    IntegerType,
    LongType,
    StringType,
    TimestampType,
)

import emulator
import jobs.ledger
from delivery import arrow
from delivery.arrow import OUTCOMES, TaskDelivery, requests, row
from delivery.client import Service
from delivery.records import Answer, Outcome, Request
from delivery.retry import RetryPolicy
from emulator import Faults, Settings

REQUESTS = pa.schema(
    [
        ("requestId", pa.string()),
        ("userId", pa.string()),
        ("sessionId", pa.string()),
        ("number", pa.int32()),  # packing's, which delivery has no use for
        ("eventIds", pa.list_(pa.string())),
        ("events", pa.list_(pa.string())),
    ]
)


def request_row(number: int, items: list[str], user: str | None = "u") -> dict[str, object]:
    events = [
        {"eventId": f"e{number}-{each}", "eventType": "view", "itemId": item, "sentAt": 1704067200.5}
        for each, item in enumerate(items)
    ]
    return {
        "requestId": f"r{number}",
        "userId": user,
        "sessionId": f"s{number}",
        "number": number,
        "eventIds": [event["eventId"] for event in events],
        "events": [json.dumps(event) for event in events],
    }


def batch(*rows: dict[str, object]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=REQUESTS)


def task(url: str, in_flight: int = 4) -> TaskDelivery:
    return TaskDelivery(Service("t-1", "eu-west-1", url), 1e9, in_flight, RetryPolicy(attempts=5, base=0.0))


@pytest.fixture
def no_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer every call at once, without a socket."""
    monkeypatch.setattr(arrow, "connect", lambda *_: lambda _: Answer(200, awsRequestId="aws"))


def test_a_round_trip() -> None:
    begun = datetime.now(UTC)
    faults = Faults(poison_items=frozenset({"bad"}))
    with emulator.running(Settings(faults=faults)) as server:
        batches = [
            batch(request_row(1, ["a", "b"]), request_row(2, ["a"], user=None)),
            batch(),
            batch(request_row(3, ["a", "bad"])),
        ]
        found = list(task(server.endpoint_url)(iter(batches)))
        events = {event["eventId"]: event for event in server.events()}
    assert all(each.schema.equals(OUTCOMES) for each in found)
    rows = {each["requestId"]: each for piece in found for each in piece.to_pylist()}

    for each in rows.values():
        assert begun - timedelta(seconds=1) <= each.pop("startedAt") <= datetime.now(UTC)
        assert 0 <= each.pop("latencyMs") < 10_000
    delivered = {
        "status": "delivered",
        "httpStatus": 200,
        "errorCode": None,
        "errorMessage": None,
        "throttled": 0,
        "retried": 0,
    }
    assert rows == {
        "r1": {
            **delivered,
            "requestId": "r1",
            "userId": "u",
            "sessionId": "s1",
            "eventIds": ["e1-0", "e1-1"],
            "attempts": 1,
            "awsRequestId": events["e1-0"]["requestId"],
        },
        "r2": {
            **delivered,
            "requestId": "r2",
            "userId": None,
            "sessionId": "s2",
            "eventIds": ["e2-0"],
            "attempts": 1,
            "awsRequestId": events["e2-0"]["requestId"],
        },
        "r3.1": {
            **delivered,
            "requestId": "r3.1",
            "userId": "u",
            "sessionId": "s3",
            "eventIds": ["e3-0"],
            "attempts": 2,  # the refused whole's, and its own
            "awsRequestId": events["e3-0"]["requestId"],
        },
        "r3.2": {
            "requestId": "r3.2",
            "userId": "u",
            "sessionId": "s3",
            "eventIds": ["e3-1"],
            "status": "refused",
            "httpStatus": 400,
            "errorCode": "InvalidInputException",
            "errorMessage": "The request holds invalid input.",
            "attempts": 1,
            "throttled": 0,
            "retried": 0,
            "awsRequestId": rows["r3.2"]["awsRequestId"],
        },
    }
    assert sorted(events) == ["e1-0", "e1-1", "e2-0", "e3-0"]
    assert events["e1-1"] | {"receivedAt": 0} == {
        "eventId": "e1-1",
        "eventType": "view",
        "itemId": "b",
        "sentAt": 1704067200.5,
        "trackingId": "t-1",
        "userId": "u",
        "sessionId": "s1",
        "requestId": rows["r1"]["awsRequestId"],
        "receivedAt": 0,
    }


def test_a_batch_is_read_row_by_row() -> None:
    rows = [request_row(1, ["a"], user=None), request_row(2, ["a", "b"])]
    assert list(requests(batch(*rows))) == [
        Request("r1", None, "s1", ("e1-0",), tuple(rows[0]["events"])),  # type: ignore[arg-type]
        Request("r2", "u", "s2", ("e2-0", "e2-1"), tuple(rows[1]["events"])),  # type: ignore[arg-type]
    ]


def test_a_request_without_a_call_is_a_row_of_nulls() -> None:
    uncalled = Outcome(Request("r", None, "s", ("e",), ("{}",)), "pending")
    (found,) = pa.RecordBatch.from_pylist([row(uncalled)], schema=OUTCOMES).to_pylist()
    assert found == {
        "requestId": "r",
        "userId": None,
        "sessionId": "s",
        "eventIds": ["e"],
        "status": "pending",
        "httpStatus": None,
        "errorCode": None,
        "attempts": 0,
        "awsRequestId": None,
        "startedAt": None,
        "latencyMs": 0,
        "errorMessage": None,
        "throttled": 0,
        "retried": 0,
    }


def test_a_moment_keeps_its_microseconds_and_its_zone() -> None:
    moment = datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC)
    outcome = Outcome(Request("r", None, "s", (), ()), "delivered", Answer(200), 1, 0, 0, moment, 7)
    (found,) = pa.RecordBatch.from_pylist([row(outcome)], schema=OUTCOMES).to_pylist()
    assert (found["startedAt"], found["latencyMs"]) == (moment, 7)


def test_every_column_is_filled_by_name() -> None:
    uncalled = Outcome(Request("r", None, "s", ("e",), ("{}",)), "pending")
    assert sorted(row(uncalled)) == sorted(OUTCOMES.names)  # from_pylist takes a missing name for null


@pytest.mark.parametrize(
    ("rows", "pieces"), [(0, []), (1, [1]), (1_000, [1_000]), (1_001, [1_000, 1]), (2_500, [1_000, 1_000, 500])]
)
def test_outcomes_come_in_batches_of_bounded_size(no_service: None, rows: int, pieces: list[int]) -> None:
    parts = [range(start, min(start + 300, rows)) for start in range(0, rows, 300)]
    batches = [batch(*(request_row(number, ["a"]) for number in part)) for part in parts]
    found = list(task("http://127.0.0.1:9")(iter(batches)))
    assert [each.num_rows for each in found] == pieces
    ids = [each["requestId"] for piece in found for each in piece.to_pylist()]
    assert sorted(ids) == sorted(f"r{number}" for number in range(rows))


def test_batches_are_taken_as_there_is_room_for_them(no_service: None) -> None:
    taken = 0

    def endless() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        while True:
            taken += 1
            yield batch(*(request_row(number, ["a"]) for number in range(100)))

    outcomes = task("http://127.0.0.1:9")(endless())
    assert next(outcomes).num_rows == 1_000
    assert taken == 11  # ten were needed, and one is under way
    outcomes.close()  # type: ignore[attr-defined]


def test_a_task_goes_to_the_executors_as_plain_values() -> None:
    original = TaskDelivery(Service("t-1", "eu-west-1", "http://127.0.0.1:9"), 12.5, 3, RetryPolicy(7, 0.2, 9.0))
    text = pickle.dumps(original)
    copy = pickle.loads(text)
    assert copy == original
    assert (copy.service.trackingId, copy.rate, copy.in_flight, copy.retry.attempts) == ("t-1", 12.5, 3, 7)
    assert b"emulator-secret" not in text and b"AKIDEMULATOR" not in text


def test_a_pickled_task_sends() -> None:
    with emulator.running() as server:
        copy = pickle.loads(pickle.dumps(task(server.endpoint_url)))
        (found,) = copy([batch(request_row(1, ["a"]))])
        assert server.summary()["events"] == 1
    assert found.column("status").to_pylist() == ["delivered"]


SPARK_TYPES: dict[pa.DataType, DataType] = {
    pa.string(): StringType(),
    pa.list_(pa.string()): ArrayType(StringType()),
    pa.int32(): IntegerType(),
    pa.int64(): LongType(),
    pa.timestamp("us", tz="UTC"): TimestampType(),
}


def test_the_columns_are_those_that_the_ledger_reads() -> None:
    spark = [(field.name, field.dataType) for field in jobs.ledger.OUTCOMES.fields]
    assert [(field.name, SPARK_TYPES[field.type]) for field in OUTCOMES] == spark
