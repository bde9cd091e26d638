"""Who may send which part: one attempt at a time, the latest that is there; what of a part has ended."""

import tracemalloc
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from delivery.control.partition_ownership import PartitionOwnership
from delivery.ended_requests import EndedRequestLog, EndedRequestSet, request_key
from tests.delivery.clock import Clock

GRACE = 3.0
PART = 7
NEVER = float("-inf")


def name(number: int) -> str:
    return sha256(str(number).encode()).hexdigest()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def parts(clock: Clock) -> PartitionOwnership:
    return PartitionOwnership(clock, GRACE)


# Ownership, of a part at which one attempt works.


def test_who_comes_first_owns_a_part(parts: PartitionOwnership) -> None:
    parts.add_attempt(PART, "a")
    assert parts.renew(PART, "a")
    assert parts.owns(PART, "a")


def test_nobody_owns_a_part_before_it_has_asked(parts: PartitionOwnership) -> None:
    parts.add_attempt(PART, "a")
    assert not parts.owns(PART, "a")


def test_parts_have_owners_each(parts: PartitionOwnership) -> None:
    for number in range(3):
        parts.add_attempt(number, f"attempt-{number}")
    assert all(parts.renew(number, f"attempt-{number}") for number in range(3))


def test_who_was_silent_for_long_goes_on_if_nobody_came_meanwhile(parts: PartitionOwnership, clock: Clock) -> None:
    parts.add_attempt(PART, "a")
    parts.renew(PART, "a")
    clock.move(100 * GRACE)
    assert parts.renew(PART, "a")


# And of one at which several do.


@pytest.fixture
def contended(parts: PartitionOwnership) -> PartitionOwnership:
    """A part that a owns, and b is to have."""
    parts.add_attempt(PART, "a")
    parts.renew(PART, "a")
    parts.add_attempt(PART, "b")
    return parts


def test_a_later_attempt_has_to_wait_and_the_earlier_is_to_stop(contended: PartitionOwnership) -> None:
    assert not contended.renew(PART, "b")
    assert not contended.renew(PART, "a")


def test_a_later_attempt_owns_the_part_when_the_earlier_has_left_it(contended: PartitionOwnership) -> None:
    contended.leave(PART, "a")
    assert not contended.renew(PART, "a")
    assert contended.renew(PART, "b")
    assert not contended.renew(PART, "a")


def test_an_earlier_attempt_that_still_calls_keeps_the_later_waiting(
    contended: PartitionOwnership, clock: Clock
) -> None:
    for _ in range(20):
        clock.move(GRACE / 2)
        assert not contended.renew(PART, "a")
        assert not contended.renew(PART, "b")


def test_a_later_attempt_owns_the_part_when_the_earlier_was_silent_for_the_grace(
    contended: PartitionOwnership, clock: Clock
) -> None:
    clock.move(GRACE - 0.1)
    assert not contended.renew(PART, "b")
    clock.move(0.1)
    assert contended.renew(PART, "b")
    assert not contended.renew(PART, "a")


def test_who_leaves_what_is_not_its_own_takes_nothing_from_anybody(contended: PartitionOwnership) -> None:
    contended.leave(PART, "b")
    assert not contended.renew(PART, "b")


def test_of_three_attempts_the_last_is_to_have_the_part(contended: PartitionOwnership) -> None:
    contended.add_attempt(PART, "c")
    contended.leave(PART, "a")
    assert not contended.renew(PART, "b")
    assert contended.renew(PART, "c")


def test_a_part_whose_heir_has_gone_goes_back_to_who_still_asks(contended: PartitionOwnership) -> None:
    contended.renew(PART, "a")
    contended.leave(PART, "a")
    contended.renew(PART, "b")
    contended.remove_attempt(PART, "b")
    assert contended.renew(PART, "a")


def test_a_part_whose_heir_has_gone_before_it_was_handed_over_stays_its_owners(contended: PartitionOwnership) -> None:
    contended.remove_attempt(PART, "b")
    assert contended.renew(PART, "a")


def test_a_part_whose_heir_fell_silent_goes_back_to_who_still_asks(contended: PartitionOwnership, clock: Clock) -> None:
    contended.leave(PART, "a")
    contended.renew(PART, "b")
    clock.move(GRACE - 0.1)
    assert not contended.renew(PART, "a")
    clock.move(0.1)
    assert contended.renew(PART, "a")
    assert not contended.renew(PART, "b")


def test_a_part_whose_heir_came_and_never_asked_goes_back_to_who_still_asks(
    contended: PartitionOwnership, clock: Clock
) -> None:
    contended.leave(PART, "a")
    clock.move(GRACE / 2)
    assert not contended.renew(PART, "a")
    clock.move(GRACE / 2)
    assert contended.renew(PART, "a")


def test_of_a_complete_part_nobody_owns_anything(contended: PartitionOwnership) -> None:
    contended.mark_complete(PART)
    contended.remove_attempt(PART, "a")
    assert contended.is_complete(PART)
    assert not contended.renew(PART, "b")


def test_a_part_that_was_left_is_not_complete(contended: PartitionOwnership) -> None:
    contended.remove_attempt(PART, "a")
    assert not contended.is_complete(PART)
    assert contended.renew(PART, "b")


# The laws.


