"""Which columns of a log are which fields of an event: by their names first, then by what they hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pyspark.sql.types import BooleanType, DoubleType, LongType

from jobs.drafting.json_types import Leaf
from jobs.drafting.times import find_time

_NAMES: Final = {
    "sentAt": (
        "event_timestamp timestamp ts event_time event_ts occurred_at sent_at original_timestamp client_time "
        "created_at server_time time datetime date_time received_at collector_tstamp at when date"
    ),
    "eventType": "event_type event_name event action action_type kind type verb activity name category method",
    "userId": "user_id userid uid customer_id account_id member_id login user_login user customer email_hash",
    "visitorId": (
        "visitor_id visitor anonymous_id anonymous client_id device_id cookie_id cookie distinct_id user_pseudo_id "
        "domain_userid amplitude_id fingerprint browser_id guest_id who client_ip c_ip remote_addr ip client"
    ),
    "sessionId": "session_id session visit_id ga_session_id session_key sid",
    "itemId": (
        "item_id item product_id product sku article_id article content_id asset_id movie_id video_id track_id song_id "
        "aid listing_id offer_id page_path request_uri cs_uri_stem uri url path target"
    ),
    "eventValue": "event_value value price amount revenue total rating score quantity watch_time duration",
    "eventId": "event_id message_id insert_id uuid",
}
"""Names in the order in which they are preferred."""
_SURE: Final = 6
"""The first names of a list say so themselves; those after them could be something else."""
_MOST_KINDS: Final = 60
"""Different values of an event type."""
_LONGEST: Final = 256
_NUMBER: Final = re.compile(r"[+-]?\d+([.,]\d+)?")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK: Final = re.compile(r"\d\d:\d\d(:\d\d(\.\d+)?)?", re.ASCII)
_LEAST_DISTINCT: Final = 0.5
_PROPERTY_KINDS: Final = 30
_MOST_PROPERTIES: Final = 5


@dataclass(frozen=True, slots=True)
class Choice:
    """A field of an event, as a column gives it.

    Attributes:
        field: of the event; of a property, its key.
        expression: over the columns.
        why: for a comment.
        is_sure: whether somebody should look at it.
        text_path: of the column that is to be declared STRING; None where its type stays.
    """

    field: str
    expression: str
    why: str
    is_sure: bool = True
    text_path: tuple[str, ...] | None = None


def choose_fields(found: Sequence[Leaf]) -> list[Choice]:
    """Choose a column for each field of an event that a record seems to have, each column once."""
    both = _choose_date_and_time(found)
    chosen: list[Choice] = [both] if both else []
    taken: set[tuple[str, ...]] = set()
    for field in ("sentAt", "eventType", "sessionId", "visitorId", "userId", "itemId", "eventValue", "eventId"):
        for leaf, rank in [] if field == "sentAt" and both else _by_name(field, found):
            if leaf.path in taken or not (choice := _CHOOSERS[field](field, leaf, rank)):
                continue
            chosen.append(choice)
            taken.add(leaf.path)
            break
    return chosen


def choose_time(found: Sequence[Leaf]) -> Choice | None:
    """Choose any column that holds times, whatever its name."""
    for leaf in found:
        if reading := find_time(leaf.values):
            return Choice("sentAt", reading.template.format(leaf.expression), reading.why, is_sure=False)
    return None


def suggest_properties(found: Sequence[Leaf], chosen: Sequence[Choice]) -> list[Choice]:
    """Suggest columns of few different values as properties."""
    used = " ".join(choice.expression for choice in chosen)
    suggested = []
    for leaf in found:
        different = {str(value) for value in leaf.values}
        if leaf.expression not in used and 1 < len(different) <= min(_PROPERTY_KINDS, len(leaf.values) / 3):
            suggested.append(Choice(_camel_case(leaf.path[-1]), leaf.expression, f"{len(different)} different values"))
    return [one for one in suggested if one.field][:_MOST_PROPERTIES]


def snake_case(name: str) -> str:
    """Write a name in lower case with underscores.

    Examples:
        >>> snake_case("anonymousId"), snake_case("User-ID"), snake_case("context.page.URL")
        ('anonymous_id', 'user_id', 'context_page_url')
    """
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")


def _camel_case(name: str) -> str:
    first, *others = snake_case(name).split("_")
    key = first + "".join(part.capitalize() for part in others)
    return key if key[:1].isalpha() else ""


def _by_name(field: str, found: Sequence[Leaf]) -> Iterator[tuple[Leaf, int]]:
    """List the columns that a field may be called, the best first, with their places among its names."""
    for rank, wanted in enumerate(_NAMES[field].split()):
        for leaf in sorted(found, key=lambda one: len(one.path)):
            ends = {snake_case("_".join(leaf.path[place:])) for place in range(len(leaf.path))}
            if wanted in ends:
                yield leaf, rank


def _choose_date_and_time(found: Sequence[Leaf]) -> Choice | None:
    """Choose a date and a time that stand in two columns."""
    dates = [leaf for leaf in found if leaf.values and all(_DATE.fullmatch(str(one)) for one in leaf.values)]
    times = [leaf for leaf in found if leaf.values and all(_CLOCK.fullmatch(str(one)) for one in leaf.values)]
    if not dates or not times:
        return None
    expression = f"to_timestamp(concat({dates[0].expression}, ' ', {times[0].expression}))"
    return Choice("sentAt", expression, "a date and a time: are they UTC?", is_sure=False)


def _choose_time(field: str, leaf: Leaf, _rank: int) -> Choice | None:
    reading = find_time(leaf.values)
    if reading is None:
        return None
    return Choice(field, reading.template.format(leaf.expression), reading.why, reading.is_sure)


def _choose_type(field: str, leaf: Leaf, rank: int) -> Choice | None:
    different = {str(value) for value in leaf.values}
    if not different or len(different) > _MOST_KINDS or max(map(len, different)) > _LONGEST:
        return None
    shown = ", ".join(sorted(different)[:4]) + (", ..." if len(different) > 4 else "")
    return Choice(field, _as_text(leaf), f"{len(different)} different: {_one_line(shown)}", rank < _SURE)


def _choose_id(field: str, leaf: Leaf, rank: int) -> Choice | None:
    texts = [str(value) for value in leaf.values]
    if not texts or isinstance(leaf.kind, BooleanType) or max(map(len, texts)) > _LONGEST:
        return None
    different = len(set(texts))
    why = f"{different:,} different in {len(texts):,} records"
    if field == "eventId" and different < len(texts) * _LEAST_DISTINCT:
        return None
    return Choice(field, leaf.expression, why, rank < _SURE, leaf.path)


def _choose_value(field: str, leaf: Leaf, rank: int) -> Choice | None:
    if isinstance(leaf.kind, LongType | DoubleType):
        return Choice(field, leaf.expression, "numbers", rank < _SURE)
    texts = [str(value) for value in leaf.values if str(value).strip()]
    if not texts or not all(_NUMBER.fullmatch(text.strip()) for text in texts):
        return None
    has_commas = any("," in text for text in texts)
    column = f"replace({leaf.expression}, ',', '.')" if has_commas else leaf.expression
    return Choice(field, f"CAST({column} AS DOUBLE)", "texts of numbers", rank < _SURE)


def _as_text(leaf: Leaf) -> str:
    is_text = not isinstance(leaf.kind, LongType | DoubleType | BooleanType)
    return leaf.expression if is_text else f"CAST({leaf.expression} AS STRING)"


def _one_line(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)[:80]


_CHOOSERS: Final[dict[str, Callable[[str, Leaf, int], Choice | None]]] = {
    "sentAt": _choose_time,
    "eventType": _choose_type,
    "eventValue": _choose_value,
    "sessionId": _choose_id,
    "visitorId": _choose_id,
    "userId": _choose_id,
    "itemId": _choose_id,
    "eventId": _choose_id,
}
