"""The door to Spark: Arrow batches in, Arrow batches out, with no Spark behind it."""

import json
import pickle
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import emulator
from delivery import task
from delivery.control.wire import DriverAddress
from delivery.ended_requests import EndedRequestSet
from delivery.http.endpoint import TrackerEndpoint
from delivery.model import Request, Response
from delivery.sender.request_executor import RetryPolicy
from delivery.task import (
    UNREPORTED_SCHEMA,
    TaskConfig,
    TaskDelivery,
    UnreportedOutcomes,
    pieces,
    unfinished_parts,
    unreported_outcomes,
)
from emulator import EmulatorSettings, Faults
from tests.delivery.drivers import Instant, driving, name

ROWS = pa.schema(
    [
        ("requestId", pa.string()),
        ("userId", pa.string()),
        ("sessionId", pa.string()),
        ("number", pa.int32()),  # packing's, which delivery has no use for
        ("eventIds", pa.list_(pa.string())),
        ("events", pa.list_(pa.string())),
        ("ended", pa.list_(pa.string())),
        ("part", pa.int32()),
    ]
)


def request_row(
    number: int, items: list[str], user: str | None = "u", ended: list[str] | None = None
) -> dict[str, Any]:
    events = [
        {"eventId": f"e{number}-{each}", "eventType": "view", "itemId": item, "sentAt": 1704067200.5}
        for each, item in enumerate(items)
    ]
    return {
        "requestId": name(number),
        "userId": user,
        "sessionId": f"s{number}",
        "number": number,
        "eventIds": [event["eventId"] for event in events],
        "events": [json.dumps(event) for event in events],
        "ended": ended,
        "part": 7,
    }


def batch(*rows: dict[str, Any]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=ROWS)


def read(*batches: pa.RecordBatch) -> list[list[Request]]:
    return list(pieces(batches))


# Rows in.


def test_a_row_is_read_as_a_request() -> None:
    rows = [request_row(1, ["a"], user=None), request_row(2, ["a", "b"])]
    assert read(batch(*rows)) == [
        [
            Request(name(1), None, "s1", ("e1-0",), tuple(rows[0]["events"])),
            Request(name(2), "u", "s2", ("e2-0", "e2-1"), tuple(rows[1]["events"])),
        ]
    ]


def test_rows_are_read_some_at_a_time_in_their_order() -> None:
    numbers = [range(120), range(120, 120), range(120, 170), range(170, 171)]
    found = read(*(batch(*(request_row(number, ["a"]) for number in some)) for some in numbers))
    assert max(map(len, found)) <= 50
    assert [each.requestId for piece in found for each in piece] == [name(number) for number in range(171)]


def test_a_batch_is_read_when_the_one_before_it_was() -> None:
    taken = 0

    def endless() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        while True:
            taken += 1
            yield batch(*(request_row(number, ["a"]) for number in range(50)))

    found = pieces(endless())
    assert [taken, *(next(found) and taken for _ in range(3))] == [0, 1, 2, 3]


def test_rows_need_not_tell_of_parts() -> None:
    rows = batch(request_row(1, ["a", "b"])).drop_columns(["ended"])
    assert [each.requestId for each in read(rows)[0]] == [name(1)]


@pytest.mark.parametrize(
    ("ended", "parts"),
    [
        (None, {"": "0123456789"}),
        ([], {"": "0123456789"}),
        ([".1"], {".2": "56789"}),
        ([".2"], {".1": "01234"}),
        ([".1.1", ".2.2.1"], {".1.2": "234", ".2.1": "56", ".2.2.2": "89"}),
        ([".1", ".2"], {}),
    ],
)
def test_of_a_request_that_was_split_the_parts_that_have_not_ended_are_read(
    ended: list[str] | None, parts: dict[str, str]
) -> None:
    row = request_row(1, ["a"] * 10, ended=None if ended is None else [name(1) + part for part in ended])
    (found,) = read(batch(row))
    assert [each.requestId for each in found] == [name(1) + part for part in parts]
    assert [each.eventIds for each in found] == [tuple(f"e1-{place}" for place in part) for part in parts.values()]
    assert all([json.loads(event)["eventId"] for event in each.events] == list(each.eventIds) for each in found)


@given(events=st.integers(1, 10), data=st.data())
def test_what_has_ended_and_what_remains_are_the_whole(events: int, data: st.DataObject) -> None:
    whole = Request(name(1), None, "s", tuple(f"e{place}" for place in range(events)), ("{}",) * events)
    parts = [whole]
    for _ in range(data.draw(st.integers(0, 9))):
        several = [part for part in parts if len(part.events) > 1]
        if several:
            split = data.draw(st.sampled_from(several))
            parts = [part for part in parts if part is not split] + list(split.halves())
    ended = [part for part in parts if part is not whole and data.draw(st.booleans())]

    left_over = list(unfinished_parts(whole, EndedRequestSet(part.requestId for part in ended)))

    assert Counter(event for part in [*ended, *left_over] for event in part.eventIds) == Counter(whole.eventIds)
    assert not {part.requestId for part in ended} & {part.requestId for part in left_over}


