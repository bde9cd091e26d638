"""What happens in the shop: each visit is a walk from page to page, and all hits are in order of time."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import merge
from random import Random
from uuid import UUID

from demo.visitors import Device, Visit, plan_visits


@dataclass(frozen=True, slots=True)
class Hit:
    """One action of a visitor: the true one, even if its record is wrong.

    Attributes:
        at: milliseconds since 1970.
        client: the program that reports it.
        event_id: the id that the client gave it.
        kind: the type of the action.
        visitor: the id of the cookie.
        user: the account, after the login.
        session: the client's own session.
        item: the item of the action.
        value: the price paid.
        shown: the items on the page.
        reco: the recommendation that chose them.
        campaign: what brought the visitor here.
        properties: device, page, and the words of a search.
    """

    at: int
    client: Device
    event_id: str | None
    kind: str
    visitor: str | None
    user: str | None
    session: str | None
    item: str | None
    value: float | None
    shown: tuple[str, ...]
    reco: str | None
    campaign: str | None
    properties: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Page:
    """The page of a visitor: their action, its item, and the items on the page."""

    kind: str
    item: str | None = None
    shown: tuple[str, ...] = ()
    reco: str | None = None


# The next actions and their probabilities.
_NEXT = {
    "arrive": {"browse": 5, "view": 4, "search": 1},
    "browse": {"browse": 3, "search": 1, "view": 6},
    "search": {"search": 2, "view": 5},
    "view": {"view": 5, "browse": 2, "search": 1, "add_to_cart": 2},
    "add_to_cart": {"view": 3, "browse": 3, "purchase": 3},
    "purchase": {"browse": 1},
}
_PAGES = {"browse": "home", "search": "results", "view": "item", "add_to_cart": "item", "purchase": "till"}
# Quotes, accents and a character outside the Basic Multilingual Plane, to test lengths and escapes.
_QUERIES = ("running shoes", "café crème", '27" screen', "grün \\ blau", "noise cancelling 🎧", "пальто")
# The id of one popular item has the maximum length: 256 characters.
_ITEMS = tuple(f"SKU-{n:05d}" if n != 40 else f"SKU-{n:0252d}" for n in range(4000))


def hits(count: int, rng: Random) -> Iterator[Hit]:
    """Yield exactly `count` hits of the day in order of time; the same for the same state of `rng`."""
    walks = [_walk(visit, rng) for visit in plan_visits(count, rng)]
    return merge(*walks, key=lambda hit: hit.at)


def _walk(visit: Visit, rng: Random) -> Iterator[Hit]:
    page, at = _Page("arrive"), visit.start
    for step, pause in enumerate(visit.pauses):
        at += pause
        page = _turn(page, _pick(_NEXT[page.kind], rng), rng)
        yield _hit(visit, at, page, visit.visitor.user if step >= visit.login_step else None, rng)


def _turn(page: _Page, kind: str, rng: Random) -> _Page:
    """Continue from `page` with the action `kind`."""
    if kind in ("browse", "search"):
        shown = tuple(dict.fromkeys(_popular_item(rng) for _ in range(rng.choice((4, 8, 25)))))
        return _Page(kind, shown=shown, reco=_recommendation(rng) if kind == "browse" else None)
    if kind == "view" and page.shown and rng.random() < 0.8:
        return _Page(kind, rng.choice(page.shown), page.shown, page.reco)
    if kind == "view":
        return _Page(kind, _popular_item(rng))
    return _Page(kind, page.item)  # the item in the cart, and the bought item, is the viewed one


def _hit(visit: Visit, at: int, page: _Page, user: str | None, rng: Random) -> Hit:
    visitor, client = visit.visitor, visit.visitor.client
    properties = {"device": visitor.device, "page": _PAGES[page.kind]}
    if page.kind == "search":
        properties["query"] = rng.choice(_QUERIES)
    return Hit(
        at=at,
        client=client,
        event_id=_event_id(rng) if client.sends_id else None,
        kind=page.kind,
        visitor=f"v-{visitor.number:06d}" if client.has_cookie else None,
        user=user,
        session=f"{client.name}-{visit.number:06d}" if client.has_sessions else None,
        item=page.item,
        value=_price(rng) if page.kind == "purchase" else None,
        shown=page.shown,
        reco=page.reco,
        campaign=visit.campaign,
        properties=properties,
    )


def _pick(chances: Mapping[str, int], rng: Random) -> str:
    return rng.choices(list(chances), list(chances.values()))[0]


def _popular_item(rng: Random) -> str:
    """A few items are viewed often, most rarely: a long tail over the catalogue."""
    return _ITEMS[int(rng.paretovariate(0.5)) % len(_ITEMS)]


def _price(rng: Random) -> float:
    return round(min(rng.lognormvariate(3.4, 0.9), 5000.0) + 0.01, 2)


def _recommendation(rng: Random) -> str | None:
    return f"RID-{rng.getrandbits(128):032x}" if rng.random() < 0.7 else None


def _event_id(rng: Random) -> str:
    return str(UUID(int=rng.getrandbits(128), version=4))
