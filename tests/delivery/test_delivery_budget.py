"""One budget: shares by age and by want, leases that end by themselves, and never more at once than there are."""

from collections.abc import Callable
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.budget.leases import Budget, shares
from tests.delivery.clock import Clock

TERM, GRACE, STATIC = 1.0, 5.0, 30.0
ROUNDING = 1e-5

WANTS = st.one_of(st.just(inf), st.just(0.0), st.floats(0.1, 2000.0), st.integers(1, 600).map(float))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> Budget:
    return Budget(clock, STATIC, TERM, GRACE)


@pytest.fixture
def ask(budget: Budget) -> Callable[..., float]:
    """Return a function by which a task asks for what is to be had of 90 calls a second."""
    return lambda task, wants=inf, limit=90.0: budget.ask(task, wants, limit)


Ask = Callable[..., float]

# Shares.


@pytest.mark.parametrize(
    ("limit", "wants", "expected"),
    [
        pytest.param(500.0, [inf], [500.0], id="one gets all"),
        pytest.param(90.0, [inf, inf], [60.0, 30.0], id="the second counts half"),
        pytest.param(110.0, [inf, inf, inf], [60.0, 30.0, 20.0], id="the third a third"),
        pytest.param(90.0, [20.0, inf], [20.0, 70.0], id="what one does not want another gets"),
        pytest.param(90.0, [inf, 20.0], [70.0, 20.0], id="in either order"),
        pytest.param(110.0, [inf, 3.0, inf], [80.0, 3.0, 27.0], id="shared out as the whole was"),
        pytest.param(90.0, [10.0, 10.0], [10.0, 10.0], id="nobody gets more than it wants"),
        pytest.param(90.0, [0.0, inf], [0.0, 90.0], id="nothing where nothing is wanted"),
        pytest.param(0.0, [inf, 3.0], [0.0, 0.0], id="nothing of nothing"),
        pytest.param(90.0, [], [], id="nobody"),
        pytest.param(5.0, [inf, inf], [3.0, 2.0], id="whole calls"),
        pytest.param(5.5, [inf, inf], [3.5, 2.0], id="but for the first one's"),
        pytest.param(3.0, [inf] * 5, [1.0, 0.0, 1.0, 0.0, 1.0], id="one each for some where there are more tasks"),
        pytest.param(0.5, [0.0, inf, inf], [0.0, 0.5, 0.0], id="less than one is one task's"),
    ],
)
def test_shares(limit: float, wants: list[float], expected: list[float]) -> None:
    assert shares(limit, wants) == expected


@given(st.floats(0.1, 2000.0), st.lists(WANTS, max_size=40))
def test_shares_are_all_of_the_limit_or_all_that_is_wanted(limit: float, wants: list[float]) -> None:
    given_ = shares(limit, wants)
    assert sum(given_) == pytest.approx(min(limit, sum(wants)))
    assert all(0.0 <= share < want + 1.0 for share, want in zip(given_, wants, strict=True) if want)
    assert all(share == 0.0 for share, want in zip(given_, wants, strict=True) if not want)
    assert sum(bool(share % 1.0) for share in given_) <= 1


# Leases.


def test_a_task_alone_is_leased_all(ask: Ask) -> None:
    assert ask("a") == 90.0


def test_who_comes_later_waits_until_there_is_something_to_have(ask: Ask) -> None:
    assert ask("a") == 90.0
    assert ask("b") == 0.0  # a goes on at 90
    assert ask("a") == 60.0
    assert ask("b") == 30.0


def test_what_a_task_does_not_want_any_more_is_the_others(ask: Ask) -> None:
    ask("a"), ask("b"), ask("a"), ask("b")
    assert ask("a", 8.0) == 8.0
    assert ask("b") == 82.0


def test_what_a_task_wants_is_rounded_up_to_whole_calls(ask: Ask) -> None:
    assert ask("a", 7.2) == 8.0


def test_a_limit_that_falls_is_kept_before_all_have_asked(ask: Ask) -> None:
    ask("a"), ask("b"), ask("a"), ask("b")
    assert ask("a", limit=40.0) == 10.0  # b still holds 30
    assert ask("b", limit=40.0) == 14.0
    assert ask("a", limit=40.0) == 26.0


def test_a_limit_of_nothing_stops_all(ask: Ask) -> None:
    ask("a"), ask("b"), ask("a"), ask("b")
    assert (ask("a", limit=0.0), ask("b", limit=0.0)) == (0.0, 0.0)
    assert (ask("a"), ask("b")) == (60.0, 30.0)


def test_what_is_released_is_free_at_once(budget: Budget, ask: Ask) -> None:
    ask("a"), ask("b")
    budget.release("a")
    assert ask("b") == 90.0


def test_nobody_is_missed_who_never_came(budget: Budget) -> None:
    budget.release("a")
    budget.lose("a")
    assert budget.short(90.0) == []


# Tasks that are not heard.


def test_a_lease_ends_by_itself_but_for_the_static_rate_and_that_with_the_grace(clock: Clock, ask: Ask) -> None:
    ask("dead")
    assert ask("a") == 0.0
    clock.move(TERM - 0.01)
    assert ask("a") == 0.0
    clock.move(0.02)
    assert ask("a") == 90.0 - STATIC
    clock.move(GRACE - TERM - 0.02)
    assert ask("a") == 90.0 - STATIC
    clock.move(0.02)
    assert ask("a") == 90.0


