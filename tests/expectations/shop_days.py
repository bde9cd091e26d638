"""Days of shops' logs, ordinary and broken, and what must be counted of them: reckoned in plain Python."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from expectations.interval import Interval
from expectations.observations import BatchNumbers

Record = dict[str, Any]

FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
HALF_AN_HOUR = 1_800_000
BAD = "{torn"
"""A line that is no JSON."""
SCHEMA = "id STRING, session STRING, visitor STRING, user STRING, kind STRING, at BIGINT, sku STRING, price DOUBLE, "
SCHEMA += "device STRING, coupon STRING"


@dataclass(frozen=True)
class Shop:
    """What a shop's days are like.

    Attributes:
        events: on an average day.
        logins: share of the visitors who are logged in; of none the mapping gives no userId.
        pages: clicks of a visit, on average.
        items: that it sells.
        pings: share of the lines that are no interactions.
        repeats: share of the lines that are sent twice.
        faults: share of the lines that are refused.
        gives_ids: whether the log has ids of events.
        gives_sessions: whether the log has ids of sessions.
    """

    events: int
    logins: float = 0.3
    pages: float = 3.0
    items: int = 500
    pings: float = 0.2
    repeats: float = 0.0
    faults: float = 0.005
    gives_ids: bool = False
    gives_sessions: bool = False

    @property
    def mapping(self) -> str:
        """The mapping of its log."""
        event = {"eventType": "kind", "sentAt": "timestamp_millis(at)", "visitorId": "visitor", "itemId": "sku"}
        event |= {"eventValue": "price"}
        event |= {"userId": "user"} if self.logins else {}
        event |= {"eventId": "id"} if self.gives_ids else {}
        event |= {"sessionId": "session"} if self.gives_sessions else {}
        lines = [f'{name} = "{text}"' for name, text in event.items()]
        head = ["[source]", 'format = "json"', f'schema = "{SCHEMA}"', "[record]", "where = \"kind <> 'ping'\""]
        return "\n".join([*head, "[event]", *lines, "[event.properties]", 'device = "device"', 'coupon = "coupon"'])


def some_shop(seed: int) -> Shop:
    """Make up an ordinary shop of 20 to 2,000 events a day."""
    dice = random.Random(seed)
    return Shop(
        events=int(20 * 100 ** dice.random()),
        logins=dice.choice([0.0, 0.05, 0.3, 0.9]),
        pages=dice.choice([1.5, 2.0, 3.0, 8.0]),  # at 1.5, two thirds of the visits are one page
        items=dice.choice([5, 50, 5_000]),
        pings=dice.choice([0.0, 0.0, 0.25, 0.9]),
        repeats=dice.choice([0.0, 0.005, 0.5]),
        faults=dice.choice([0.0, 0.002, 0.02]),
        gives_ids=dice.random() < 0.4,
        gives_sessions=dice.random() < 0.4,
    )


def day_of(number: int) -> Interval:
    """The n-th day's interval, from 0."""
    start = FIRST_DAY + timedelta(days=number)
    return Interval(start, start + timedelta(days=1))


def good_day(shop: Shop, number: int, seed: int) -> list[Record | str]:
    """Write a day's lines: weekends are quieter, now and then a campaign is about one item, or one visitor is eager."""
    dice = random.Random(f"{seed} {number}")
    swing = dice.uniform(0.5, 1.5) * (0.3 if number % 7 > 4 else 1.0)
    wanted = min(max(int(shop.events * swing), 20), 2_000)
    start = int(day_of(number).start.timestamp()) * 1_000
    campaign, eager = dice.random() < 0.1, dice.random() < 0.1
    lines: list[Record | str] = []
    for visit in range(10 * wanted):
        if len(lines) >= wanted:
            break
        pages = int(wanted * 0.3) if eager and not visit else 1 + int(dice.expovariate(1 / (shop.pages - 1)))
        lines += _visit(shop, dice, f"{number}-{visit}", min(pages, wanted - len(lines)), start, campaign=campaign)
    faulty = [_refused(record, dice) if dice.random() < shop.faults else record for record in lines]
    twice = [line for line in faulty for _ in range(2 if dice.random() < shop.repeats else 1)]
    pings = int(len(lines) * shop.pings / (1 - shop.pings))
    return twice + [{"visitor": "monitor", "kind": "ping", "at": start + place} for place in range(pings)]


