"""What a rebuild changes for delivered events, counted by Spark and reckoned in plain Python."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from pyspark.sql import SparkSession

from transforms.measures import compare_builds
from transforms.schemas import EVENTS

Event = tuple[str, str, str, int, str | None]
"""eventId, who, type, second and item: what the comparison looks at."""


def rows(events: list[Event], who: str = "visitorId") -> list[dict[str, Any]]:
    return [
        {
            **dict.fromkeys(EVENTS.names),
            "eventId": name,
            who: person,
            "eventType": kind,
            "itemId": item,
            "sentAt": datetime.fromtimestamp(1_704_067_200 + second, UTC),
        }
        for name, person, kind, second, item in events
    ]


def count(spark: SparkSession, before: list[Any], now: list[Any], delivered: list[str]) -> dict[str, int]:
    one, two = (spark.createDataFrame(each, EVENTS) for each in (before, now))
    ids = spark.createDataFrame([(name,) for name in delivered], "eventId STRING")
    return dict(compare_builds(one, two, ids).collect()[0].asDict())


def reckon(before: list[Event], now: list[Event], delivered: list[str]) -> dict[str, int]:
    sent = [event for event in before if event[0] in set(delivered)]
    there = {event[0] for event in now}
    missing = Counter(event[1:] for event in sent if event[0] not in there)
    known = {event[0] for event in before} | set(delivered)
    fresh = Counter(event[1:] for event in now if event[0] not in known)
    rekeyed = sum((missing & fresh).values())
    return {"delivered": len(sent), "rekeyed": rekeyed, "gone": sum(missing.values()) - rekeyed}


@pytest.mark.parametrize("seed", range(6))
def test_spark_counts_what_plain_python_reckons(spark: SparkSession, seed: int) -> None:
    dice = random.Random(seed)

    def some(prefix: str, number: int) -> list[Event]:
        def item() -> str | None:
            return dice.choice(["1", "2", None])

        return [(f"{prefix}{n}", f"v{dice.randrange(3)}", "view", dice.randrange(3), item()) for n in range(number)]

    before = some("b", 40)
    kept = dice.sample(before, dice.randrange(30))
    rekeyed: list[Event] = [("r" + name, *rest) for name, *rest in dice.sample(before, dice.randrange(30))]  # type: ignore[misc]
    now = [*kept, *rekeyed, *some("n", dice.randrange(20))]
    delivered = [event[0] for event in dice.sample(before, dice.randrange(40))] * 2 + ["elsewhere"]
    reckoned = reckon(before, now, delivered)
    assert count(spark, rows(before), rows(now), delivered) == reckoned
    assert reckoned["rekeyed"] + reckoned["gone"] <= reckoned["delivered"]


def test_new_events_and_events_that_wait_are_neither(spark: SparkSession) -> None:
    before: list[Event] = [("sent", "v", "view", 1, "a"), ("waits", "v", "view", 1, "a")]
    now: list[Event] = [("waits", "v", "view", 1, "a"), ("new", "v", "view", 2, "a")]
    assert count(spark, rows(before), rows(now), ["sent"]) == {"delivered": 1, "rekeyed": 0, "gone": 1}
    assert count(spark, rows(before), rows([*before, *now[1:]]), ["sent"]) == {"delivered": 1, "rekeyed": 0, "gone": 0}


def test_who_is_whoever_the_log_names_and_an_absent_part_is_no_text(spark: SparkSession) -> None:
    one: list[Event] = [("1", "p", "view", 1, None)]
    again: list[Event] = [("2", "p", "view", 1, None)]
    other: list[Event] = [("2", "p", "view", 1, "-")]
    for who in ("visitorId", "userId", "sessionId"):
        assert count(spark, rows(one, who), rows(again, who), ["1"])["rekeyed"] == 1
        assert count(spark, rows(one, who), rows(other, who), ["1"])["gone"] == 1
    assert count(spark, rows(one), [], ["1"]) == {"delivered": 1, "rekeyed": 0, "gone": 1}
    assert count(spark, [], rows(one), ["1"]) == {"delivered": 0, "rekeyed": 0, "gone": 0}
    assert count(spark, [], [], []) == {"delivered": 0, "rekeyed": 0, "gone": 0}
