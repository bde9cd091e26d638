"""A clickstream of many days, and what its sessions are, reckoned in plain Python from the definition."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

START = datetime(2024, 1, 1, tzinfo=UTC)
GAP, LONGEST = timedelta(minutes=30), timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Click:
    """One record. `who` is a visitor, or a user where the log names no visitor."""

    who: str
    user: str | None
    at: datetime
    item: str

    @property
    def micros(self) -> int:
        return (self.at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    @property
    def visitor(self) -> str | None:
        return None if self.who.startswith("u") else self.who

    @property
    def key(self) -> str:
        return f"v:{self.visitor}" if self.visitor else f"u:{self.user}"

    @property
    def event_id(self) -> str:
        fields = {"visitorId": self.visitor, "userId": self.user, "eventType": "view"}
        fields |= {"sentAt": str(self.micros), "itemId": self.item}
        parts = [f"{name}={len(value)}:{value}" for name, value in fields.items() if value is not None]
        return hashlib.sha256(";".join(parts).encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        return {"who": self.visitor, "user": self.user, "at": self.at.isoformat(), "item": self.item}


class Clickstream:
    """Sessions of people, with logins in mid-session; pauses of exactly the gap; bots that never pause."""

    mapping = """
[source]
format = "json"
schema = "who STRING, user STRING, at STRING, item STRING"
[event]
eventType = "'view'"
sentAt    = "to_timestamp(at)"
visitorId = "who"
userId    = "user"
itemId    = "item"
"""

    def __init__(self, seed: int, days: int) -> None:
        self._dice = random.Random(seed)
        self.end = START + timedelta(days=days)
        people = [click for n in range(14) for click in self._person(f"v{n}" if n % 5 else f"u{n}")]
        bots = [click for n, pause in enumerate((7, 30)) for click in self._bot(f"bot{n}", timedelta(minutes=pause))]
        self.clicks = sorted({*people, *bots}, key=lambda click: (click.at, click.event_id))

    def _person(self, who: str) -> Iterable[Click]:
        at, user = START + timedelta(minutes=self._dice.uniform(0, 600)), who if who.startswith("u") else None
        while at < self.end:
            yield Click(who, user, at, f"i{self._dice.randrange(50)}")
            if who.startswith("v") and self._dice.random() < 0.05:
                user = None if user else f"login-{who}"
            pauses = (1, 5, 20, 30, 30 + 1e-6 / 60, 45, 300, 1500)
            pause = self._dice.choices(pauses, (8, 8, 6, 2, 1, 3, 3, 2))[0]
            exact = pause in (30, pauses[4])
            at += timedelta(minutes=pause if exact else pause * self._dice.uniform(0.5, 1))

    def _bot(self, who: str, pause: timedelta) -> Iterable[Click]:
        at = START + timedelta(seconds=self._dice.randrange(4000))
        while at < self.end:
            yield Click(who, None, at, "robots.txt")
            at += pause

    def borders(self, kind: str) -> list[datetime]:
        """The ends of batches: at every `day`, ... or, for `random-3`, wherever that throw of dice falls."""
        steps = {"six hours": 6, "half day": 12, "day": 24, "three days": 72, "week": 168, "whole": 9999, "hour": 24}
        if kind in steps:
            ends = {START + timedelta(hours=steps[kind] * n) for n in range(1, 999)}
            ends |= {START + timedelta(hours=48 + n) for n in range(24)} if kind == "hour" else set()  # of one day
            return [*sorted(end for end in ends if end < self.end), self.end]
        dice = random.Random(kind)
        seconds = sorted(dice.randrange(int((self.end - START).total_seconds())) for _ in range(dice.randrange(2, 9)))
        inner = [START + timedelta(seconds=second) for second in seconds]
        return sorted([*inner, inner[0], *[click.at for click in dice.sample(self.clicks, 2)], self.end])

    def batches(self, kind: str) -> list[list[Click]]:
        """Cut by time: in no order within a batch, some sent again in one of the next two, two batches with nothing."""
        dice, cut, start = random.Random(f"{kind} order"), [], START
        for end in self.borders(kind):
            cut.append([click for click in self.clicks if start <= click.at < end])
            start = end
        cut[1:1] = [[], []] if len(cut) > 1 else []
        again = [(place, click) for place, batch in enumerate(cut) for click in batch if dice.random() < 0.04]
        for place, click in again:
            cut[min(place + dice.randrange(3), len(cut) - 1)].append(click)
        for batch in cut:
            dice.shuffle(batch)
        return cut

    def sessions(self) -> set[tuple[str, str]]:
        """(eventId, sessionId) of all: a pause of more than the gap starts a visit, each 24 hours of it a session."""
        found = set()
        for key in {click.key for click in self.clicks}:
            since = last = None
            for click in (click for click in self.clicks if click.key == key):
                if last is None or since is None or click.at - last > GAP:
                    since = click
                last, place = click.at, 0
                while click.at - since.at > LONGEST * (place + 1):
                    place += 1
                name = f"{key}|{since.micros}" + (f"|{place}" if place else "")
                found.add((click.event_id, hashlib.sha256(name.encode()).hexdigest()))
        return found


@pytest.fixture(scope="session")
def clickstream() -> Clickstream:
    return Clickstream(seed=4, days=8)


CUTTINGS: Sequence[str] = ("random-1",)
LONG_CUTTINGS: Sequence[str] = ("day", "hour", "week", "random-2")
"""Those that `make test-long` tries too."""
MORE_CUTTINGS: Sequence[str] = ("six hours", "half day", "three days", "random-3", "random-4")
"""Those that `make sweeps` tries."""


@pytest.fixture(
    params=[
        *CUTTINGS,
        *(pytest.param(kind, marks=pytest.mark.long) for kind in LONG_CUTTINGS),
        *(pytest.param(kind, marks=pytest.mark.sweep) for kind in MORE_CUTTINGS),
    ]
)
def cutting(request: pytest.FixtureRequest) -> str:
    return str(request.param)