def _visit(shop: Shop, dice: random.Random, name: str, pages: int, start: int, *, campaign: bool) -> Iterator[Record]:
    at = start + dice.randrange(80_000_000)
    user = f"u{dice.randrange(10_000)}" if dice.random() < shop.logins else None
    device = dice.choice(["web", "ios", "android"])
    for page in range(pages):
        item = 0 if campaign and dice.random() < 0.9 else int(shop.items * dice.random() ** 2)
        buys = dice.random() < 0.04
        at += dice.randrange(1_001, 60_000 if pages < 50 else 5_000)
        yield {
            "id": f"m-{name}-{page}",
            "session": f"s-{name}",
            "visitor": f"v-{name}",
            "user": user,
            "kind": "buy" if buys else "view",
            "at": at,
            "sku": f"i{item}",
            "price": 9.5 if buys else None,
            "device": device,
            "coupon": "c" if dice.random() < 0.02 else None,
        }


def _refused(record: Record, dice: random.Random) -> Record | str:
    return dice.choice([BAD, {**record, "at": None}, {**record, "kind": ""}])


def written(lines: Iterable[Record | str]) -> str:
    """Write lines as JSON."""
    return "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)


def break_share(lines: list[Record | str], share: float, **change: Any) -> list[Record | str]:
    """Change fields of the first so many of a day's interactions; a field that becomes `...` is gone."""
    clicks = [place for place, line in enumerate(lines) if isinstance(line, dict) and line.get("visitor") != "monitor"]
    broken = set(clicks[: round(len(clicks) * share)])
    return [
        {name: value for name, value in {**line, **change}.items() if value is not ...}
        if place in broken and isinstance(line, dict)
        else line
        for place, line in enumerate(lines)
    ]


def reckon(shop: Shop, lines: list[Record | str], interval: Interval) -> BatchNumbers:
    """Count what the gate must be told of a day."""
    tally = _Tally(shop)
    for line in lines:
        tally.take(line)
    return tally.numbers(interval)


