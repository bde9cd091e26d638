"""A request cut in two, again and again: nothing lost, nothing moved."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.model import Request


def request(events: int) -> Request:
    ids = tuple(f"e{number}" for number in range(events))
    return Request("r", "u", "s", ids, tuple(f'{{"eventId":"{event}"}}' for event in ids))


def test_halves_of_five() -> None:
    first, second = request(5).halves()
    assert first == Request("r.1", "u", "s", ("e0", "e1"), ('{"eventId":"e0"}', '{"eventId":"e1"}'))
    assert second == Request(
        "r.2", "u", "s", ("e2", "e3", "e4"), ('{"eventId":"e2"}', '{"eventId":"e3"}', '{"eventId":"e4"}')
    )


def test_an_anonymous_request_has_anonymous_halves() -> None:
    halves = Request("r", None, "s", ("a", "b"), ("{}", "{}")).halves()
    assert [half.userId for half in halves] == [None, None]


@given(st.integers(2, 40))
def test_halves_are_the_whole_and_neither_is_empty(events: int) -> None:
    whole = request(events)
    first, second = whole.halves()
    assert first.eventIds + second.eventIds == whole.eventIds
    assert first.events + second.events == whole.events
    assert abs(len(first.events) - len(second.events)) <= 1


@pytest.mark.parametrize("events", range(1, 11))
def test_every_part_of_a_request_has_a_requestid_of_its_own(events: int) -> None:
    names, rest = [], [request(events)]
    while rest:
        part = rest.pop()
        names.append(part.requestId)
        if len(part.events) > 1:
            rest.extend(part.halves())
    assert len(names) == len(set(names)) == 2 * events - 1