class Contention(RuleBasedStateMachine):
    """Attempts at one part that come, ask, hear no answer, fall silent, leave, in whatever order.

    Each believes that it owns the part from what it was last answered, for the grace from that question on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.parts = PartitionOwnership(self.clock, GRACE)
        self.owns_until: dict[str, float] = {}
        self.asking: list[str] = []

    @rule()
    def come(self) -> None:
        attempt = f"attempt-{len(self.owns_until)}"
        self.owns_until[attempt] = NEVER
        self.asking.append(attempt)
        self.parts.add_attempt(PART, attempt)

    @rule(data=st.data(), under_way=st.sampled_from([0.0, 0.3, 2.9, 4.0]), heard=st.booleans())
    @precondition(lambda self: self.asking)
    def ask(self, data: st.DataObject, under_way: float, heard: bool) -> None:
        attempt, asked = self.one_of_them(data), self.clock.now
        self.clock.move(under_way)
        owns = self.parts.renew(PART, attempt)
        if heard:
            self.obey(attempt, owns, asked)

    def obey(self, attempt: str, owns: bool, asked: float) -> None:
        self.owns_until[attempt] = asked + GRACE if owns else NEVER
        if not owns:
            self.parts.leave(PART, attempt)  # it says that it makes no calls any more

    @rule(data=st.data())
    @precondition(lambda self: self.asking)
    def fall_silent(self, data: st.DataObject) -> None:
        self.asking.remove(self.one_of_them(data))

    @rule(data=st.data())
    @precondition(lambda self: self.asking)
    def go(self, data: st.DataObject) -> None:
        attempt = self.one_of_them(data)
        self.asking.remove(attempt)
        self.parts.remove_attempt(PART, attempt)
        self.owns_until[attempt] = NEVER

    @rule(seconds=st.sampled_from([0.1, 1.0, GRACE]))
    def wait(self, seconds: float) -> None:
        self.clock.move(seconds)

    @rule()
    @precondition(lambda self: self.asking)
    def somebody_gets_it_in_the_end(self) -> None:
        self.settle()
        assert len(self.owners()) == 1

    @rule()
    def a_newcomer_gets_it_in_the_end(self) -> None:
        self.come()
        self.settle()
        assert self.owners() == [self.asking[-1]]

    @invariant()
    def at_most_one_believes_that_it_owns_the_part(self) -> None:
        assert sum(self.clock.now < until for until in self.owns_until.values()) <= 1

    def settle(self) -> None:
        """Let everybody who is there ask for a while."""
        for _ in range(30):
            for attempt in self.asking:
                self.obey(attempt, self.parts.renew(PART, attempt), self.clock.now)
                self.at_most_one_believes_that_it_owns_the_part()
            self.clock.move(0.2)

    def owners(self) -> list[str]:
        return [attempt for attempt in self.asking if self.parts.owns(PART, attempt)]

    def one_of_them(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.asking))


Contention.TestCase.settings = settings(max_examples=100, stateful_step_count=30)
TestContention = Contention.TestCase


# What has ended.


def told(ended: EndedRequestLog, start: int = 0) -> EndedRequestSet:
    """Tell it from a place on, piece by piece."""
    done = EndedRequestSet()
    while start < len(ended):
        piece, start = ended.piece(start)
        done.add(piece)
    return done


def test_whole_requests_and_parts_of_split_ones_that_have_ended_are_not_to_be_sent() -> None:
    ended = EndedRequestLog()
    for each in (name(1), name(2), f"{name(3)}.2", f"{name(4)}.1.2"):
        ended.add(each)
    done = told(ended)
    assert [done.has(name(number)) for number in range(5)] == [False, True, True, False, False]
    assert [done.has_part_of(name(number)) for number in range(5)] == [False, False, False, True, True]
    assert [done.has(f"{name(3)}.{half}") for half in (1, 2)] == [False, True]
    assert (done.has_part_of(f"{name(4)}.1"), done.has(f"{name(4)}.1.2"), done.has(f"{name(4)}.1.1")) == (
        True,
        True,
        False,
    )


def test_nothing_has_ended_at_first() -> None:
    assert len(EndedRequestLog()) == 0
    assert not EndedRequestSet().has(name(1)) and not EndedRequestSet().has_part_of(name(1))


def test_parts_keep_what_has_ended_of_each(parts: PartitionOwnership) -> None:
    for part in (1, 2):
        parts.add_attempt(part, "a")
        parts.ended_log(part).add(name(part))
    assert told(parts.ended_log(1)).has(name(1))
    assert not told(parts.ended_log(1)).has(name(2))


def test_an_id_counts_with_its_first_64_bits() -> None:
    assert request_key("ffffffffffffffff" + "0" * 48) == 2**64 - 1


def test_what_was_told_from_a_place_on_is_what_was_added_since() -> None:
    ended = EndedRequestLog()
    for number in range(10):
        ended.add(name(number))
    place = len(ended)
    ended.add(name(10)), ended.add(f"{name(11)}.1")
    done = told(ended, place)
    assert [done.has(name(number)) for number in (9, 10)] == [False, True]
    assert done.has_part_of(name(11))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=200), st.integers(1, 7), st.integers(1, 4))
def test_pieces_together_hold_what_was_told_and_nothing_else(keys: list[int], piece: int, longest: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("delivery.ended_requests._PIECE", piece)
        patch.setattr("delivery.ended_requests._LONGEST_RUN", piece * longest)
        ended = EndedRequestLog()
        for each in keys[::2]:
            ended.add(f"{each:016x}" + "e" * 48)
        done = told(ended)
    assert [done.has(f"{each:016x}") for each in keys] == [each in set(keys[::2]) for each in keys]


@pytest.mark.parametrize("requests", [300_000, pytest.param(3_000_000, marks=pytest.mark.long)])
def test_requests_that_have_ended_cost_9_bytes_each_on_either_side(requests: int) -> None:
    ended = EndedRequestLog()
    ids = [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(requests)]
    tracemalloc.start()
    for each in ids:
        ended.add(each)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    done = told(ended)
    both, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept <= 9 * len(ids)
    assert both - kept <= 9 * len(ids) and most - both <= 20e6
    assert done.has(ids[-1]) and not done.has("0" * 15 + "1")
