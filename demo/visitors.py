"""The visitors of the day: who comes, how often, and for how long."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

from demo.day import DAY, DAY_START, SESSION_GAP


@dataclass(frozen=True, slots=True)
class Device:
    """A program that reports what visitors do.

    Attributes:
        name: the `sdk` of its records.
        share: the share of visitors who use it.
        sends_id: whether it gives each event an id.
        has_cookie: whether it knows a visitor id.
        has_sessions: whether it has its own sessions.
        needs_login: whether its visitors are always logged in.
        utc_offset: hours of the local time that it writes.
        nothing: what it writes for a value that it does not have; "absent" leaves the key out.
    """

    name: str
    share: float
    sends_id: bool = True
    has_cookie: bool = True
    has_sessions: bool = False
    needs_login: bool = False
    utc_offset: int = 0
    nothing: tuple[str | None, ...] = ("absent",)


CLIENTS = (
    Device("web-4", 0.70, nothing=("absent", None)),
    # The oldest tag: concatenated strings, no ids. Some pages still use it.
    Device("tag-1", 0.12, sends_id=False, nothing=("undefined", "null", "", "NaN", " None ", "absent")),
    Device("app-2", 0.13, has_cookie=False, has_sessions=True, utc_offset=1),
    Device("tv-1", 0.05, has_cookie=False, needs_login=True, nothing=(None,)),
)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with a browser, a phone or a television; `user` is their account, if they have one."""

    number: int
    client: Device
    device: str
    user: str | None


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay in the shop.

    Attributes:
        number: counts the visits of all visitors.
        visitor: the visitor.
        start: milliseconds since 1970.
        pauses: milliseconds before each hit; the first is 0.
        login_step: the first hit with a known user; after the last hit, the visitor stays anonymous.
        campaign: what brought the visitor here, if it is known.
    """

    number: int
    visitor: Visitor
    start: int
    pauses: tuple[int, ...]
    login_step: int
    campaign: str | None


def plan_visits(hits: int, rng: Random) -> list[Visit]:
    """Plan the day's visits, in order of their start; together they make exactly `hits` hits."""
    visits: list[Visit] = []
    for visitor in _visitors(rng):
        for returning in range(_visits_a_day(rng)):
            visits.append(_visit(len(visits), visitor, returning > 0, hits, rng))
            hits -= len(visits[-1].pauses)
            if hits == 0:
                return sorted(visits, key=lambda visit: visit.start)
    raise AssertionError("visitors never end")


def _visitors(rng: Random) -> Iterator[Visitor]:
    shares = [client.share for client in CLIENTS]
    for number in count(1):
        client = rng.choices(CLIENTS, shares)[0]
        device = "tv" if client.needs_login else rng.choice(("phone", "phone", "tablet", "desktop"))
        # One visitor in ten shares an account with an earlier one: a second device, a household.
        account = number if rng.random() < 0.9 else rng.randint(1, number)
        has_account = client.needs_login or rng.random() < 0.6
        yield Visitor(number, client, device, f"u-{account:06d}" if has_account else None)


def _visits_a_day(rng: Random) -> int:
    """Most come once, and a few come many times (a long tail, cut at 40)."""
    return min(int(rng.paretovariate(1.3)), 40)


def _visit(number: int, visitor: Visitor, returning: bool, most: int, rng: Random) -> Visit:
    length = min(1 + int(rng.lognormvariate(1.6, 1.0)), 80, most)
    pauses = (0, *(_pause(rng) for _ in range(length - 1)))
    evening = rng.triangular(0.0, 1.0, 0.8)
    start = DAY_START + int(evening * max(DAY - sum(pauses) - 1, 0))
    remembered = visitor.client.needs_login or (returning and rng.random() < 0.5)
    login_step = 0 if remembered else rng.randint(1, 12)
    campaign = rng.choice(("newsletter", "search ads")) if rng.random() < 0.1 else None
    return Visit(number, visitor, start, pauses, login_step, campaign)


def _pause(rng: Random) -> int:
    """Usually half a minute; sometimes a long pause, some of them exactly at the limit of a session."""
    dice = rng.random()
    if dice < 0.97:
        return min(int(rng.lognormvariate(10.2, 1.0)), SESSION_GAP // 2)
    if dice < 0.98:
        return SESSION_GAP + rng.randint(0, 1)
    return rng.randint(SESSION_GAP // 2, 2 * SESSION_GAP)
