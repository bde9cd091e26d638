"""The service's words as a log may hold them: nothing of a request, whatever it is made of."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable
from unicodedata import normalize
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.model import Request
from delivery.text import FIELDS, redact


def request(user: str | None = "ann", session: str = "s-1", **event: object) -> Request:
    return Request("r1", user, session, ("e-1",), (json.dumps({"eventType": "view", "sentAt": 1704067200.5, **event}),))


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("The event tracker was not found.", "The event tracker was not found."),
        ("Member must have length less than or equal to 256", "Member must have length less than or equal to 256"),
        ("ann and ANN and annotated", "… and … and …"),
        ("item shoe.7(x) at 1704067200.5", "item … at …"),
        ("rated 4 by s-1_x of e-1", "… by … of …"),
        ("Value 'something else' at 'sessionId' failed", "Value … at 'sessionId' failed"),
        ("Value '[x, y]' at 'eventList.2.member.itemId'", "Value … at 'eventList.2.member.itemId'"),
        ("at 'ann.member'", "at …"),
        ("a\nuser\x1b[31m\tid", "a … id"),
        (
            (
                "1 validation error detected: Value 'x' at 'userId' failed to satisfy constraint: "
                "Member must have length less than or equal to 256"
            ),
            (
                "1 validation error detected: Value … at 'userId' failed to satisfy constraint: "
                "Member must have length less than or equal to 256"
            ),
        ),
        ("The tracking id was not found, or is being deleted.", "The tracking id was not found, or is being deleted."),
        ("'properties.ann' is unknown", "… is unknown"),
        ("the eventList must not exceed 10 events (sessionId)", "the eventList must not exceed 10 events (sessionId)"),
        ("equal to 123456789", "equal to …"),
        (None, None),
    ],
)
def test_values_are_hidden_and_words_kept(message: str | None, kept: str | None) -> None:
    each = request(itemId="shoe.7(x)", properties=json.dumps({"rating": 4}))
    assert redact(message, each) == kept


USER = "ann.müller@example.com"


@pytest.mark.parametrize(
    "spelling",
    [
        USER,
        USER.upper(),
        quote(USER),
        quote_plus(USER),
        json.dumps(USER).strip('"'),
        repr(USER.encode())[2:-1],
        normalize("NFD", USER),
        html.escape(USER).replace("ü", "&#252;"),
        USER.encode("ascii", "xmlcharrefreplace").decode(),
        USER.encode().decode("latin-1"),
        base64.b64encode(USER.encode()).decode(),
        "ann.müller",
        "ann.müller@exam…",
        "müller@example",
    ],
)
@pytest.mark.parametrize(
    "frame", ["Value '{}' is not valid", "Value '{} is not valid", "user {}: not found", '("{}, {}']
)
def test_a_value_that_is_spelt_otherwise_or_cut_off_is_hidden(spelling: str, frame: str) -> None:
    told = redact(frame.replace("{}", spelling), request(user=USER))
    assert told is not None
    for letters in ("ann", "ller", "exam", "com", spelling):
        assert letters.lower() not in told.lower()


@pytest.mark.parametrize(
    "spelling", ["s-123456abc", "s_123456", "s-12345", "S-123456", "shoe+7", "shoe%207", "shoe_7", "sho"]
)
def test_so_is_one_of_a_session_and_of_an_item(spelling: str) -> None:
    told = redact(f"the id {spelling} is unknown", request(session="s-123456", itemId="shoe 7"))
    assert told == "the id … is unknown"


def test_long_words_are_cut() -> None:
    assert len(redact("word " * 1_000, request()) or "") <= 301


def test_a_refusal_of_a_request_with_many_values_holds_the_event_loop_up_for_no_longer_than_a_call() -> None:
    """Ten events with all the impressions and properties that they may have: each refusal of them is redacted."""
    events = tuple(
        json.dumps(
            {
                "impression": [f"item-{event}-{place}" for place in range(25)],
                "properties": json.dumps({f"p{place}": f"{event}-{place}" for place in range(60)}),
            }
        )
        for event in range(10)
    )
    each = Request("r1", "ann", "s-1", tuple(f"e-{event}" for event in range(10)), events)
    words = "Value at 'eventList.3.member.properties' failed to satisfy constraint: item-3-7 "
    assert redact(words, each) == "Value at 'eventList.3.member.properties' failed to satisfy constraint: …"
    assert _cpu(lambda: redact(words, each)) < 0.02


@pytest.mark.parametrize("words", ["!" * 4_095 + "a", "," * 4_096, "(" * 4_096, "a." * 2_048, "'" * 4_096])
def test_words_that_are_none_take_no_time(words: str) -> None:
    assert _cpu(lambda: redact(words, request())) < 0.02


def _cpu(work: Callable[[], object]) -> float:
    """Seconds of CPU that something takes, at its best: other threads of this process may take some, too."""
    best = float("inf")
    for _ in range(5):
        begun = time.thread_time()
        work()
        best = min(best, time.thread_time() - begun)
    return best


texts = st.text(min_size=1, max_size=30).filter(lambda text: text not in FIELDS)


@given(value=texts, before=st.sampled_from(["", "Value ", "("]), after=st.sampled_from(["", " failed", ")", ","]))
def test_no_value_is_repeated(value: str, before: str, after: str) -> None:
    each = request(user=value, itemId=value, impression=[value], properties=json.dumps({"p": value}))
    told = redact(f"{before}{value}{after}", each)
    assert told is not None
    assert value.strip() == "" or value not in told or value in f"{before}…{after}"


@pytest.mark.parametrize("nested", ['{"a":' * 5_000, "{", "{}"])
def test_properties_that_are_none_are_hidden_whole(nested: str) -> None:
    assert redact(f"invalid: {nested} given", request(properties=nested)) == "invalid: … given"
