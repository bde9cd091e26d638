"""The service's words as a log may hold them: nothing of a request, whatever it is made of."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.records import Request
from delivery.redaction import redact


def request(user: str | None = "ann", session: str = "s-1", **event: object) -> Request:
    return Request("r1", user, session, ("e-1",), (json.dumps({"eventType": "view", "sentAt": 1704067200.5, **event}),))


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("The event tracker was not found.", "The event tracker was not found."),
        ("Member must have length less than or equal to 256", "Member must have length less than or equal to 256"),
        ("ann and ANN and annotated", "… and … and annotated"),
        ("item shoe.7(x) at 1704067200.5", "item … at …"),
        ("rated 4 by s-1_x of e-1", "rated … by …_x of …"),
        ("Value 'something else' at 'sessionId' failed", "Value … at 'sessionId' failed"),
        ("Value '[x, y]' at 'eventList.2.member.itemId'", "Value … at 'eventList.2.member.itemId'"),
        ("at 'ann.member'", "at …"),
        ("a\nb\x1b[31m\tc", "a b [31m c"),
        (None, None),
    ],
)
def test_values_are_hidden_and_words_kept(message: str | None, kept: str | None) -> None:
    each = request(itemId="shoe.7(x)", properties=json.dumps({"rating": 4}))
    assert redact(message, each) == kept


def test_long_words_are_cut() -> None:
    assert len(redact("word " * 1_000, request()) or "") <= 301


texts = st.text(min_size=1, max_size=30)


@given(value=texts, before=st.sampled_from(["", "Value ", "("]), after=st.sampled_from(["", " failed", ")", ","]))
def test_no_value_is_repeated(value: str, before: str, after: str) -> None:
    each = request(user=value, itemId=value, impression=[value], properties=json.dumps({"p": value}))
    told = redact(f"{before}{value}{after}", each)
    assert told is not None
    assert value.strip() == "" or value not in told or value in f"{before}…{after}"


@pytest.mark.parametrize("nested", ['{"a":' * 5_000, "{", "{}"])
def test_properties_that_are_none_are_hidden_whole(nested: str) -> None:
    assert redact(f"bad: {nested} here", request(properties=nested)) == "bad: … here"