class _Tally:
    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._read = self._filtered = self._quarantined = 0
        self._reasons: Counter[str] = Counter()
        self._same: dict[Any, list[Record]] = defaultdict(list)

    def take(self, line: Record | str) -> None:
        self._read += 1
        if isinstance(line, str):
            self._quarantined += 1
            self._reasons["malformed_record"] += 1
            return
        kind, at = line.get("kind"), line.get("at")
        if kind is None or kind == "ping":  # `kind <> 'ping'` is not true of null
            self._filtered += 1
            return
        broken = [] if kind else ["eventType_missing"]
        broken += ["sentAt_missing"] if at is None else []
        identities = [line.get("visitor"), line.get("user") if self._shop.logins else None]
        identities += [line.get("session") if self._shop.gives_sessions else None]
        broken += [] if any(identities) else ["identity_missing"]
        if broken:
            self._quarantined += 1
            self._reasons.update(broken)
            return
        given = line.get("id") if self._shop.gives_ids else None
        self._same[given or self._content(line)].append(line)

    def _content(self, line: Record) -> tuple[Any, ...]:
        names = ["visitor", "kind", "at", "sku", "price", "device", "coupon"]
        names += ["user"] if self._shop.logins else []
        names += ["session"] if self._shop.gives_sessions else []
        return tuple(line.get(name) for name in names)

    def numbers(self, interval: Interval) -> BatchNumbers:
        shop = self._shop
        events = [min(same, key=lambda line: int(line["at"])) for same in self._same.values()]
        sessions = self._sessions(events)
        sizes = Counter(sessions)
        known = {session for session, line in zip(sessions, events, strict=True) if shop.logins and line.get("user")}
        duplicates = sum(len(same) - 1 for same in self._same.values())
        candidates = len(events) + duplicates + self._quarantined
        repeated = max((len(same) for same in self._same.values() if len(same) > 1), default=0)
        times = [FIRST_DAY.fromtimestamp(line["at"] / 1000, UTC) for line in events]
        tolerance = timedelta(hours=24)
        outside = [at for at in times if not interval.start - tolerance <= at < interval.end + tolerance]
        users = [line.get("user") if shop.logins else None for line in events]
        same = Counter(
            (
                user or session,
                bool(user),
                int(line["at"]) // 1000,
                line["kind"],
                line.get("sku"),
                line.get("device"),
                line.get("coupon"),
            )
            for user, session, line in zip(users, sessions, events, strict=True)
        )
        fields = {"visitorId": "visitor", "itemId": "sku", "eventValue": "price", "properties.device": "device"}
        fields |= {"properties.coupon": "coupon"}
        fields |= {"userId": "user"} if shop.logins else {}
        fields |= {"eventId": "id"} if shop.gives_ids else {}
        fields |= {"sessionId": "session"} if shop.gives_sessions else {}
        return BatchNumbers(
            sizes={"records": self._read, "candidates": candidates, "events": len(events), "sessions": len(sizes)},
            filtered=self._filtered,
            counts={
                **self._reasons,
                "quarantined": self._quarantined,
                "duplicates": duplicates,
                "anonymous": users.count(None),
                "without_item": sum(line.get("sku") is None for line in events),
                "sentAt_outside_interval": len(outside),
                "sentAt_before_2010": sum(at.year < 2010 for at in times),
                "eventValue_out_of_range": 0,
                "eventId_repeated": 0,
                "merged": sum(count - 1 for count in same.values()),
                "largest_visitorId": _most(line.get("visitor") for line in events),
                "largest_userId": _most(users),
                "largest_itemId": _most(line.get("sku") for line in events),
                "largest_eventId": repeated,
                "anonymous_sessions": len(sizes) - len(known),
            },
            filled={name: sum(line.get(key) is not None for line in events) for name, key in fields.items()},
            event_types=len({line["kind"] for line in events}),
            property_keys=2,
            single_event_sessions=sum(size == 1 for size in sizes.values()),
            sessions_given=shop.gives_sessions,
            earliest=min(times, default=None),
            latest=max(times, default=None),
        )

    def _sessions(self, events: list[Record]) -> list[str]:
        """Name each event's session: the log's, or its visitor's cut where half an hour passes."""
        named: dict[int, str] = {}
        last: dict[str, tuple[int, str]] = {}
        for place, line in sorted(enumerate(events), key=lambda pair: int(pair[1]["at"])):
            own = line.get("session") if self._shop.gives_sessions else None
            user = line.get("user") if self._shop.logins else None
            who = f"v{line['visitor']}" if line.get("visitor") else f"u{user}"
            before, session = last.get(who, (-(10**18), ""))
            if own is None:
                session = session if line["at"] - before <= HALF_AN_HOUR else f"{who} {line['at']}"
                last[who] = (line["at"], session)
            named[place] = own or session
        return [named[place] for place in range(len(events))]


def _most(values: Iterable[str | None]) -> int:
    return max(Counter(value for value in values if value is not None).values(), default=0)


def milliseconds_from_seconds(lines: list[Record | str]) -> list[Record | str]:
    """Write times as seconds, which are read as milliseconds."""
    return [
        {**line, "at": line["at"] // 1000} if isinstance(line, dict) and line.get("at") is not None else line
        for line in lines
    ]