# Rows out.


def test_what_the_driver_does_not_know_comes_as_rows() -> None:
    outcome = {"requestId": name(1), "userId": None, "eventIds": ("ä", "b"), "latencyMs": 7, "status": "refused"}
    (found,) = unreported_outcomes(UnreportedOutcomes("attempt-1", ((4, outcome), (5, {"requestId": name(2)}))))
    assert found.schema.equals(UNREPORTED_SCHEMA)
    rows = found.to_pylist()
    assert [(row["attempt"], row["number"]) for row in rows] == [("attempt-1", 4), ("attempt-1", 5)]
    assert json.loads(rows[0]["outcome"]) == outcome | {"eventIds": ["ä", "b"]}


def test_a_driver_that_knows_all_is_given_no_rows() -> None:
    assert list(unreported_outcomes(UnreportedOutcomes("attempt-1"))) == []


# A task.


def test_a_task_sends_its_partition_and_tells_the_driver() -> None:
    faults = Faults(poison_items=frozenset({"bad"}))
    batches = [
        batch(),
        batch(request_row(1, ["a", "b"]), request_row(2, ["a"], user=None)),
        batch(),
        batch(request_row(3, ["a", "bad"]), request_row(4, ["a"] * 4, ended=[f"{name(4)}.1"])),
    ]
    with emulator.running(EmulatorSettings(faults=faults)) as server, driving() as driver:
        task = TaskDelivery(driver.task_config(TrackerEndpoint("t-1", "eu-west-1", server.endpoint_url)))
        assert list(pickle.loads(pickle.dumps(task))(iter(batches))) == []
        received = Counter(event["eventId"] for event in server.events())
    assert received == Counter(["e1-0", "e1-1", "e2-0", "e3-0", "e4-2", "e4-3"])
    assert {row["requestId"]: row["status"] for row in driver.kept} == {
        name(1): "delivered",
        name(2): "delivered",
        f"{name(3)}.1": "delivered",
        f"{name(3)}.2": "refused",
        f"{name(4)}.2": "delivered",
    }


def test_a_task_is_an_attempt_at_the_part_that_its_rows_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def deliver(_terms: TaskConfig, part: int, source: Iterator[list[Request]]) -> UnreportedOutcomes:
        asked.append((part, [each.requestId for piece in source for each in piece]))
        return UnreportedOutcomes("attempt-1", ((0, {"requestId": name(1)}),))

    monkeypatch.setattr(task, "deliver", deliver)
    (found,) = TaskDelivery(TERMS)([batch(), batch(request_row(1, ["a"])), batch(request_row(2, ["a"]))])
    assert asked == [(7, [name(1), name(2)])]
    assert found.column("attempt").to_pylist() == ["attempt-1"]


@pytest.mark.parametrize("batches", [[], [batch()], [batch(), batch()]])
def test_an_empty_partition_asks_nobody(batches: list[pa.RecordBatch]) -> None:
    assert list(TaskDelivery(TERMS)(batches)) == []  # nobody listens at its driver's address


def test_an_exception_of_spark_surfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Instant(lambda _: Response(200))
    service.stand_in(monkeypatch)

    def broken() -> Iterator[pa.RecordBatch]:
        yield batch(*(request_row(number, ["a"]) for number in range(100)))
        raise ConnectionResetError

    with driving() as driver, pytest.raises(ConnectionResetError):
        list(TaskDelivery(driver.task_config())(broken()))
    assert driver.told() == service.delivered


TERMS = TaskConfig(
    service=TrackerEndpoint("t-1", "eu-west-1", "http://127.0.0.1:9"),
    address=DriverAddress("127.0.0.1", 9, "secret-of-the-delivery"),
    max_in_flight=3,
    retry=RetryPolicy(budget=7.0),
)


def test_a_task_goes_to_the_executors_as_plain_values() -> None:
    text = pickle.dumps(TaskDelivery(TERMS))
    copy = pickle.loads(text)
    assert copy == TaskDelivery(TERMS) != TaskDelivery(replace(TERMS, max_in_flight=4))
    assert (copy.task_config.max_in_flight, copy.task_config.retry.budget) == (3, 7.0)
    assert copy.task_config.address.secret == "secret-of-the-delivery"
    assert b"emulator-secret" not in text and b"AKIDEMULATOR" not in text


def test_the_secret_is_in_no_log_line() -> None:
    assert "secret-of-the-delivery" not in repr(TaskDelivery(TERMS))
