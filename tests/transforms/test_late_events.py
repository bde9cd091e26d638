"""Events in any order of arrival: who joins which session, against the rules of docs/sessions.md in plain Python."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from transforms.schemas import VISITS
from transforms.sessions import SessionLimits, cut_sessions, update_visits

GAP, LONGEST = 10, 25  # minutes
LIMITS = SessionLimits(timedelta(minutes=GAP), timedelta(minutes=LONGEST))
DAY = 1_704_067_200
CANDIDATE = (
    "visitorId STRING, sessionId STRING, eventId STRING, sentAt TIMESTAMP, sourceFile STRING, _fate STRING, "
    "_visitor STRING"
)


@dataclass
class Visit:
    since: int
    first: int
    last: int


def arrivals(seed: int) -> list[tuple[str, list[list[int]]]]:
    """For each of 250 visitors, the minutes of its events in each of four batches; most in order, many late."""
    dice = random.Random(seed)
    stream = []
    for number in range(250):
        minutes = dice.sample(range(200), dice.randrange(1, 40))
        order = [min(3, max(0, int(minute // 50 + dice.choice((0, 0, 0, 1, 2, 3))))) for minute in minutes]
        batches = [sorted(m for m, at in zip(minutes, order, strict=True) if at == batch) for batch in range(4)]
        stream.append((f"visitor-{number}", batches))
    return stream


def runs(events: list[int], known: list[Visit]) -> list[tuple[list[int], list[Visit]]]:
    """Put together what no pause longer than the gap separates."""
    spans = sorted([(m, m, m, None) for m in events] + [(v.first, -1, v.last, v) for v in known], key=lambda s: s[:2])
    found: list[tuple[list[int], list[Visit]]] = []
    until = None
    for begins, _, ends, visit in spans:
        if until is None or begins - until > GAP:
            found.append(([], []))
            until = ends
        until = max(until, ends)
        if visit is None:
            found[-1][0].append(begins)
        else:
            found[-1][1].append(visit)
    return found


def join(events: list[int], known: list[Visit]) -> dict[int, tuple[int, int]]:
    """Name the session of each event by its visit's `since` and its place; bring the visits up to date."""
    named = {}
    for minutes, visits in runs(events, known):
        own = None
        if minutes and (not visits or minutes[0] < visits[0].first):
            if visits and visits[0].last - minutes[0] <= LONGEST:
                visits[0].first = minutes[0]
            else:
                own = Visit(minutes[0], minutes[0], minutes[0])
                known.append(own)
        for minute in minutes:
            before = [visit for visit in visits if visit.first <= minute]
            visit = before[-1] if before else own
            assert visit is not None
            visit.last = max(visit.last, minute)
            place = 0
            while minute - visit.first > LONGEST * (place + 1):
                place += 1
            named[minute] = (visit.since, place)
    return named


def expected(stream: list[tuple[str, list[list[int]]]]) -> dict[tuple[str, int], str]:
    sessions = {}
    for who, batches in stream:
        known: list[Visit] = []
        for events in batches:
            known.sort(key=lambda visit: visit.first)
            for minute, (since, place) in join(events, known).items():
                name = f"v:{who}|{(DAY + since * 60) * 1_000_000}" + (f"|{place}" if place else "")
                sessions[who, minute] = hashlib.sha256(name.encode()).hexdigest()
    return sessions


def test_events_in_any_order_of_arrival_join_what_the_rules_say(spark: SparkSession) -> None:
    stream = arrivals(seed=11)
    found: dict[tuple[str, int], str] = {}
    visits = spark.createDataFrame([], VISITS)
    for number in range(4):
        rows = [
            (who, None, f"{minute}", datetime.fromtimestamp(DAY + minute * 60, UTC), "f", "valid", f"v:{who}")
            for who, batches in stream
            for minute in batches[number]
        ]
        cut = cut_sessions(spark.createDataFrame(rows, CANDIDATE), LIMITS, visits).localCheckpoint()
        named = cut.select("visitorId", F.col("eventId").cast("int").alias("minute"), "_session").collect()
        found |= {(row.visitorId, row.minute): row._session for row in named}
        visits = spark.createDataFrame(update_visits(cut, visits, str(number)).collect(), VISITS)
    assert found == expected(stream)
    spans = defaultdict(list)
    for (who, minute), session in found.items():
        spans[who, session].append(minute)
    assert max(max(minutes) - min(minutes) for minutes in spans.values()) == LONGEST
    assert len(found) > 4_000 and len(spans) > 1_000