def test_a_task_that_held_less_than_the_static_rate_goes_on_with_less(clock: Clock, ask: Ask) -> None:
    ask("dead", 10.0)
    clock.move(TERM)
    assert ask("a") == 80.0


def test_a_task_whose_line_broke_keeps_its_lease_to_its_end(budget: Budget, clock: Clock, ask: Ask) -> None:
    ask("lost")
    budget.lose("lost")
    assert ask("a") == 0.0
    clock.move(TERM)
    assert ask("a") == 90.0 - STATIC


def test_a_task_whose_line_broke_may_not_have_heard_that_its_lease_was_cut(
    budget: Budget, clock: Clock, ask: Ask
) -> None:
    ask("lost"), ask("a")
    clock.move(0.5)
    assert ask("lost") == 60.0
    budget.lose("lost")
    assert ask("a") == 0.0
    clock.move(0.5)  # what it heard of last has ended now
    assert ask("a") == 30.0


def test_a_task_that_is_lost_gets_its_share_again_when_it_is_heard(budget: Budget, ask: Ask) -> None:
    ask("a"), ask("b"), ask("a"), ask("b")
    budget.lose("a")
    ask("a")
    assert [ask("a"), ask("b")] == [60.0, 30.0]


def test_a_dead_task_counts_for_nothing_in_the_end(clock: Clock, ask: Ask) -> None:
    """Of a hundred attempts that died before, a newcomer's share does not tell."""
    for number in range(100):
        ask(f"dead-{number}")
    clock.move(GRACE)
    ask("a"), ask("b")
    assert [ask("a"), ask("b")] == [60.0, 30.0]


def test_a_task_that_is_silent_holds_nobody_back_with_what_it_wanted(clock: Clock, ask: Ask) -> None:
    ask("silent", 5.0)
    clock.move(TERM)
    assert ask("a") == 85.0


# Who is to be told at once.


def test_who_is_leased_notably_less_than_there_is_is_short(budget: Budget, ask: Ask) -> None:
    ask("a"), ask("b"), ask("a"), ask("b")
    assert budget.short(90.0) == []
    budget.release("a")
    assert budget.short(90.0) == ["b"]
    assert ask("b") == 90.0
    assert budget.short(90.0) == []


def test_who_wants_no_more_is_not_short(budget: Budget, ask: Ask) -> None:
    ask("a"), ask("b", 5.0), ask("a"), ask("b", 5.0)
    budget.release("a")
    assert budget.short(90.0) == []


def test_who_cannot_be_told_is_not_short(budget: Budget, clock: Clock, ask: Ask) -> None:
    ask("a"), ask("lost"), ask("a"), ask("lost"), ask("silent", 1.0)
    budget.release("a")
    budget.lose("lost")
    clock.move(TERM)
    assert budget.short(90.0) == []


def test_a_trifle_is_not_worth_a_message(budget: Budget, ask: Ask) -> None:
    ask("a", inf, 500.0)
    assert budget.short(509.0) == []
    assert budget.short(511.0) == ["a"]


# Never more than there are.


class Tasks:
    """What tasks believe that they may make; messages take no time here, but may be lost with the line."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.asked: dict[str, float] = {}
        self.rate: dict[str, float] = {}

    def hear(self, task: str, rate: float) -> None:
        self.asked[task], self.rate[task] = self.clock.now, rate

    def making(self, task: str) -> float:
        since = self.clock.now - self.asked[task]
        if since < TERM:
            return self.rate[task]
        return min(self.rate[task], STATIC) if since < GRACE else 0.0

    def together(self) -> float:
        return sum(self.making(task) for task in self.asked)


STEPS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from("abcd"), WANTS, st.booleans()),
    st.tuples(st.just("gone"), st.sampled_from("abcd")),
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.2, 0.7, 1.1, 3.0])),
)


@given(st.sampled_from([0.5, 3.0, 90.0, 512.5]), st.lists(STEPS, max_size=60))
def test_tasks_together_never_believe_that_they_may_make_more_than_the_limit(
    limit: float, steps: list[tuple[str, ...]]
) -> None:
    """Whoever asks, dies, leaves, or loses the answer together with its line."""
    clock = Clock()
    budget, tasks = Budget(clock, STATIC, TERM, GRACE), Tasks(clock)
    for step in steps:
        match step:
            case ("ask", task, wants, heard):
                rate = budget.ask(task, wants, limit)
                if heard:
                    tasks.hear(task, rate)
                else:
                    budget.lose(task)
            case ("gone", task):
                budget.release(task)
                tasks.asked.pop(task, None)
            case ("wait", seconds):
                clock.move(seconds)
        assert tasks.together() <= limit + ROUNDING


@given(st.lists(WANTS.filter(bool), min_size=1, max_size=8))
def test_when_all_have_asked_twice_nothing_is_left_that_anybody_wants(wants: list[float]) -> None:
    clock = Clock()
    budget = Budget(clock, STATIC, TERM, GRACE)
    for _ in range(2):
        leased = [budget.ask(str(number), want, 90.0) for number, want in enumerate(wants)]
    assert sum(leased) == pytest.approx(min(90.0, sum(wants)), abs=len(wants))
    assert budget.short(90.0) == []
